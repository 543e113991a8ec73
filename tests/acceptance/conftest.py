"""Servers that tests may share, each on a database of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from api.embedded_postgres import EmbeddedPostgres
from tests.support.server_process import ServerProcess, serving


@dataclass(frozen=True)
class Service:
    """A server and the connection string of the database it works on."""

    server: ServerProcess
    conninfo: str


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The file that takes what a server of the test logs."""
    return tmp_path / "server.log"


@pytest.fixture(scope="module")
def service(
    request: pytest.FixtureRequest,
    postgres: EmbeddedPostgres,
    template_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """A server for all tests of a module: they must not depend on what others left in it.

    A module may say in `SETTINGS` how it is to be set.
    """
    name = f"service_{uuid4().hex}"
    _execute(postgres, sql.SQL("CREATE DATABASE {} TEMPLATE {}"), name, template_database)
    conninfo = make_conninfo(postgres.conninfo, dbname=name)
    settings = getattr(request.module, "SETTINGS", {})
    with serving(tmp_path_factory.mktemp("service") / "server.log", database_url=conninfo, **settings) as server:
        yield Service(server, conninfo)
    _execute(postgres, sql.SQL("DROP DATABASE {} WITH (FORCE)"), name)


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    """A client of that server, which its headers do not tell from any other."""
    with service.server.client() as client:
        yield client


def _execute(postgres: EmbeddedPostgres, statement: sql.SQL, *names: str) -> None:
    with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
        connection.execute(statement.format(*map(sql.Identifier, names)))
