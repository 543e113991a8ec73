"""Lists of documents: filtered, ordered, cut into pages, as one JSON array made by PostgreSQL.

A page is asked for by its offset, or by a cursor: an opaque word that says behind which row it begins. Pages by cursor
do not shift while rows come and go before them, and the last costs as much as the first. Of documents only the named
fields can be asked for.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from projections.columns import chosen
from projections.filters.condition import Condition, Operator, joined
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
    def joined(self) -> sql.Composable:
        """The rows with what their documents are made of."""
        if self.documents is None:
            return self.rows
        return sql.SQL("{} JOIN {} USING (id)").format(self.rows, sql.Identifier(self.schema, self.documents))


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


async def read_page(connection: AsyncConnection, source: Source, where: Condition, sort: Sort, page: Page) -> Listed:
    """One page of a list. Raises UnusableCursor, and UnknownColumn where a field is asked for that there is not."""
    order = order_of(sort)
    document = source.document if page.columns is None else chosen(source.table, source.document, page.columns)
    if not page.by_cursor:
        rows = _rows(source, document, where, order, deep=page.offset > 0)
        values = [*where.values, page.limit, min(page.offset, LAST_ROW)]
        return Listed(await _first(connection, json_array(rows), values))
    if order.moves:
        raise UnusableCursor(f"Lists in the order {sort.value} have no cursor, for it moves with the clock.")
    if page.cursor is not None:
        where = joined(Operator.AND, [where, _behind(sort, order, page.cursor)])
    statement = _with_last_row(source, document, where, order)
    cursor = await connection.execute(
        statement, [page.limit, page.limit, *where.values, page.limit], prepare=False, binary=True
    )
    documents, key, id = await cursor.fetchone() or (b"[]", None, None)
    return Listed(documents, None if id is None else _encoded(sort, key, id))


def json_array(rows: sql.Composable) -> sql.Composed:
    """The statement that selects, as one JSON array in UTF-8, the JSON texts that another one selects, in its order."""
    return sql.SQL("SELECT convert_to('[' || array_to_string(ARRAY({}), ',') || ']', 'UTF8')").format(rows)


def _rows(source: Source, document: sql.Composable, where: Condition, order: Order, *, deep: bool) -> sql.Composable:
    """The documents of a page. Where many rows are passed over, their ids alone are looked through: in an index."""
    if source.documents is None and not deep:
        template = "SELECT {document} FROM {joined} WHERE {where} ORDER BY {order} LIMIT %s OFFSET %s"
    else:
        template = (
            "SELECT {document} FROM (SELECT id FROM {rows} WHERE {where} ORDER BY {order} LIMIT %s OFFSET %s) AS page"
            " JOIN {joined_once} USING (id) ORDER BY {order}"
        )
    return sql.SQL(template).format(
        document=document,
        rows=source.rows,
        joined=source.joined,
        joined_once=source.joined if source.documents is None else sql.SQL("({})").format(source.joined),
        where=where.text,
        order=order.clause,
    )


def _with_last_row(source: Source, document: sql.Composable, where: Condition, order: Order) -> sql.Composed:
    """The documents of a page, and the key and the id of its last row if it is full."""
    key = sql.SQL("NULL") if order.key is None else order.key
    return sql.SQL(
        "SELECT convert_to('[' || coalesce(string_agg(doc, ',' ORDER BY place), '') || ']', 'UTF8'),"
        " max(key) FILTER (WHERE place = %s), max(row_id) FILTER (WHERE place = %s)"
        " FROM (SELECT {document} AS doc, ({key})::text AS key, id::text AS row_id,"
        " row_number() OVER (ORDER BY {order}) AS place"
        " FROM {joined} WHERE {where} ORDER BY {order} LIMIT %s) AS page"
    ).format(document=document, key=key, order=order.clause, joined=source.joined, where=where.text)


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


async def _first(connection: AsyncConnection, statement: sql.Composed, values: Sequence[Any]) -> bytes:
    # Binary results are the bytes themselves; as text they would come as hexadecimal digits.
    cursor = await connection.execute(statement, values, prepare=False, binary=True)
    row = await cursor.fetchone()
    return row[0] if row else b"[]"
