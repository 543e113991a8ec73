"""A query that takes too long is stopped and answered, and its connection serves the next one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.server_process import ServerProcess, serving

DAY = {
    "history_start": "2026-11-23T00:00:00Z",
    "history_end": "2026-11-24T00:00:00Z",
    "history_interval_seconds": 3600,
}
QUERIES: list[tuple[str, Any]] = [
    ("flow_runs/filter", {}),
    ("flow_runs/count", {"flow_runs": {"name": {"like_": "a"}}}),
    ("flow_runs/paginate", {}),
    ("flow_runs/history", {**DAY, "flow_runs": {"name": {"like_": "a"}}}),
]


@pytest.fixture
def server(empty_database: str, log: Path) -> Iterator[ServerProcess]:
    # A single connection: whoever asks next gets the one on which the query was stopped.
    settings = {"statement_timeout_seconds": 0.3, "lock_timeout_seconds": 30, "read_pool_size": 1}
    with serving(log, database_url=empty_database, **settings) as server:
        yield server


def test_queries_that_take_too_long_are_answered_and_those_after_them_served(
    server: ServerProcess, empty_database: str
) -> None:
    with server.client() as client, psycopg.connect(empty_database) as other:
        # A reader waits for this lock as long as it waits for rows of a slow query: until its statement is stopped.
        other.execute("LOCK TABLE read.flow_runs IN ACCESS EXCLUSIVE MODE")
        for path, body in QUERIES:
            answer = client.post(path, json=body)
            assert answer.status_code == 503, path
            assert answer.json() == {
                "exception_message": "The query took too long and was stopped. Ask for less, or try again."
            }
            assert int(answer.headers["Retry-After"]) > 0
        assert client.post("flows/filter", json={}).json() == []
        other.rollback()
        for path, body in QUERIES:
            assert client.post(path, json=body).status_code == 200, path
