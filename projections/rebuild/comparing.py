"""Holding read tables against others of the same shape: row by row, both ways, byte for byte.

Rows are compared by a hash of all their columns, added up over each table; where the sums differ, over a two hundred
and fifty-sixth part of it, and only where those differ are the rows themselves looked at. Counters are compared by what
they add up to, for how many rows they are spread over says nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from psycopg import Connection, sql

from projections import run_counts
from projections.rebuild.workers import Tools
from projections.tables import READ, TABLES

COUNTERS = "run_counts"

Kind = Literal["missing", "unexpected", "different"]
Sum = tuple[int, int]
"""How many rows there are, and the sum of their hashes."""

_BY_NAME = {table.name: table for table in TABLES}

_SUM = sql.SQL("SELECT count(*), bit_xor(hash_record_extended(compared, 0)) FROM ({all}) AS compared")
_ALL = sql.SQL("SELECT {columns} FROM {rows}")
# To group rows by their parts takes longer than to hash them.
_SUMS_OF_PARTS = sql.SQL(
    "SELECT get_byte(uuid_send({stream}), 15), count(*), bit_xor(hash_record_extended(compared, 0))"
    " FROM (SELECT {columns} FROM {rows}) AS compared GROUP BY 1"
)
_ROWS = sql.SQL(
    "SELECT concat_ws(' ', {key}), hash_record_extended(compared, 0)"
    " FROM (SELECT {columns} FROM {rows}) AS compared WHERE get_byte(uuid_send({stream}), 15) = ANY(%s)"
)
_COUNTERS = sql.SQL(
    "SELECT concat_ws(' ', kind, dimension, key, width, bucket, state_type, coalesce(state_name, '')),"
    " hash_record_extended(compared, 0) FROM ({counted}) AS compared"
)


@dataclass(frozen=True)
class Difference:
    """A row of a table in use that is not what the events make: it is missing, unexpected, or different."""

    table: str
    key: str
    kind: Kind

    def __str__(self) -> str:
        return f"read.{self.table}: the row {self.key} is {self.kind}"


@dataclass(frozen=True)
class SumHashes:
    """Add up the hashes of the rows of a table, those in use as of the workers' snapshot."""

    schema: str
    table: str

    def __call__(self, tools: Tools) -> tuple[str, Sum]:
        found = _connection(tools, self.schema).execute(_summing(self.schema, self.table)).fetchone()
        return self.table, found or (0, 0)


@dataclass(frozen=True)
class FindDifferences:
    """Find the rows that make the difference between a table in use and the one beside it."""

    schema: str
    table: str

    def __call__(self, tools: Tools) -> list[Difference]:
        parts = None if self.table == COUNTERS else self._differing_parts(tools)
        in_use, made = (dict(self._rows(tools, schema, parts)) for schema in (READ, self.schema))
        differences: list[Difference] = []
        for key in sorted(in_use.keys() | made.keys()):
            if in_use.get(key) != made.get(key):
                kind: Kind = "missing" if key not in in_use else "unexpected" if key not in made else "different"
                differences.append(Difference(self.table, key, kind))
        return differences

    def _differing_parts(self, tools: Tools) -> list[int]:
        in_use, made = (
            set(_connection(tools, schema).execute(_of_rows(_SUMS_OF_PARTS, schema, self.table)))
            for schema in (READ, self.schema)
        )
        return sorted({part for part, _, _ in in_use ^ made})

    def _rows(self, tools: Tools, schema: str, parts: list[int] | None) -> Iterator[tuple[str, int]]:
        connection = _connection(tools, schema)
        if parts is None:
            yield from connection.execute(_COUNTERS.format(counted=run_counts.summed(schema)))
        else:
            yield from connection.execute(_of_rows(_ROWS, schema, self.table), [parts])


def differing(sums: Iterable[tuple[str, Sum]], schema: str) -> list[FindDifferences]:
    """The tasks that find the differences between tables, given the sums of all of them in both schemas."""
    by_table: dict[str, set[Sum]] = {}
    for table, found in sums:
        by_table.setdefault(table, set()).add(found)
    return [FindDifferences(schema, table) for table, both in by_table.items() if len(both) > 1]


def _connection(tools: Tools, schema: str) -> Connection:
    """Rows in use are seen as of the snapshot, before which the tables beside them were not there."""
    return tools.reader if schema == READ else tools.writer


def _summing(schema: str, name: str) -> sql.Composed:
    return _SUM.format(all=run_counts.summed(schema) if name == COUNTERS else _of_rows(_ALL, schema, name))


def _of_rows(statement: sql.SQL, schema: str, name: str) -> sql.Composed:
    table = _BY_NAME[name]
    return statement.format(
        key=sql.SQL(", ").join(map(sql.Identifier, table.key)),
        columns=sql.SQL(", ").join(sql.Identifier(column) for column, _ in table.columns),
        rows=sql.Identifier(schema, name),
        stream=sql.Identifier(table.stream),
    )
