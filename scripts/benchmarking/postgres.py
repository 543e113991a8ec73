"""A throw-away PostgreSQL cluster for the servers under comparison: durable, private, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.benchmarking.child_process import stopped_afterwards, wait_until

USUAL_BINARIES = Path("/usr/lib/postgresql/15/bin")
"""Where Debian and its kin keep PostgreSQL 15."""

_SUPERUSER = "postgres"
_SETTINGS = {"fsync": "on", "synchronous_commit": "on", "jit": "off", "max_connections": "200"}
_REPORTED = ("server_version", *_SETTINGS, "full_page_writes", "shared_buffers", "wal_sync_method", "max_wal_size")


class NoPostgres(Exception):
    """There is no usable PostgreSQL in `binaries`; `reason` says what is missing."""

    def __init__(self, binaries: Path, reason: str) -> None:
        super().__init__(f"PostgreSQL cannot be started from {binaries}: {reason}.")
        self.binaries = binaries
        self.reason = reason


@dataclass(frozen=True)
class Cluster:
    """A running cluster that listens on a socket only its owner and root can reach."""

    pid: int
    binaries: Path
    sockets: Path

    def create_database(self, name: str) -> None:
        """Makes an empty database."""
        self._query(f'CREATE DATABASE "{name}"')

    def url(self, database: str, scheme: str = "postgresql") -> str:
        """The address of a database, for libpq (`postgresql`) or SQLAlchemy (`postgresql+asyncpg`)."""
        return f"{scheme}://{_SUPERUSER}@/{database}?host={self.sockets}"

    def settings(self) -> dict[str, str]:
        """The settings that bear on durability and speed, as the server has them."""
        return {name: self._query(f"SHOW {name}") for name in _REPORTED}

    def is_ready(self) -> bool:
        """Whether it takes connections yet."""
        command = [str(self.binaries / "pg_isready"), "-q", "-h", str(self.sockets)]
        return subprocess.run(command, check=False).returncode == 0  # noqa: S603 - our own arguments

    def _query(self, sql: str) -> str:
        command = [str(self.binaries / "psql"), "-XAtq", "-h", str(self.sockets), "-U", _SUPERUSER]
        done = subprocess.run(  # noqa: S603 - our own arguments
            [*command, "-d", "postgres", "-c", sql], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()


@contextmanager
def running_cluster(binaries: Path) -> Iterator[Cluster]:
    """Makes and starts a cluster in a temporary folder, with fsync and synchronous_commit on and JIT off.

    As root it runs as the system user `postgres`, since PostgreSQL refuses root.
    Raises NoPostgres where the binaries, that user or a successful start are missing.
    """
    if not (binaries / "initdb").exists():
        raise NoPostgres(binaries, "there is no initdb")
    owner = _owner(binaries)
    folder = Path(tempfile.mkdtemp(prefix="flowledger-benchmark-pg-"))
    try:
        if owner:
            os.chown(folder, owner["user"], owner["group"])
        data, log_path = folder / "data", folder / "log"
        initialise = [
            "-D",
            str(data),
            "-U",
            _SUPERUSER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-instructions",
        ]
        made = subprocess.run(  # noqa: S603 - our own arguments
            [str(binaries / "initdb"), *initialise], check=False, capture_output=True, text=True, cwd="/", **owner
        )
        if made.returncode:
            raise NoPostgres(binaries, made.stderr.strip())
        settings = _SETTINGS | {"listen_addresses": "", "unix_socket_directories": str(folder)}
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        with log_path.open("wb") as log:
            postmaster = subprocess.Popen(  # noqa: S603 - our own arguments
                [str(binaries / "postgres"), "-D", str(data), *options],
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                **owner,
            )
        # SIGINT ends the sessions and shuts down; SIGTERM would wait for clients to leave.
        with stopped_afterwards(postmaster, signal.SIGINT):
            cluster = Cluster(postmaster.pid, binaries, folder)
            if not wait_until(cluster.is_ready, postmaster, seconds=30):
                raise NoPostgres(binaries, log_path.read_text().strip())
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _owner(binaries: Path) -> dict[str, Any]:
    """The arguments that make a child process run as the cluster's owner."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        raise NoPostgres(binaries, "it refuses to run as root and there is no system user postgres") from None
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
