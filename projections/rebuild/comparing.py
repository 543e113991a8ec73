"""Holding read tables against others of the same shape: row by row, both ways, byte for byte.

Rows are compared by a hash of all their columns, added up over a two hundred and fifty-sixth part of each table; only
where sums differ are the rows themselves looked at. Counters are compared by what they add up to, for how many rows
they are spread over says nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from psycopg import Connection, sql

from projections.rebuild.workers import Tools
from projections.tables import READ, TABLES, Table

COUNTERS = "run_counts"

Kind = Literal["missing", "unexpected", "different"]
Sums = dict[int, tuple[int, int]]

_BY_NAME = {table.name: table for table in TABLES}

_HASHES = sql.SQL(
    "SELECT get_byte(uuid_send({stream}), 15), count(*), bit_xor(hash_record_extended(compared, 0))"
    " FROM (SELECT {columns} FROM {rows}) AS compared GROUP BY 1"
)
_ROWS = sql.SQL(
    "SELECT concat_ws(' ', {key}), hash_record_extended(compared, 0)"
    " FROM (SELECT {columns} FROM {rows}) AS compared WHERE get_byte(uuid_send({stream}), 15) = ANY(%s)"
)
_COUNTED = sql.SQL(
    "SELECT kind, dimension, key, width, bucket, state_type, state_name, sum(runs) AS runs, sum(run_time) AS run_time,"
    " sum(running_since) AS running_since, sum(late) AS late, sum(waiting) AS waiting,"
    " sum(waiting_since) AS waiting_since"
    " FROM {rows} GROUP BY kind, dimension, key, width, bucket, state_type, state_name"
    " HAVING (sum(runs), sum(run_time), sum(running_since), sum(late), sum(waiting), sum(waiting_since))"
    " <> (0, 0, 0, 0, 0, 0)"
)
_COUNTER_HASH = sql.SQL("SELECT 0, count(*), bit_xor(hash_record_extended(compared, 0)) FROM ({counted}) AS compared")
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

    def __call__(self, tools: Tools) -> tuple[str, str, Sums]:
        found = _connection(tools, self.schema).execute(_summing(self.schema, self.table)).fetchall()
        return self.table, self.schema, {part: (count, hash) for part, count, hash in found if count}


@dataclass(frozen=True)
class FindDifferences:
    """Find the rows that make the difference between two tables, given the parts in which they differ."""

    schema: str
    table: str
    parts: tuple[int, ...]

    def __call__(self, tools: Tools) -> list[Difference]:
        in_use, made = (dict(self._rows(tools, schema)) for schema in (READ, self.schema))
        differences: list[Difference] = []
        for key in sorted(in_use.keys() | made.keys()):
            if in_use.get(key) != made.get(key):
                kind: Kind = "missing" if key not in in_use else "unexpected" if key not in made else "different"
                differences.append(Difference(self.table, key, kind))
        return differences

    def _rows(self, tools: Tools, schema: str) -> Iterator[tuple[str, int]]:
        connection = _connection(tools, schema)
        rows = sql.Identifier(schema, self.table)
        if self.table == COUNTERS:
            yield from connection.execute(_COUNTERS.format(counted=_COUNTED.format(rows=rows)))
            return
        table = _BY_NAME[self.table]
        key = sql.SQL(", ").join(map(sql.Identifier, table.key))
        statement = _ROWS.format(key=key, columns=_columns(table), rows=rows, stream=sql.Identifier(table.stream))
        yield from connection.execute(statement, [list(self.parts)])


def differing(sums: Iterable[tuple[str, str, Sums]], schema: str) -> list[FindDifferences]:
    """The tasks that find the differences between tables, given the sums of all of them in both schemas."""
    by_table: dict[str, dict[str, Sums]] = {}
    for table, of_schema, found in sums:
        by_table.setdefault(table, {})[of_schema] = found
    tasks = []
    for table, both in by_table.items():
        in_use, made = both[READ], both[schema]
        parts = tuple(part for part in in_use.keys() | made.keys() if in_use.get(part) != made.get(part))
        if parts:
            tasks.append(FindDifferences(schema, table, parts))
    return tasks


def _connection(tools: Tools, schema: str) -> Connection:
    """Rows in use are seen as of the snapshot, before which the tables beside them were not there."""
    return tools.reader if schema == READ else tools.writer


def _summing(schema: str, name: str) -> sql.Composed:
    rows = sql.Identifier(schema, name)
    if name == COUNTERS:
        return _COUNTER_HASH.format(counted=_COUNTED.format(rows=rows))
    table = _BY_NAME[name]
    return _HASHES.format(stream=sql.Identifier(table.stream), columns=_columns(table), rows=rows)


def _columns(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(column) for column, _ in table.columns)
