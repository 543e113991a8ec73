"""The database a server works on: the one that is configured, else the embedded one; checked before it is used."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.embedded.directories import DataDirectory, default_data_directory
from api.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresFailed, embedded_postgres
from api.settings import Settings
from projections.payload_keys.opening import known_store, open_keys, require_apart, require_own
from projections.payload_keys.store import KeysUnusable

OLDEST_SERVER = 14
CONNECT_SECONDS = 5

Reason = Literal[
    "invalid", "unreachable", "too_old", "read_only", "not_utf8", "no_tables", "no_ledger", "embedded", "keys"
]

log = structlog.get_logger(__name__)


class DatabaseUnusable(Exception):
    """No work can be done on the database; the message is one sentence without secrets.

    `reason` tells the cases apart, `database` says which database is meant (never with its password).
    """

    def __init__(self, reason: Reason, database: str, sentence: str) -> None:
        self.reason = reason
        self.database = database
        super().__init__(sentence)


@dataclass(frozen=True)
class Database:
    """A database that passed the checks.

    `conninfo` is its libpq connection string (it may hold a password: never print it), `embedded` the PostgreSQL of
    our own that it runs on, if it does.
    """

    conninfo: str
    embedded: EmbeddedPostgres | None = None

    @property
    def data_dir(self) -> Path | None:
        """The data directory of the embedded PostgreSQL; None for a database elsewhere."""
        return self.embedded.data_dir if self.embedded is not None else None


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """Hold the database that `settings` name for the time of a `with` block.

    Without a `database_url` this starts or shares the embedded PostgreSQL and lets go of it at the end. Raises
    `DatabaseUnusable`.
    """
    if settings.database_url is not None:
        conninfo = _with_connect_timeout(settings.database_url.get_secret_value())
        check_database(conninfo)
        yield Database(conninfo)
        return
    try:
        with embedded_postgres(settings.data_dir) as server:
            check_database(server.conninfo)
            yield Database(server.conninfo, server)
    except EmbeddedPostgresFailed as error:
        raise DatabaseUnusable("embedded", str(error.data_dir or ""), str(error)) from error


@contextmanager
def open_ledger(settings: Settings) -> Iterator[Database]:
    """Hold the database that `settings` name if there is a ledger in it; nothing is made where there is none.

    Raises `DatabaseUnusable`.
    """
    if settings.database_url is None:
        directory = settings.data_dir or default_data_directory()
        if not DataDirectory(directory).cluster.exists():
            raise DatabaseUnusable("no_ledger", str(directory), f"There is no ledger in {directory}.")
    with open_database(settings) as database:
        name = describe(database.conninfo)
        with psycopg.connect(database.conninfo) as connection:
            if connection.execute("SELECT to_regclass('ledger.seals')").fetchone() == (None,):
                raise DatabaseUnusable("no_ledger", name, f"There is no ledger in the database ({name}).")
        check_keys(settings, database)
        yield database


def check_keys(settings: Settings, database: Database, *, create: bool = False) -> None:
    """Refuse a ledger together with keys that are not its own, or that would be backed up with it.

    A key store is made if asked to `create` one for a ledger that has none yet, which remembers it from then on. Raises
    `DatabaseUnusable`.
    """
    store, location = None, settings.keys_at
    try:
        if location is not None:
            require_apart(location, database.conninfo, database.data_dir)
            store = open_keys(location, create=create and known_store(database.conninfo) is None)
        require_own(store, database.conninfo, remember=create)
    except KeysUnusable as error:
        raise DatabaseUnusable("keys", describe(database.conninfo), str(error)) from error


def check_database(conninfo: str, oldest_server: int = OLDEST_SERVER) -> None:
    """Refuse a database that cannot hold a ledger; warn where it would not keep what it acknowledged.

    `oldest_server` is the oldest major version of PostgreSQL that will do. Raises `DatabaseUnusable`.
    """
    name = describe(conninfo)
    try:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            _check_server(connection, name, oldest_server)
    except psycopg.OperationalError as error:
        first_line = str(error).strip().splitlines()[0].removeprefix("connection failed: ").rstrip(".")
        raise DatabaseUnusable(
            "unreachable", name, f"The database ({name}) cannot be reached: {first_line}."
        ) from error


def describe(conninfo: str) -> str:
    """Name a database for a person: user, host, port and database, without its password."""
    try:
        parts = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError as error:
        # The text is not repeated: whatever it is, it may hold a password.
        sentence = "FLOWLEDGER_DATABASE_URL is not a PostgreSQL connection string such as postgresql://user@host/name."
        raise DatabaseUnusable("invalid", "", sentence) from error
    shown = {key: parts.get(key) for key in ("host", "hostaddr", "port", "user", "dbname", "service")}
    return " ".join(f"{key}={value}" for key, value in shown.items() if value is not None) or "at libpq's defaults"


def _with_connect_timeout(conninfo: str) -> str:
    describe(conninfo)
    parts = conninfo_to_dict(conninfo)
    return make_conninfo(conninfo, connect_timeout=parts.get("connect_timeout", CONNECT_SECONDS))


def _check_server(connection: psycopg.Connection, name: str, oldest_server: int) -> None:
    version = connection.info.server_version // 10_000
    if version < oldest_server:
        needs = f"runs on PostgreSQL {version}; Flowledger needs {oldest_server} or newer."
        raise DatabaseUnusable("too_old", name, f"The database ({name}) {needs}")
    if _shown(connection, "server_encoding") != "UTF8":
        needs = f"is encoded in {_shown(connection, 'server_encoding')}; Flowledger needs one in UTF8."
        raise DatabaseUnusable("not_utf8", name, f"The database ({name}) {needs}")
    # A standby shows its transactions as read-only too.
    if _shown(connection, "transaction_read_only") == "on":
        needs = "takes no writes (a standby, or set to read-only); Flowledger needs the primary."
        raise DatabaseUnusable("read_only", name, f"The database ({name}) {needs}")
    for setting in ("fsync", "synchronous_commit"):
        if _shown(connection, setting) == "off":
            log.warning("acknowledged work may be lost when the database crashes", database=name, **{setting: "off"})


def _shown(connection: psycopg.Connection, setting: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", [setting]).fetchone()
    return str(row[0]) if row is not None else ""
