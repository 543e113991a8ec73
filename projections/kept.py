"""What can be read of variables and saved searches."""

from uuid import UUID

from psycopg import AsyncConnection, sql

from projections.filters.condition import EVERY_ROW, Condition
from projections.filters.variables import VariableFilter
from projections.lists import LAST_ROW, Page, Source, json_array, read_page
from projections.sorting import VariableSort

DOCUMENT = sql.SQL("doc")
VARIABLES = Source("variables", DOCUMENT)

READ_VARIABLE = "SELECT convert_to(doc, 'UTF8') FROM read.variables WHERE id = %s"
READ_VARIABLE_BY_NAME = "SELECT convert_to(doc, 'UTF8') FROM read.variables WHERE name = %s"
READ_SAVED_SEARCH = "SELECT convert_to(doc, 'UTF8') FROM read.saved_searches WHERE id = %s"
READ_SAVED_SEARCHES = json_array(sql.SQL("SELECT doc FROM read.saved_searches ORDER BY name LIMIT %s OFFSET %s"))


async def read_variable(connection: AsyncConnection, variable: UUID | str) -> bytes | None:
    """The document of a variable, by its id or its name, or None."""
    statement = READ_VARIABLE if isinstance(variable, UUID) else READ_VARIABLE_BY_NAME
    return await _one(connection, statement, variable)


async def read_variables(
    connection: AsyncConnection, variables: VariableFilter | None, sort: VariableSort | None, page: Page
) -> bytes:
    """The documents of the variables that fit, as a JSON array; by name if no sort is given."""
    return (await read_page(connection, VARIABLES, _where(variables), sort or VariableSort.NAME_ASC, page)).documents


async def count_variables(connection: AsyncConnection, variables: VariableFilter | None) -> int:
    """How many variables fit."""
    where = _where(variables)
    statement = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(VARIABLES.rows, where.text)
    row = await (await connection.execute(statement, where.values)).fetchone()
    return int(row[0]) if row else 0


async def read_saved_search(connection: AsyncConnection, id: UUID) -> bytes | None:
    """The document of a saved search, or None."""
    return await _one(connection, READ_SAVED_SEARCH, id)


async def read_saved_searches(connection: AsyncConnection, *, limit: int, offset: int) -> bytes:
    """The documents of saved searches, by name, as a JSON array."""
    cursor = await connection.execute(READ_SAVED_SEARCHES, [limit, min(offset, LAST_ROW)], binary=True)
    row = await cursor.fetchone()
    return row[0] if row else b"[]"


def _where(variables: VariableFilter | None) -> Condition:
    return EVERY_ROW if variables is None else variables.condition()


async def _one(connection: AsyncConnection, statement: str, key: UUID | str) -> bytes | None:
    row = await (await connection.execute(statement, [key], binary=True)).fetchone()
    return row[0] if row else None
