"""A key store in a PostgreSQL database of its own, which must not be backed up together with the ledger."""

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar
from uuid import UUID

import psycopg

from domain.errors import PayloadKeyMissing, StoreUnavailable
from projections.connection import CONNECT_SECONDS, first_line, session_options
from projections.payload_keys.store import KEY_BYTES, KeyStore, KeysUnusable

T = TypeVar("T")

PATIENCE_SECONDS = 2.0
"""How long a statement may take, or a lock; commands wait for keys under the ledger lock."""

MAKE_TABLES = """
CREATE SCHEMA IF NOT EXISTS payload_keys;
CREATE TABLE IF NOT EXISTS payload_keys.store (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id       uuid    NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO payload_keys.store DEFAULT VALUES ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS payload_keys.keys (
    id           uuid PRIMARY KEY,
    key          bytea,
    destroyed_at timestamptz
);
"""

IDENTITY = "SELECT id FROM payload_keys.store"
MAKE = "INSERT INTO payload_keys.keys (id, key) VALUES (%s, %s) ON CONFLICT DO NOTHING"
LOOK_UP = "SELECT id, key FROM payload_keys.keys WHERE id = ANY(%s)"
DESTROY = """
UPDATE payload_keys.keys SET key = NULL, destroyed_at = coalesce(destroyed_at, now()) WHERE id = %s RETURNING id
"""
CLEAN = "VACUUM payload_keys.keys"
WHICH = "SELECT system_identifier, current_database() FROM pg_control_system()"


class KeyDatabase(KeyStore):
    """Keys in a table of a database. Raises KeysUnusable where there can be none."""

    def __init__(self, conninfo: str, *, create: bool = False) -> None:
        self._conninfo = conninfo
        self._lock = threading.Lock()
        self._connection: psycopg.Connection | None = None
        try:
            if create:
                self._do(lambda connection: connection.execute(MAKE_TABLES))
            row = self._do(lambda connection: connection.execute(IDENTITY).fetchone())
        except (StoreUnavailable, psycopg.Error) as error:
            raise KeysUnusable(f"Payload keys cannot be kept in the database: {first_line(error)}.") from error
        if row is None:
            raise KeysUnusable("Payload keys cannot be kept in the database: it has no identity.")
        self.id = row[0]

    def make(self, ids: Iterable[UUID]) -> None:
        keys = [(id, os.urandom(KEY_BYTES)) for id in ids]

        def write(connection: psycopg.Connection) -> None:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(MAKE, keys)

        self._do(write)

    def look_up(self, ids: Iterable[UUID]) -> Mapping[UUID, bytes | None]:
        wanted = list(ids)
        if not wanted:
            return {}
        return {id: key for id, key in self._do(lambda connection: connection.execute(LOOK_UP, [wanted]).fetchall())}

    def destroy(self, id: UUID) -> None:
        if self._do(lambda connection: connection.execute(DESTROY, [id]).fetchone()) is None:
            raise PayloadKeyMissing(id)
        # The row as it was before stays in the table until then.
        self._do(lambda connection: connection.execute(CLEAN))

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _do(self, work: Callable[[psycopg.Connection], T]) -> T:
        """Do something that may be done again: on a dead connection it is, once. Raises StoreUnavailable."""
        with self._lock:
            try:
                return work(self._open())
            except psycopg.OperationalError:
                self._drop()
            try:
                return work(self._open())
            except psycopg.OperationalError as error:
                self._drop()
                raise StoreUnavailable(f"payload keys: {first_line(error)}") from error

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._conninfo,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                application_name="flowledger-payload-keys",
                options=session_options(PATIENCE_SECONDS, PATIENCE_SECONDS * 5),
            )
        return self._connection
