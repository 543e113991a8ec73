"""Opening the key store that a setting names, and making sure that it is the one of the ledger."""

from pathlib import Path
from uuid import UUID

import psycopg

from domain.events import EventMapper
from projections.connection import first_line
from projections.payload_keys.database import WHICH, KeyDatabase
from projections.payload_keys.directory import KeyDirectory
from projections.payload_keys.store import KeyStore, KeysUnusable, StoredKeys

URLS = ("postgresql://", "postgres://")

# Also asked of ledgers that are older than the column.
KNOWN = "SELECT (to_jsonb(identity) ->> 'key_store')::uuid FROM ledger.identity"
REMEMBER = "UPDATE ledger.identity SET key_store = %s WHERE key_store IS NULL"


def open_keys(location: str, *, create: bool = False) -> KeyStore:
    """The key store at a location: a PostgreSQL URL, else a directory; made if asked for. Raises KeysUnusable."""
    if location.startswith(URLS):
        return KeyDatabase(location, create=create)
    return KeyDirectory(Path(location).absolute(), create=create)


def mapper_for(location: str | None) -> EventMapper:
    """What reads events whose payload was sealed with the keys at a location. Raises KeysUnusable."""
    return EventMapper(None if location is None else StoredKeys(open_keys(location)))


def require_apart(location: str, conninfo: str, data_dir: Path | None) -> None:
    """Refuse a place for keys that would be backed up with what they seal. Raises KeysUnusable.

    It must be neither the database of the ledger nor in the directory that this is in.
    """
    if location.startswith(URLS):
        if _which(location) == _which(conninfo):
            raise KeysUnusable("Payload keys must not be in the database of the ledger that they are for.")
    elif data_dir is not None:
        place, data = Path(location).resolve(), data_dir.resolve()
        if place.is_relative_to(data) or data.is_relative_to(place):
            raise KeysUnusable(f"Payload keys must not be in the data directory of the ledger ({data}).")


def known_store(conninfo: str) -> UUID | None:
    """The store that a ledger remembers."""
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(KNOWN).fetchone()
    return row[0] if row else None


def require_own(store: KeyStore | None, conninfo: str, *, remember: bool = False) -> None:
    """Make sure that a ledger's payload was sealed with the keys of this store, or, without one, with none.

    A ledger that knows no store yet gets to `remember` this one. Raises KeysUnusable.
    """
    if store is not None and remember:
        with psycopg.connect(conninfo) as connection:
            connection.execute(REMEMBER, [store.id])
    known = known_store(conninfo)
    if known is not None and store is None:
        raise KeysUnusable("Payload of this ledger is encrypted: FLOWLEDGER_PAYLOAD_KEYS must say where its keys are.")
    if known is not None and store is not None and known != store.id:
        raise KeysUnusable(f"The keys at FLOWLEDGER_PAYLOAD_KEYS are not those of this ledger, whose store is {known}.")


def _which(conninfo: str) -> object:
    """The server, by the id that it was made with, and the name of the database."""
    try:
        with psycopg.connect(conninfo) as connection:
            return connection.execute(WHICH).fetchone()
    except psycopg.Error as error:
        raise KeysUnusable(f"Payload keys cannot be kept in the database: {first_line(error)}.") from error
