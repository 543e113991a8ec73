"""Read tables beside those in use: made empty, and without indexes until they are filled.

They stand in a schema of a name of its own, so that what a process that died has left behind is never taken for
anything else. A schema that is no longer in use is dropped, now or when tables are rebuilt the next time.
"""

from dataclasses import dataclass
from typing import LiteralString
from uuid import uuid4

import psycopg
from psycopg import Connection, sql

from projections.schema import create_read_tables

PREFIX = "read_beside_"
"""What the names of schemas begin with that hold read tables not yet, or no longer, in use."""

DROP_SECONDS = 2
"""How long the dropping of a schema waits for those who still read from it, before it is left for another time."""

_HOLD = "SELECT pg_advisory_lock(hashtextextended(%s, 0))"
_TRY_HOLD = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"

_TABLES = "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'r'"
_INDEXES = """
SELECT index.relname, rows.relname, pg_get_indexdef(index.oid), conname
FROM pg_index
JOIN pg_class AS index ON index.oid = indexrelid
JOIN pg_class AS rows ON rows.oid = indrelid
LEFT JOIN pg_constraint ON conindid = indexrelid AND contype = 'p'
WHERE rows.relnamespace = %s::regnamespace
ORDER BY rows.relname, index.relname
"""


@dataclass(frozen=True)
class Index:
    """An index of a table beside: the statement that makes it, and whether it is the table's primary key."""

    table: str
    name: str
    statement: str
    is_primary_key: bool


def new_name() -> str:
    """A name for a schema of read tables that nothing else has."""
    return f"{PREFIX}{uuid4().hex[:12]}"


def create(connection: Connection, schema: str) -> list[Index]:
    """Create empty read tables without indexes; give the indexes that they are to have.

    Nobody vacuums them until they are given to autovacuum: it would read what was just written, over and over again.

    They count as in use for as long as the connection is open.
    """
    connection.execute(_HOLD, [schema])
    with connection.transaction():
        create_read_tables(connection, schema)
        found = connection.execute(_INDEXES, [schema]).fetchall()
        indexes = [
            Index(table, name, statement, constraint is not None) for name, table, statement, constraint in found
        ]
        for index in indexes:
            table, name = sql.Identifier(schema, index.table), sql.Identifier(index.name)
            if index.is_primary_key:
                connection.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(table, name))
            else:
                connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(schema, index.name)))
        _let_autovacuum(connection, schema, "SET (autovacuum_enabled = off)")
    return indexes


def give_to_autovacuum(connection: Connection, schema: str) -> None:
    """Let the server look after tables that are about to be used, as it does after all others."""
    _let_autovacuum(connection, schema, "RESET (autovacuum_enabled)")


def _let_autovacuum(connection: Connection, schema: str, change: LiteralString) -> None:
    for (table,) in connection.execute(_TABLES, [schema]).fetchall():
        connection.execute(sql.SQL("ALTER TABLE {} " + change).format(sql.Identifier(schema, table)))


def declare_primary_keys(connection: Connection, schema: str, indexes: list[Index]) -> None:
    """Say of the indexes that are primary keys that they are, once they are made."""
    for index in indexes:
        if index.is_primary_key:
            connection.execute(
                sql.SQL("ALTER TABLE {} ADD CONSTRAINT {name} PRIMARY KEY USING INDEX {name}").format(
                    sql.Identifier(schema, index.table), name=sql.Identifier(index.name)
                )
            )


def drop_unused(connection: Connection) -> None:
    """Drop all schemas of read tables not in use; those that somebody still reads from stay for another time."""
    names = connection.execute("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", [PREFIX]).fetchall()
    for (name,) in names:
        if connection.execute(_TRY_HOLD, [name]).fetchone() != (True,):
            continue
        try:
            with connection.transaction():
                connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(f"{DROP_SECONDS}s"))
                connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
        except psycopg.errors.LockNotAvailable:
            continue
