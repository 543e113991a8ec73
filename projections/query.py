"""A query that is put together once and may be asked many times."""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncClientCursor, AsyncConnection, sql

from projections.filters.condition import Condition


class Query:
    """A statement, given as a text with placeholders and their values.

    Pages and clients ask the same again and again. A connection that is asked the same text for the fifth time prepares
    it, and PostgreSQL, which plans a list for as long as it looks for fifty documents, does so no more. That is why the
    values are put into the text: as parameters they would share one plan, which for tags took three times as long.
    `one_plan` says that it does not matter what the values are; then they are parameters, prepared from the first time.
    """

    def __init__(self, asked: Condition, *, one_plan: bool = False) -> None:
        self._text = sql.SQL("{}").format(asked.text)
        self._values = asked.values
        self._one_plan = one_plan
        self._ready: tuple[bytes, Sequence[Any] | None] | None = None

    async def rows(self, connection: AsyncConnection) -> list[tuple[Any, ...]]:
        """The rows of the answer."""
        if self._ready is None:
            self._ready = self._made_ready(connection)
        # Binary results are the bytes themselves; as text they would come as hexadecimal digits.
        cursor = await connection.execute(*self._ready, prepare=True if self._one_plan else None, binary=True)
        return await cursor.fetchall()

    def _made_ready(self, connection: AsyncConnection) -> tuple[bytes, Sequence[Any] | None]:
        if self._one_plan:
            return self._text.as_bytes(connection), self._values
        return AsyncClientCursor(connection).mogrify(self._text, self._values).encode(), None
