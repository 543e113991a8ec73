"""Lists of documents: filtered, ordered, cut into pages, as one JSON array made by PostgreSQL.

A page is asked for by its offset, or by a cursor: an opaque word that says behind which row it begins. Pages by cursor
do not shift while rows come and go before them, and the last costs as much as the first. Of documents only the named
fields can be asked for.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import AsyncConnection, sql
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from projections.columns import chosen
from projections.filters.condition import Condition, Operator, joined
from projections.query import Query
from projections.sorting import Order, Sort, order_of

LAST_ROW = 2**63 - 1
"""PostgreSQL counts no further; what would lie behind an offset beyond that is nothing, not an error."""

_CURSOR: TypeAdapter[tuple[str, str | None, UUID]] = TypeAdapter(tuple[str, str | None, UUID])


class UnusableCursor(Exception):
    """A cursor that no list of this order gave; `reason` says why in one sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Source:
    """What a list is of: a table with an id, the document of a row, and the table that it is joined from, if any."""

    table: str
    document: sql.Composable
    documents: str | None = None
    schema: str = "read"

    @property
    def rows(self) -> sql.Composable:
        return sql.Identifier(self.schema, self.table)

    @property
    def joining(self) -> sql.Composable:
        """What stands behind the rows for their documents to be there."""
        if self.documents is None:
            return sql.SQL("")
        return sql.SQL(" JOIN {} USING (id)").format(sql.Identifier(self.schema, self.documents))

    @property
    def joined(self) -> sql.Composable:
        """The rows with what their documents are made of."""
        return sql.SQL("{}{}").format(self.rows, self.joining)


@dataclass(frozen=True)
class Page:
    """Which part of a list: so many documents behind an offset or behind a cursor, and which fields of each.

    `by_cursor` asks for the cursor of the next page; with no `cursor` the list begins at its beginning. `columns` None
    means whole documents.
    """

    limit: int
    offset: int = 0
    by_cursor: bool = False
    cursor: str | None = None
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Listed:
    """A JSON array of documents, and the cursor of the page behind it where one was asked for and there may be one."""

    documents: bytes
    cursor: str | None = None


class PageQuery:
    """The query for one page of a list, which may be asked again and again.

    Raises UnusableCursor, and UnknownColumn where a field is asked for that there is not.
    """

    def __init__(self, source: Source, where: Condition, sort: Sort, page: Page) -> None:
        order = order_of(sort)
        document = source.document if page.columns is None else chosen(source.table, source.document, page.columns)
        columns: list[sql.Composable] = [_text(document)]
        if page.by_cursor:
            if order.moves:
                raise UnusableCursor(f"Lists in the order {sort.value} have no cursor, for it moves with the clock.")
            if page.cursor is not None:
                where = joined(Operator.AND, [where, _behind(sort, order, page.cursor)])
            # Names of their own, or the rows would be ordered by these texts.
            key = sql.SQL("NULL") if order.key is None else order.key
            columns += [sql.SQL("({})::text AS key_text").format(key), sql.SQL("id::text AS id_text")]
        offset = 0 if page.by_cursor else min(page.offset, LAST_ROW)
        statement = _rows(source, columns, where, order, deep=offset > 0)
        self._query = Query(Condition(statement, (*where.values, page.limit, offset)))
        self._sort = sort
        self._page = page

    async def documents(self, connection: AsyncConnection) -> list[bytes]:
        """The documents of the page as of now, each by itself."""
        return [row[0] for row in await self._query.rows(connection)]

    async def read(self, connection: AsyncConnection) -> Listed:
        """The page as of now."""
        rows = await self._query.rows(connection)
        documents = array_of([row[0] for row in rows])
        is_full = 0 < len(rows) == self._page.limit
        return Listed(documents, _encoded(self._sort, *rows[-1][1:]) if self._page.by_cursor and is_full else None)


async def read_page(connection: AsyncConnection, source: Source, where: Condition, sort: Sort, page: Page) -> Listed:
    """One page of a list. Raises what `PageQuery` does."""
    return await PageQuery(source, where, sort, page).read(connection)


async def read_documents(
    connection: AsyncConnection, source: Source, where: Condition, sort: Sort, page: Page
) -> list[bytes]:
    """The documents of one page, for who has to look at them before they are put together."""
    return await PageQuery(source, where, sort, page).documents(connection)


def json_array(rows: sql.Composable) -> sql.Composed:
    """The statement that selects, as one JSON array in UTF-8, the JSON texts that another one selects, in its order."""
    return sql.SQL("SELECT convert_to('[' || array_to_string(ARRAY({}), ',') || ']', 'UTF8')").format(rows)


def _text(document: sql.Composable) -> sql.Composable:
    return sql.SQL("convert_to({}, 'UTF8')").format(document)


def _rows(
    source: Source, columns: Sequence[sql.Composable], where: Condition, order: Order, *, deep: bool
) -> sql.Composed:
    """Selects these columns of the rows of a page.

    Where many rows are passed over, their ids alone are looked through: in an index. Each document comes by itself:
    PostgreSQL took twice as long where it had to put them together. But the first is not sent before the last is there,
    for the rows of a page are in no order that PostgreSQL relies on: to send and to take one by one took half of the
    CPU of a list.
    """
    found = "page JOIN {rows} USING (id)" if deep else "page AS {table}"
    return sql.SQL(
        "WITH page AS MATERIALIZED (SELECT {of_page} FROM {rows} WHERE {where} ORDER BY {order} LIMIT %s OFFSET %s)"
        " SELECT {columns} FROM {found}{joining} ORDER BY {order}"
    ).format(
        of_page=sql.SQL("id" if deep else "*"),
        rows=source.rows,
        where=where.text,
        order=order.clause,
        columns=sql.SQL(", ").join(columns),
        found=sql.SQL(found).format(rows=source.rows, table=sql.Identifier(source.table)),
        joining=source.joining,
    )


def _behind(sort: Sort, order: Order, cursor: str) -> Condition:
    """What holds of the rows that come after the one that a cursor names. Unknown keys count as later than all."""
    named, key, id = _decoded(cursor)
    if named != sort.value:
        raise UnusableCursor(f"The cursor is of a list in the order {named}, not {sort.value}.")
    sign = sql.SQL("<" if order.descending else ">")
    if order.key is None:
        return Condition(sql.SQL("id {} %s").format(sign), (id,))
    names = {"key": order.key, "sign": sign, "type": sql.SQL(order.type)}
    if key is None:
        later = " OR {key} IS NOT NULL" if order.descending else ""
        return Condition(sql.SQL("(({key} IS NULL AND id {sign} %s)" + later + ")").format(**names), (id,))
    later = "" if order.descending else " OR {key} IS NULL"
    return Condition(sql.SQL("(({key}, id) {sign} (%s::{type}, %s)" + later + ")").format(**names), (key, id))


def _encoded(sort: Sort, key: str | None, id: str) -> str:
    return base64.urlsafe_b64encode(to_json([sort.value, key, id])).decode().rstrip("=")


def _decoded(cursor: str) -> tuple[str, str | None, UUID]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return _CURSOR.validate_json(text)
    except (binascii.Error, ValidationError, ValueError) as error:
        raise UnusableCursor("The cursor is none that a list gave.") from error


def array_of(documents: list[bytes]) -> bytes:
    """Documents as a JSON array; the list is used up."""
    # Joined with its brackets: every further copy of a long list costs as much as finding some of its documents.
    if not documents:
        return b"[]"
    documents[0] = b"[" + documents[0]
    documents[-1] += b"]"
    return b",".join(documents)
