"""The SQL files of the read tables, as PostgreSQL understands them, hold what projectors write."""

from collections.abc import Iterator
from itertools import pairwise

import psycopg
import pytest

from api.embedded_postgres import EmbeddedPostgres
from domain.aggregate import Aggregate
from domain.deployment import Deployment
from domain.flow import Flow
from domain.flow_run import FlowRun
from domain.ids import new_id
from domain.task_run import TaskRun
from domain.work_pool import WorkPool
from domain.work_queue import WorkQueue
from projections.projectors import TABLES_OF, row_of
from projections.schema import read_tables_sql
from projections.tables import TABLES, Table
from tests.projections.seeding import copy_of

COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
"""
KEY = """
SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)
WHERE indrelid = %s::regclass AND indisprimary ORDER BY array_position(indkey, attnum)
"""
NAMES = "SELECT tablename FROM pg_tables WHERE schemaname = 'read'"

ALIASES = {"timestamptz": "timestamp with time zone"}

each_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


@pytest.fixture(scope="module")
def connection(postgres: EmbeddedPostgres, template_database: str) -> Iterator[psycopg.Connection]:
    with copy_of(template_database, postgres.conninfo) as conninfo, psycopg.connect(conninfo) as connection:
        yield connection


def test_there_is_a_definition_for_every_read_table(connection: psycopg.Connection) -> None:
    names = {name for (name,) in connection.execute(NAMES)}
    assert names == {table.name for table in TABLES} | {"shape", "run_counts"}


@each_table
def test_the_columns_of_a_table_and_their_types_are_those_that_are_written(
    connection: psycopg.Connection, table: Table
) -> None:
    found = dict(connection.execute(COLUMNS, [f"read.{table.name}"]).fetchall())
    assert found == {name: ALIASES.get(type, type) for name, type in table.columns}


@each_table
def test_rows_are_replaced_by_the_primary_key(connection: psycopg.Connection, table: Table) -> None:
    assert tuple(name for (name,) in connection.execute(KEY, [f"read.{table.name}"])) == table.key
    assert table.stream in dict(table.columns)


@pytest.mark.parametrize("kind", [Flow, Deployment, FlowRun, TaskRun, WorkPool, WorkQueue])
def test_a_row_fills_every_column_of_its_table(kind: type[Aggregate]) -> None:
    assert set(row_of(kind(new_id()))) == set(dict(TABLES_OF[kind][0].columns))


def test_every_index_says_what_it_is_for() -> None:
    lines = read_tables_sql().splitlines()
    unexplained = [line for before, line in pairwise(lines) if _makes_index(line) and "--" not in before]
    assert [line for line in lines if _makes_index(line)]
    assert unexplained == []


def _makes_index(line: str) -> bool:
    return line.startswith("CREATE") and "INDEX" in line
