"""Read tables are rebuilt while a server works with them, by a script that may die at any point."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.acceptance.conftest import Service
from tests.checks import check_ledger, live_rows
from tests.support.server_process import serving

ROOT = Path(__file__).parents[2]
POINTS = 10
TELLING = """
import sys
from projections.rebuild.rebuilding import Plan, rebuild

def report(*step):
    print(*step, flush=True)

if __name__ == "__main__":
    rebuild(sys.argv[1], Plan(jobs=2, verify=True), report)
"""
"""Rebuilds, and tells on standard output of each step that it takes."""


def make_runs(client: httpx.Client, number: int) -> None:
    flow = client.post("flows/", json={"name": "rebuilt"}).json()["id"]
    for index in range(number):
        run = client.post("flow_runs/", json={"flow_id": flow, "tags": ["a"], "name": f"run {index}"}).json()["id"]
        for state in ("PENDING", "RUNNING", "COMPLETED")[: index % 4]:
            client.post(f"flow_runs/{run}/set_state", json={"state": {"type": state}})


def answers(client: httpx.Client) -> list[Any]:
    asked = (
        ("flow_runs/filter", {"sort": "ID_DESC"}),
        ("flow_runs/filter", {"flow_runs": {"tags": {"all_": ["a"]}, "state": {"type": {"any_": ["COMPLETED"]}}}}),
        ("flow_runs/count", {}),
        ("flows/filter", {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}),
    )
    found = [client.post(path, json=body).json() for path, body in asked]
    for document in (document for listed in found if isinstance(listed, list) for document in listed):
        for moves_with_the_clock in ("estimated_run_time", "estimated_start_time_delta"):
            document.pop(moves_with_the_clock, None)
    return found


def told_until(process: subprocess.Popen[str], lines: int) -> int:
    """Read what a process tells until it has said so much or ends; give how many lines it said."""
    assert process.stdout is not None
    for number in range(lines):
        if not process.stdout.readline():
            return number
    return lines


def rebuilding(script: Path, conninfo: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(script), conninfo],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_rebuild_that_is_killed_anywhere_changes_nothing(
    service: Service, client: httpx.Client, tmp_path: Path
) -> None:
    script = tmp_path / "telling.py"
    script.write_text(TELLING)
    make_runs(client, 12)
    before, written = answers(client), rows(service.conninfo)
    with rebuilding(script, service.conninfo) as process:
        steps = told_until(process, 10_000)
    assert process.returncode == 0
    for point in random.Random(7).sample(range(steps), POINTS):  # noqa: S311 - no secret
        with rebuilding(script, service.conninfo) as process:
            told_until(process, point)
            assert answers(client) == before
            process.kill()
        assert answers(client) == before
        assert rows(service.conninfo) == written
    make_runs(client, 2)
    with rebuilding(script, service.conninfo) as process:
        assert told_until(process, 10_000) >= steps
    assert process.returncode == 0
    with psycopg.connect(service.conninfo) as connection:
        found = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'read%'").fetchall()
    # Workers of the last one that was killed may not have noticed yet, and those keep what they write to.
    assert ("read",) in found
    make_runs(client, 2)
    # What the server asks for has long been prepared, for the tables that are gone.
    listed, completed, number, _ = answers(client)
    assert (len(listed), len(completed), number) == (16, 3, 16)
    check_ledger(service.conninfo)


def test_the_command_rebuilds_beside_a_server(service: Service, client: httpx.Client) -> None:
    make_runs(client, 4)
    before = answers(client)
    with psycopg.connect(service.conninfo) as connection:
        connection.execute("UPDATE read.flows SET doc = replace(doc, 'rebuilt', 'changed')")
    assert answers(client) != before
    first, second = (command(service.conninfo, "rebuild-projections", "--verify", "--jobs", "2") for _ in range(2))
    assert (first.returncode, second.returncode) == (2, 0)
    assert "read.flows" in first.stdout
    assert "Nothing differed." in second.stdout
    assert answers(client) == before
    refused = command(service.conninfo, "rebuild-projections", "--only", "nothing")
    assert refused.returncode == 2
    assert "there is no table 'nothing'" in refused.stderr.replace("\n", " ")


def test_a_server_that_expects_other_tables_rebuilds_them_before_it_is_ready(conninfo: str, log: Path) -> None:
    with serving(log, database_url=conninfo) as server, server.client() as client:
        make_runs(client, 4)
        before = answers(client)
    with psycopg.connect(conninfo) as connection:
        connection.execute("ALTER TABLE read.flow_runs DROP COLUMN tags")
        connection.execute("UPDATE read.shape SET id = 'of another version'")
    with serving(log, database_url=conninfo) as server, server.client() as client:
        assert client.get("ready").status_code == 200
        assert answers(client) == before
        make_runs(client, 2)
    assert "rebuilding the read tables" in log.read_text()
    check_ledger(conninfo)


def test_a_ledger_that_is_not_there_cannot_be_rebuilt(empty_database: str) -> None:
    done = command(empty_database, "rebuild-projections")
    assert done.returncode == 1
    assert "There is no ledger" in done.stderr


def command(conninfo: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.cli", *arguments],
        env=os.environ | {"FLOWLEDGER_DATABASE_URL": conninfo},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )


def rows(conninfo: str) -> object:
    with psycopg.connect(conninfo) as connection:
        return live_rows(connection)
