"""Fixtures that give every test a real PostgreSQL: one server a session, one database a test."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from api.embedded_postgres import EmbeddedPostgres, embedded_postgres
from projections.schema import create_missing
from projections.statements import NEW_IDENTITY

TEMPLATE = "flowledger_template"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """The PostgreSQL of this test session, with the durable settings of production; its database is left empty."""
    data_dir: Path = tmp_path_factory.mktemp("postgres")
    with embedded_postgres(data_dir) as server:
        yield server


@pytest.fixture(scope="session")
def template_database(postgres: EmbeddedPostgres) -> str:
    """The name of a database that holds our schemas and no rows, to make others from."""
    _execute(postgres, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    create_missing(make_conninfo(postgres.conninfo, dbname=TEMPLATE))
    return TEMPLATE


@pytest.fixture
def conninfo(postgres: EmbeddedPostgres, template_database: str) -> Iterator[str]:
    """The libpq connection string of a fresh database with our schemas and no rows, dropped after the test."""
    yield from _fresh_database(postgres, template_database)


@pytest.fixture
def second_conninfo(postgres: EmbeddedPostgres, template_database: str) -> Iterator[str]:
    """The libpq connection string of another such database, which holds another ledger."""
    for conninfo in _fresh_database(postgres, template_database):
        with psycopg.connect(conninfo) as connection:
            connection.execute(NEW_IDENTITY)
        yield conninfo


@pytest.fixture
def database_url(conninfo: str) -> str:
    """The same database as `conninfo`, under the name of the setting that takes it."""
    return conninfo


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The libpq connection string of a fresh database without our schemas, dropped after the test."""
    yield from _fresh_database(postgres, "template0")


def _fresh_database(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    # FILE_COPY: creating and dropping take 70 ms together, against 130 ms with WAL_LOG.
    make = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    _execute(postgres, make.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield make_conninfo(postgres.conninfo, dbname=name)
    finally:
        _execute(postgres, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _execute(postgres: EmbeddedPostgres, statement: sql.Composable) -> None:
    with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
        connection.execute(statement)
