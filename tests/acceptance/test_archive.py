"""Runs go into archives and come back beside a server that goes on with its work."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.acceptance.conftest import Service
from tests.checks import check_ledger
from tests.support.load import Acknowledged, drive_runs
from tests.support.server_process import REPOSITORY

LISTS = (
    ("flow_runs/filter", {"sort": "ID_DESC"}),
    ("task_runs/filter", {"sort": "ID_DESC"}),
    ("flow_runs/count", {}),
    ("flows/filter", {}),
)


def command(conninfo: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "scripts.cli", *arguments],
        env=os.environ | {"FLOWLEDGER_DATABASE_URL": conninfo},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )


def make_tree(client: httpx.Client, **facts: Any) -> tuple[str, str]:
    """A flow run and its task run, which have ended."""
    flow = client.post("flows/", json={"name": "archived"}).json()["id"]
    run = client.post("flow_runs/", json={"flow_id": flow, **facts}).json()["id"]
    client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "RUNNING"}})
    body = {"flow_run_id": run, "task_key": "t", "dynamic_key": "0"}
    task = client.post("task_runs/", json=body).json()["id"]
    for state in ("RUNNING", "COMPLETED"):
        client.post(f"task_runs/{task}/set_state", json={"state": {"type": state}})
    client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "COMPLETED"}})
    return run, task


def answers(client: httpx.Client) -> list[Any]:
    found = [client.post(path, json=body).json() for path, body in LISTS]
    for document in (document for listed in found if isinstance(listed, list) for document in listed):
        for moves_with_the_clock in ("estimated_run_time", "estimated_start_time_delta"):
            document.pop(moves_with_the_clock, None)
    return found


def test_an_archived_run_is_not_found_and_says_where_it_is_until_it_is_restored(
    service: Service, client: httpx.Client, tmp_path: Path
) -> None:
    run, task = make_tree(client, idempotency_key="k")
    before = answers(client)
    events = client.get(f"flow_runs/{run}/events").json()
    assert events["archived"] is None

    told = command(service.conninfo, "archive", "--older-than", "0m", "--to", str(tmp_path), "--dry-run", "--json")
    assert json.loads(told.stdout)["chosen"]["flow_runs"] == 1
    assert command(service.conninfo, "archive", "--older-than", "0m", "--to", str(tmp_path)).returncode == 1
    assert answers(client) == before

    done = command(service.conninfo, "archive", "--older-than", "0m", "--to", str(tmp_path), "--yes", "--json")
    assert done.returncode == 0, done.stderr
    [archive] = json.loads(done.stdout)
    where = f"it is in the archive {archive['archive_id']}"
    for path in (f"flow_runs/{run}", f"task_runs/{task}", f"flow_runs/{run}?as_of=2"):
        answer = client.get(path)
        assert (answer.status_code, where in answer.json()["detail"]) == (404, True)
    assert client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "RUNNING"}}).status_code == 404
    assert client.patch(f"flow_runs/{run}", json={"name": "late"}).status_code == 404
    assert client.delete(f"flow_runs/{run}").status_code == 404
    body = {"flow_run_id": run, "task_key": "t", "dynamic_key": "1"}
    assert client.post("task_runs/", json=body).status_code == 409
    told = client.get(f"flow_runs/{run}/events").json()
    assert [event["topic"] for event in told["events"]] == ["FlowRun.Archived"]
    last = len(events["events"])
    assert told["archived"] == {"archive_id": archive["archive_id"], "first_version": 1, "last_version": last}
    verified = command(service.conninfo, "verify-ledger", "--archive", archive["directory"])
    assert verified.returncode == 0, verified.stdout

    restored = command(service.conninfo, "restore", archive["directory"], "--yes")
    assert restored.returncode == 0, restored.stderr
    assert answers(client) == before
    again = client.get(f"flow_runs/{run}/events").json()
    assert again["events"][:last] == events["events"]
    assert [event["topic"] for event in again["events"][last:]] == ["FlowRun.Archived", "FlowRun.Restored"]
    assert command(service.conninfo, "verify-ledger").returncode == 0
    Path(archive["directory"], "events-00001.jsonl.zst").write_bytes(b"nothing")
    faulty = command(service.conninfo, "verify-ledger", "--archive", archive["directory"])
    assert faulty.returncode == 2
    assert "events-00001.jsonl.zst has 7 bytes" in faulty.stdout


@pytest.mark.timeout(300)
def test_nobody_who_works_with_the_server_notices(service: Service, client: httpx.Client, tmp_path: Path) -> None:
    runs = [make_tree(client, idempotency_key=str(uuid4()))[0] for _ in range(40)]
    flow = client.post("flows/", json={"name": "loaded"}).json()["id"]

    async def load_and_archive() -> Acknowledged:
        ended = asyncio.Event()
        load = asyncio.create_task(drive_runs(service.server, flow, connections=4, until=lambda known: ended.is_set()))
        for _ in range(3):
            done = await asyncio.to_thread(
                command, service.conninfo, "archive", "--older-than", "0m", "--to", str(tmp_path), "--yes"
            )
            assert done.returncode in (0, 2), done.stderr
        ended.set()
        return await load

    known = asyncio.run(load_and_archive())
    assert known.created
    for run in runs:
        answer = client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "RUNNING"}})
        assert answer.status_code == 404
    check_ledger(service.conninfo)
    for directory in sorted(tmp_path.iterdir()):
        restored = command(service.conninfo, "restore", str(directory), "--yes")
        assert restored.returncode == 0, restored.stdout + restored.stderr
    with psycopg.connect(service.conninfo) as connection:
        there = {str(id) for (id,) in connection.execute("SELECT id FROM read.flow_runs")}
    assert there >= {*runs, *known.created.values()}
    check_ledger(service.conninfo)
