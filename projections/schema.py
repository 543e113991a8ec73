"""Creating what is missing in a database: the three schemas, and the id of the shape of the read tables."""

import hashlib
import re
from importlib.resources import files

import psycopg
from psycopg import sql

from projections.tables import READ

LEDGER_LOCK = 0x464C4F574C454447
"""The advisory lock under which the ledger is written ("FLOWLEDG" in ASCII)."""

PROJECTION_VERSION = 1
"""Raised whenever projectors make other rows of the same events in tables of the same columns."""


def read_tables_sql(schema: str = READ) -> str:
    """The statements that make the read tables in a schema, in order of their names."""
    folder = files("projections") / "tables"
    statements = "\n".join(
        file.read_text() for file in sorted(folder.iterdir(), key=lambda f: f.name) if file.name.endswith("sql")
    )
    return statements if schema == READ else re.sub(rf"\b{READ}\.(?=\w)", f"{schema}.", statements)


def shape() -> str:
    """The id of the shape of the read tables that this version of the code projects into."""
    return hashlib.sha256(f"{PROJECTION_VERSION}\n{read_tables_sql()}".encode()).hexdigest()[:16]


def create_missing(conninfo: str) -> None:
    """Create the schemas and tables that are not there yet, under the ledger lock; do nothing where all are there.

    Read tables of another shape are left as they are: who finds them must not append.
    """
    folder = files("projections")
    with psycopg.connect(conninfo) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LEDGER_LOCK])
        for script in ("ledger.sql", "telemetry.sql"):
            connection.execute((folder / script).read_bytes())
        if connection.execute("SELECT to_regclass('read.shape')").fetchone() == (None,):
            create_read_tables(connection)


def make_room_for_archives(conninfo: str) -> None:
    """Let a ledger of an earlier version have what says which events are in archives; one of today is not touched."""
    with psycopg.connect(conninfo) as connection:
        has_it = connection.execute("SELECT to_regclass('ledger.archives')").fetchone() != (None,)
    if not has_it:
        create_missing(conninfo)


def create_read_tables(connection: psycopg.Connection, schema: str = READ) -> None:
    """Create empty read tables, and the note of their shape, in a schema that holds none."""
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    connection.execute(read_tables_sql(schema).encode())
    noted = sql.Identifier(schema, "shape")
    connection.execute(sql.SQL("CREATE TABLE {} (id text NOT NULL)").format(noted))
    connection.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(noted, shape()))


async def read_shape(connection: psycopg.AsyncConnection) -> str | None:
    """The id of the shape that the read tables of a database have."""
    row = await (await connection.execute("SELECT id FROM read.shape")).fetchone()
    return row[0] if row else None
