"""The postmaster, PostgreSQL's parent process: start it, adopt one that runs, stop it."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from psycopg import pq

from api.embedded.account import Account
from api.embedded.cluster import WORKING_DIRECTORY, address_of, make_cluster, write_configuration
from api.embedded.directories import (
    DataDirectory,
    claim_socket_directory,
    recorded_socket_directory,
    remove_socket_directory,
)
from api.embedded.errors import EmbeddedPostgresFailed
from api.embedded.locks import FileLock

# Generous, because recovery after a crash replays up to `max_wal_size` of log.
START_SECONDS = 300.0
ADOPT_SECONDS = 60.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.01


class Postmaster:
    """The postmaster on one data directory, whoever started it. Call it only under the directory's start lock.

    Whether one is alive is told by a file lock that all its processes inherit, not by the process id it wrote down:
    process ids are given out again, in containers nearly always.
    """

    def __init__(self, data: DataDirectory, account: Account, programs: Path) -> None:
        self._data = data
        self._account = account
        self._programs = programs
        self._child: subprocess.Popen[bytes] | None = None

    def is_gone(self) -> bool:
        """Say whether no process of this PostgreSQL is left."""
        if self._child is not None and self._child.poll() is None:
            return False
        with FileLock(self._data.postmaster_lock) as lock:
            return lock.try_exclusive()

    def ensure_running(self) -> None:
        """Return when a postmaster accepts connections: the one that is there, else a new one.

        Waits for one that is starting or stopping. Raises `EmbeddedPostgresFailed`.
        """
        deadline = time.monotonic() + ADOPT_SECONDS
        while True:
            with FileLock(self._data.postmaster_lock) as lock:
                if lock.try_exclusive():
                    self._start(lock)
                    return
            if self._answers():
                return
            if time.monotonic() > deadline:
                raise self._failure("a PostgreSQL runs on it but answers at no socket that can be seen from here")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop the postmaster: open transactions are rolled back, everything is written to disk.

        Does nothing where none runs. Raises `EmbeddedPostgresFailed` where it would not end.
        """
        for how in (signal.SIGINT, signal.SIGQUIT):
            # Only while the lock says that it is ours: never end a PostgreSQL that somebody else started here.
            if not self.is_gone():
                self._signal(how)
            if self._wait_until_gone(STOP_SECONDS):
                remove_socket_directory(self._data)
                return
        raise self._failure("it does not stop")

    def _start(self, lock: FileLock) -> None:
        self._forget_stale_pid()
        make_cluster(self._data, self._account, self._programs)
        write_configuration(self._data, self._account, claim_socket_directory(self._data, self._account))
        with contextlib.suppress(FileNotFoundError):
            self._data.log.replace(self._data.log.with_name("postgres.log.old"))
        with self._data.log.open("xb") as log:
            self._data.log.chmod(0o600)
            self._child = self._account.spawn(
                [self._programs / "postgres", "-D", address_of(self._data.cluster)],
                cwd=self._data.cluster,
                output=log.fileno(),
                keep_open=[lock.descriptor],
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._child.poll() is not None:
                raise self._failure("it ended while starting", self._last_lines())
            if time.monotonic() > deadline:
                raise self._failure(f"it did not accept connections within {START_SECONDS:.0f} s", self._last_lines())
            time.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        directory = recorded_socket_directory(self._data)
        if directory is None:
            return False
        # The database that always exists: asking for ours would fail between initdb and its creation.
        target = f"host='{directory}' dbname=postgres user=flowledger requirepeer={self._account.name}"
        return pq.PGconn.ping(target.encode()) == pq.Ping.OK

    def _signal(self, how: signal.Signals) -> None:
        pid = self._pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)

    def _wait_until_gone(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self.is_gone():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _pid(self) -> int | None:
        """The process id of the running postmaster; None where there is none."""
        if self._child is not None and self._child.poll() is None:
            return self._child.pid
        pid = self._written_pid()
        return pid if pid is not None and self._works_here(pid) else None

    def _written_pid(self) -> int | None:
        try:
            return int((self._data.cluster / "postmaster.pid").read_text().splitlines()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return None

    def _forget_stale_pid(self) -> None:
        pid = self._written_pid()
        if pid is None:
            return
        if self._works_here(pid):
            raise self._failure(f"a PostgreSQL that Flowledger did not start (process {pid}) runs on it")
        # PostgreSQL would take any process of its account that got the same id for the one that wrote the file.
        (self._data.cluster / "postmaster.pid").unlink()

    def _works_here(self, pid: int) -> bool:
        """Say whether process `pid` works in the cluster's directory, as every process of a PostgreSQL does."""
        if not os.path.lexists(WORKING_DIRECTORY):
            return True
        # Asked as the account itself: in a container not even root may look at processes of others.
        _, directory = self._account.run(["readlink", f"/proc/{pid}/cwd"])
        return directory == str(self._data.cluster)

    def _last_lines(self) -> str:
        lines = self._data.log.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:])

    def _failure(self, problem: str, details: str = "") -> EmbeddedPostgresFailed:
        return EmbeddedPostgresFailed(problem, self._data.root, details)
