"""What a transaction does to the read tables."""

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from projections.tables import Table

Row = dict[str, Any]


@dataclass(slots=True)
class RowChanges:
    """What a transaction does to the read tables: rows to write, streams whose rows go, and single rows that go.

    What goes does so before anything is written.
    """

    written: dict[str, list[Row]] = field(default_factory=dict)
    removed: dict[str, list[UUID]] = field(default_factory=dict)
    dropped: dict[str, list[Row]] = field(default_factory=dict)

    def write(self, table: Table, row: Row) -> None:
        self.written.setdefault(table.name, []).append(row)

    def drop(self, table: Table, key: Row) -> None:
        self.dropped.setdefault(table.name, []).append(key)

    def remove(self, table: Table, stream: UUID) -> None:
        self.removed.setdefault(table.name, []).append(stream)

    def of(self, tables: Container[str]) -> "RowChanges":
        """Those of the changes that are made to these tables."""
        return RowChanges(
            {name: rows for name, rows in self.written.items() if name in tables},
            {name: streams for name, streams in self.removed.items() if name in tables},
            {name: keys for name, keys in self.dropped.items() if name in tables},
        )
