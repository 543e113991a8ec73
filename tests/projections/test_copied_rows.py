"""Rows that were copied into a table come out of it as they went in."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.rows import dict_row

from api.embedded_postgres import EmbeddedPostgres
from projections.copied_rows import copy_rows
from projections.tables import READ, TABLES, Table
from tests.projections.seeding import copy_of

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "uuid": st.uuids(),
    "text": text,
    "text[]": st.lists(text),
    "uuid[]": st.lists(st.uuids()),
    "timestamptz": st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "double precision": st.floats(allow_nan=False),
    "boolean": st.booleans(),
}


@pytest.fixture(scope="module")
def connection(postgres: EmbeddedPostgres, template_database: str) -> Iterator[psycopg.Connection]:
    with (
        copy_of(template_database, postgres.conninfo) as conninfo,
        psycopg.connect(conninfo, autocommit=True, options="-c timezone=UTC") as connection,
    ):
        yield connection


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_rows_come_out_as_they_went_in(connection: psycopg.Connection, table: Table, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.fixed_dictionaries({name: VALUES[type] for name, type in table.columns}), max_size=3))
    scratch = "CREATE TEMPORARY TABLE copied (LIKE {} INCLUDING GENERATED) ON COMMIT DROP"
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(sql.SQL(scratch).format(sql.Identifier(READ, table.name)))
        for column, _ in table.columns:
            cursor.execute(sql.SQL("ALTER TABLE copied ALTER {} DROP NOT NULL").format(sql.Identifier(column)))
        empty = dict.fromkeys((name for name, _ in table.columns))
        _copy_into_scratch(connection, table, [*rows, empty])
        columns = sql.SQL(", ").join(sql.Identifier(column) for column, _ in table.columns)
        assert cursor.execute(sql.SQL("SELECT {} FROM copied").format(columns)).fetchall() == [*rows, empty]


def _copy_into_scratch(connection: psycopg.Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    copy_rows(connection, Table("copied", table.key, table.columns), rows, "pg_temp")
