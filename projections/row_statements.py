"""The statements that carry changes of rows into read tables, and with them what is counted of runs.

They are written for the tables in use, and for those that are being rebuilt beside them, by the name of the schema.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from psycopg import Cursor, sql
from psycopg.types.json import Json
from pydantic_core import to_json

from projections import run_counts
from projections.rows import Row, RowChanges
from projections.tables import READ, TABLES

_BY_NAME = {table.name: table for table in TABLES}


@dataclass(frozen=True)
class _TakingAway:
    """The statements that remove rows of streams and single rows, and count them no more, by table of one schema."""

    streams: Mapping[str, str]
    rows: Mapping[str, str]
    counted: Mapping[str, str]


def take_away(cursor: Cursor, changes: RowChanges, schema: str = READ) -> None:
    """Remove what changes take away; it goes before anything is written."""
    away = _taking_away(schema)
    for name, streams in changes.removed.items():
        if name in away.counted:
            cursor.execute(away.counted[name], [streams])
        cursor.execute(away.streams[name], [streams])
    for name, keys in changes.dropped.items():
        cursor.execute(away.rows[name], [as_json(keys)])


def row_parts(tables: tuple[str, ...], schema: str = READ) -> dict[str, sql.Composable]:
    """The parts, by name, of a statement that writes rows of these read tables and counts them.

    It takes the rows of each table, in this order, as one JSON array of objects.
    """
    parts: dict[str, sql.Composable] = {}
    for table in (_BY_NAME[name] for name in tables):
        row = f"{table.name}_row"
        parts[row] = table.upsert(schema)
        if table.name in run_counts.COUNTED:
            parts[row] += run_counts.returning(table.name)
            parts[f"{table.name}_counted"] = run_counts.changed_by(table.name, sql.Identifier(row), schema)
    return parts


def write(cursor: Cursor, changes: RowChanges, schema: str) -> None:
    """Carry changes of rows, and what is counted of them, into the tables of a schema."""
    take_away(cursor, changes, schema)
    if changes.written:
        cursor.execute(_upserts(tuple(changes.written), schema), [as_json(rows) for rows in changes.written.values()])


def as_one(parts: Mapping[str, sql.Composable]) -> str:
    """One statement of several that write."""
    named = (sql.SQL("{} AS ({})").format(sql.Identifier(name), part) for name, part in parts.items())
    return sql.SQL("WITH {} SELECT").format(sql.SQL(", ").join(named)).as_string(None)


def as_json(rows: list[Row]) -> Json:
    """Rows as the one JSON array that a statement takes."""
    return Json(rows, dumps=_dumps)


@cache
def _upserts(tables: tuple[str, ...], schema: str) -> str:
    return as_one(row_parts(tables, schema))


@cache
def _taking_away(schema: str) -> _TakingAway:
    return _TakingAway(
        {table.name: table.delete(schema).as_string(None) for table in TABLES},
        {table.name: table.drop(schema).as_string(None) for table in TABLES},
        {name: run_counts.removed_from(name, schema).as_string(None) for name in run_counts.COUNTED},
    )


def _dumps(rows: list[Row]) -> bytes:
    return to_json(rows)
