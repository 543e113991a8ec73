"""What people put into a run is gone for good once it is erased: from events, tables, answers and copies."""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from eventsourcing.persistence import StoredEvent
from psycopg import sql

from domain.events import EventMapper
from domain.payloads import key_of
from projections.payload_keys.opening import mapper_for
from projections.rebuild.rebuilding import Plan, rebuild
from projections.verify.verification import verify
from tests.acceptance.test_clients import SCENARIOS, run_script
from tests.checks import check_ledger, stored_events
from tests.support.event_client import confirm, reporting, reports_of_one_run, send
from tests.support.server_process import REPOSITORY, ServerProcess, serving
from tests.support.socket_client import asking, told

MARKER = "Xk7-what-nobody-must-read-q9Z"

CRASHING = """
import os, signal, sys, psycopg
from uuid import UUID
from domain.commands.command import Caller
from domain.ledger import Ledger
from projections.connection import LedgerConnection
from projections.erasing import Eraser
from projections.payload_keys.opening import open_keys
from projections.payload_keys.store import StoredKeys
from projections.recorder import PostgresLedgerRecorder
conninfo, keys, run, steps = sys.argv[1:]
left = [int(steps)]
def report(step, number):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
store = open_keys(keys)
ledger = Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), keyring=StoredKeys(store))
with psycopg.connect(conninfo, autocommit=True) as connection:
    Eraser(ledger, connection, store, Caller("crashing", "prefect-3"), report).erase(UUID(run))
"""
STEPS = 6


@dataclass(frozen=True)
class Sealed:
    """A server that keeps keys, its client, its database, and where the keys are."""

    server: ServerProcess
    client: httpx.Client
    conninfo: str
    keys: Path
    flow: str = field(default="")

    def mapper(self) -> EventMapper:
        return mapper_for(str(self.keys))

    def post(self, path: str, body: Any, **headers: str) -> Any:
        answer = self.client.post(path, json=body, headers=headers)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def command(self, *arguments: str, stdout: int = subprocess.PIPE) -> "subprocess.CompletedProcess[str]":
        environment = {
            "PATH": "",
            "FLOWLEDGER_DATABASE_URL": self.conninfo,
            "FLOWLEDGER_PAYLOAD_KEYS": str(self.keys),
        }
        command = [sys.executable, "-m", "scripts.cli", *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True
        )

    def erase(self, run: str, *options: str) -> str:
        done = self.command("erase", run, "--yes", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def sealed(conninfo: str, tmp_path: Path, log: Path) -> Iterator[Sealed]:
    keys = tmp_path / "keys"
    with (
        serving(log, database_url=conninfo, payload_keys=keys, services_enabled=False) as server,
        server.client() as client,
    ):
        flow = client.post("flows/", json={"name": "a-flow"}).json()["id"]
        yield Sealed(server, client, conninfo, keys, flow)


@dataclass(frozen=True)
class Told:
    """A run into which people have put the marker wherever they can."""

    flow_run: str
    task_runs: tuple[str, ...]


def tell(sealed: Sealed, parent: str | None = None) -> Told:
    """A flow run that has ended, with two task runs, all full of the marker."""
    made = sealed.post(
        "flow_runs/",
        {
            "flow_id": sealed.flow,
            "parameters": {"who": MARKER},
            "context": {"c": [MARKER]},
            "state": {"type": "PENDING", "message": MARKER},
            "parent_task_run_id": parent,
        },
        **{"idempotency-key": uuid4().hex},
    )
    run = made["id"]
    assert sealed.client.patch(f"flow_runs/{run}", json={"parameters": {"who": MARKER, "n": 1}}).status_code == 204
    state(sealed, f"flow_runs/{run}", "RUNNING")
    task = {"flow_run_id": run, "task_key": "t", "dynamic_key": "0", "state": {"type": "PENDING", "message": MARKER}}
    task_run = sealed.post("task_runs/", task)["id"]
    state(sealed, f"task_runs/{task_run}", "RUNNING")
    state(sealed, f"task_runs/{task_run}", "COMPLETED", cache_key="a key")
    reports = reports_of_one_run(run)
    for report in reports:
        report["payload"]["validated_state"]["message"] = MARKER
    note = {
        **reports[0],
        "id": str(uuid4()),
        "event": "a.note",
        "resource": {"prefect.resource.id": "x", "said": MARKER},
    }
    note |= {"payload": {"said": MARKER}, "follows": None}
    asyncio.run(send_all(sealed.server, [*reports, note]))
    reported = reports[0]["resource"]["prefect.resource.id"].removeprefix("prefect.task-run.")
    assert (
        sealed.client.post(f"flow_runs/{run}/input", json={"key": "k", "value": json.dumps(MARKER)}).status_code == 201
    )
    at = datetime.now(UTC).isoformat()
    line = {"name": "n", "level": 20, "message": MARKER, "timestamp": at}
    sealed.post("logs/", [{**line, "flow_run_id": run}, {**line, "task_run_id": task_run}])
    sealed.post("artifacts/", {"key": "k", "data": MARKER, "description": MARKER, "flow_run_id": run})
    state(sealed, f"flow_runs/{run}", "COMPLETED", **{"idempotency-key": uuid4().hex})
    return Told(run, (task_run, reported))


def state(sealed: Sealed, run: str, type: str, cache_key: str | None = None, **headers: str) -> None:
    proposed = {"type": type, "message": MARKER, "data": {"said": MARKER}, "state_details": {"cache_key": cache_key}}
    sealed.post(f"{run}/set_state", {"state": proposed}, **headers)


async def send_all(server: ServerProcess, events: list[Any]) -> None:
    async with reporting(server) as connection:
        for event in events:
            await send(connection, event)
        await confirm(connection)


async def followed_lines(server: ServerProcess, run: str) -> list[Any]:
    async with asking(server, "/logs/out", type="filter", filter={"flow_run_id": {"any_": [run]}}) as connection:
        return [await told(connection)]


def answers(sealed: Sealed, run: Told) -> dict[str, str]:
    """Every answer that tells of a run."""
    client = sealed.client
    found = {}
    of_run = {"flow_runs": {"id": {"any_": [run.flow_run]}}}
    for path in (
        *(f"flow_runs/{run.flow_run}{more}" for more in ("", "/events", "/graph", "/graph-v2", "?as_of=3", "/input/k")),
        *(f"task_runs/{id}{more}" for id in run.task_runs for more in ("", "/events", "?as_of=2")),
        f"flow_run_states/?flow_run_id={run.flow_run}",
        *(f"task_run_states/?task_run_id={id}" for id in run.task_runs),
        "artifacts/k/latest",
        "ledger/events?limit=200",
        f"ledger/events?flow_run_id={run.flow_run}&limit=200",
    ):
        found[path] = client.get(path).text
    for path, body in (
        ("flow_runs/filter", of_run),
        ("flow_runs/paginate", of_run),
        (f"flow_runs/filter?as_of={datetime.now(UTC).isoformat().replace('+00:00', 'Z')}", of_run),
        ("task_runs/filter", of_run),
        ("logs/filter", {"logs": {"flow_run_id": {"any_": [run.flow_run]}}}),
        ("logs/filter", {"logs": {"task_run_id": {"any_": list(run.task_runs)}}}),
        ("artifacts/filter", {}),
        ("artifacts/latest/filter", {}),
        ("events/filter", {"limit": 50}),
        (f"flow_runs/{run.flow_run}/input/filter", {"prefix": ""}),
    ):
        answer = client.post(path, json=body)
        found[f"{path} {body}"] = answer.text
    found["logs/out"] = json.dumps(asyncio.run(followed_lines(sealed.server, run.flow_run)))
    return found


def holds(text: str | bytes) -> bool:
    """Whether a text holds the marker, as it is or as base64 from any place on."""
    content = text.encode() if isinstance(text, str) else text
    plain = MARKER.encode()
    encoded = [base64.b64encode(b" " * shift + plain)[4 if shift else 0 : -4] for shift in range(3)]
    return plain in content or any(part in content for part in encoded)


def dump(conninfo: str) -> Iterator[tuple[str, bytes]]:
    """The content of every table of the database, and what its planner of queries has noted of them."""
    with psycopg.connect(conninfo) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, name in [*tables, ("pg_catalog", "pg_statistic")]:
            with connection.cursor() as cursor:
                copy_out = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(schema, name))
                with cursor.copy(copy_out) as copy:
                    yield f"{schema}.{name}", b"".join(bytes(block) for block in copy)


def tables_that_hold_it(conninfo: str) -> set[str]:
    return {name for name, content in dump(conninfo) if holds(content)}


def events_of(conninfo: str) -> list[StoredEvent]:
    with psycopg.connect(conninfo) as connection:
        return stored_events(connection)


def is_clean(sealed: Sealed) -> None:
    assert verify(sealed.conninfo, jobs=1, keys=str(sealed.keys)).number == 0
    plan = Plan(jobs=1, verify=True, swap=False, keys=str(sealed.keys))
    assert rebuild(sealed.conninfo, plan).differences == []
    check_ledger(sealed.conninfo, sealed.mapper())


def lasting(sealed: Sealed, run: Told) -> list[tuple[Any, ...]]:
    """What stays of a run: who did what and when, in which states it was."""
    kept = []
    for path in (f"flow_runs/{run.flow_run}", *(f"task_runs/{id}" for id in run.task_runs)):
        for event in sealed.client.get(f"{path}/events").json()["events"]:
            if not event["topic"].endswith("PayloadErased"):
                state = (event["transition"] or {}).get("state") or {}
                kept.append((path, event["topic"], event["actor"], event["recorded_at"], state.get("name")))
    return kept


def test_nothing_is_left_of_what_was_put_into_a_run_that_was_erased(sealed: Sealed) -> None:
    run, other = tell(sealed), tell(sealed)
    assert all(holds(text) for path, text in answers(sealed, run).items() if "graph" not in path)
    # Whatever is read by people is still in the tables for reading, but in no event.
    assert "ledger.events" not in tables_that_hold_it(sealed.conninfo)
    assert "telemetry.logs" not in tables_that_hold_it(sealed.conninfo)
    is_clean(sealed)
    copied, before = events_of(sealed.conninfo), lasting(sealed, run)
    with psycopg.connect(sealed.conninfo, autocommit=True) as connection:
        connection.execute("ANALYZE")
    assert "pg_catalog.pg_statistic" not in tables_that_hold_it(sealed.conninfo)

    told = sealed.erase(run.flow_run)
    assert "Erased: 3 runs in the ledger and its tables." in told
    assert "write-ahead log" in told

    # Lists of all artifacts and events tell of the other run as well.
    shared = ("artifacts", "events/filter", "ledger/events?limit")
    assert not [path for path, text in answers(sealed, run).items() if holds(text) and not path.startswith(shared)]
    assert lasting(sealed, run) == before
    is_clean(sealed)
    # The other run is as it was; then it goes, too.
    assert holds(sealed.client.get(f"flow_runs/{other.flow_run}").text)
    sealed.erase(other.flow_run)
    assert tables_that_hold_it(sealed.conninfo) == set()
    assert not [path for path, text in answers(sealed, run).items() if holds(text)]
    assert not [path for path in sealed.keys.rglob("*") if path.is_file() and holds(path.read_bytes())]
    # A copy of the events that was made before, as an archive holds one.
    mapper = sealed.mapper()
    assert not [event for event in copied if holds(repr(mapper.to_domain_event(event))) or holds(event.state)]
    assert sum(key_of(event.state) is not None for event in copied) > 10
    is_clean(sealed)
    assert "(erased)" in sealed.command("replay-run", run.flow_run).stdout
    assert sealed.command("replay-run", run.flow_run, "--check").returncode == 0


def test_what_comes_after_an_erasure_is_kept_without_payload(sealed: Sealed) -> None:
    run = tell(sealed)
    sealed.erase(run.flow_run)
    state(sealed, f"flow_runs/{run.flow_run}", "FAILED")
    late = {"flow_run_id": run.flow_run, "task_key": "late", "dynamic_key": "0"}
    late_run = sealed.post("task_runs/", {**late, "state": {"type": "PENDING", "message": MARKER}})["id"]
    state(sealed, f"task_runs/{late_run}", "CRASHED")
    asyncio.run(send_all(sealed.server, told_late(run.flow_run)))
    line = {"name": "n", "level": 20, "message": MARKER, "timestamp": datetime.now(UTC).isoformat()}
    sealed.post("logs/", [{**line, "flow_run_id": run.flow_run}])
    artifact = sealed.post("artifacts/", {"key": "late", "data": MARKER, "flow_run_id": run.flow_run})["id"]
    assert sealed.client.patch(f"artifacts/{artifact}", json={"data": MARKER}).status_code == 204
    assert sealed.client.get(f"flow_runs/{run.flow_run}").json()["state_type"] == "FAILED"
    assert tables_that_hold_it(sealed.conninfo) == set()
    is_clean(sealed)


def told_late(flow_run: str) -> list[Any]:
    reports = reports_of_one_run(flow_run)
    for report in reports:
        report["payload"]["validated_state"]["message"] = MARKER
    return reports


@pytest.mark.timeout(300)
def test_an_erasure_that_is_killed_between_its_steps_ends_as_one_that_is_not(sealed: Sealed) -> None:
    runs = [tell(sealed) for _ in range(STEPS)]
    for steps, run in enumerate(runs, 1):
        arguments = [sealed.conninfo, str(sealed.keys), run.flow_run, str(steps)]
        crashed = subprocess.run([sys.executable, "-c", CRASHING, *arguments], cwd=REPOSITORY)
        assert crashed.returncode == -signal.SIGKILL
        is_clean(sealed)
        sealed.erase(run.flow_run)
    assert tables_that_hold_it(sealed.conninfo) == set()
    is_clean(sealed)
    erased = [event.topic for event in events_of(sealed.conninfo) if event.topic.endswith("PayloadErased")]
    assert len(erased) == 3 * STEPS


def test_a_subflow_is_erased_with_its_parent_when_asked_for(sealed: Sealed) -> None:
    parent = tell(sealed)
    child = tell(sealed, parent.task_runs[0])
    assert "--with-subflows" in sealed.erase(parent.flow_run)
    assert holds(sealed.client.get(f"flow_runs/{child.flow_run}").text)
    sealed.erase(parent.flow_run, "--with-subflows")
    assert tables_that_hold_it(sealed.conninfo) == set()
    is_clean(sealed)


@pytest.mark.parametrize("gone", ["the parent", "the subflow", "both", "both, and archived", "nothing, but archived"])
def test_what_belongs_to_a_run_is_erased_with_it_also_when_it_is_gone(
    sealed: Sealed, tmp_path: Path, gone: str
) -> None:
    parent = tell(sealed)
    child = tell(sealed, parent.task_runs[0])
    grandchild = tell(sealed, child.task_runs[0])
    for run in (parent, child, grandchild):
        sealed.post("artifacts/", {"key": "k", "data": MARKER, "task_run_id": run.task_runs[0]})
    deleted = {"the parent": [parent], "the subflow": [child], "nothing, but archived": []}.get(gone, [parent, child])
    for run in deleted:
        assert sealed.client.delete(f"flow_runs/{run.flow_run}").status_code == 204
    if gone.endswith("archived"):
        archived = sealed.command("archive", "--older-than", "0m", "--to", str(tmp_path / "archives"), "--yes")
        assert archived.returncode == 0, archived.stdout + archived.stderr

    assert "Not erased: 2 subflows" in sealed.erase(parent.flow_run)
    assert child.flow_run in sealed.erase(parent.flow_run, "--with-subflows")

    if gone.endswith("archived"):
        (directory,) = (tmp_path / "archives").iterdir()
        assert sealed.command("restore", str(directory), "--yes").returncode == 0
        assert "0 runs with 0 events" in sealed.command("restore", str(directory), "--yes").stdout
    assert tables_that_hold_it(sealed.conninfo) == set()
    for run in (parent, child, grandchild):
        assert not [path for path, text in answers(sealed, run).items() if holds(text)]
    assert f"in run {parent.flow_run}, of which it is a subflow" in sealed.erase(child.flow_run)
    is_clean(sealed)


def test_an_erasure_goes_on_to_its_end_when_nobody_listens(sealed: Sealed) -> None:
    parent = tell(sealed)
    tell(sealed, parent.task_runs[0])
    reader, writer = os.pipe()
    os.close(reader)
    done = sealed.command("erase", parent.flow_run, "--with-subflows", "--yes", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    assert tables_that_hold_it(sealed.conninfo) == set()


def test_what_cannot_be_erased_does_not_keep_the_rest_from_it(sealed: Sealed) -> None:
    parent = tell(sealed)
    child = sealed.post("flow_runs/", {"flow_id": sealed.flow, "parent_task_run_id": parent.task_runs[0]})["id"]
    done = sealed.command("erase", parent.flow_run, "--with-subflows", "--yes")
    assert (done.returncode, f"Not erased: Flow run {child} cannot be erased before it has ended." in done.stdout) == (
        1,
        True,
    )
    assert tables_that_hold_it(sealed.conninfo) == set()


@pytest.mark.parametrize("why", ["has ended", "whose key it shares", "not found"])
def test_a_run_that_cannot_be_erased_is_refused_with_a_sentence(sealed: Sealed, why: str) -> None:
    run = tell(sealed)
    going_on = sealed.post("flow_runs/", {"flow_id": sealed.flow, "state": {"type": "RUNNING"}})["id"]
    named = {"has ended": going_on, "whose key it shares": run.task_runs[0], "not found": str(uuid4())}[why]
    done = sealed.command("erase", named, "--yes")
    assert done.returncode == 1
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_run_that_began_in_plain_stays_in_plain_and_is_refused(conninfo: str, tmp_path: Path, log: Path) -> None:
    with serving(log, database_url=conninfo) as server, server.client() as client:
        flow = client.post("flows/", json={"name": "a-flow"}).json()["id"]
        run = client.post("flow_runs/", json={"flow_id": flow, "parameters": {"p": MARKER}}).json()["id"]
    keys = tmp_path / "keys"
    with serving(log, database_url=conninfo, payload_keys=keys) as server, server.client() as client:
        assert client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "COMPLETED"}}).status_code == 201
        refused = Sealed(server, client, conninfo, keys).command("erase", run, "--yes")
        assert (refused.returncode, "stored in plain" in refused.stderr) == (1, True)
    assert "ledger.events" in tables_that_hold_it(conninfo)


def test_keys_must_be_those_of_the_ledger_and_apart_from_it(sealed: Sealed, tmp_path: Path) -> None:
    sealed.post("flow_runs/", {"flow_id": sealed.flow, "parameters": {"p": MARKER}})
    for keys, sentence in (
        ("", "must say where its keys are"),
        (str(tmp_path / "elsewhere"), "No payload keys are kept in"),
    ):
        done = run_with(sealed, keys, "verify-ledger", "--jobs", "1")
        assert (done.returncode, sentence in done.stderr) == (1, True), done.stderr


def run_with(sealed: Sealed, keys: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": "", "FLOWLEDGER_DATABASE_URL": sealed.conninfo, "FLOWLEDGER_PAYLOAD_KEYS": keys}
    command = [sys.executable, "-m", "scripts.cli", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)


def test_a_payload_that_was_tampered_with_is_found_and_named_by_its_position(sealed: Sealed) -> None:
    tell(sealed)
    with psycopg.connect(sealed.conninfo) as connection:
        position = connection.execute(
            "UPDATE ledger.events SET state = overlay(state placing 'AAAAAAAA' from strpos(state, 'data') + 30)"
            " WHERE position = (SELECT min(position) FROM ledger.events WHERE starts_with(state, '{\"sealed\"'))"
            " RETURNING position"
        ).fetchone()
    assert position is not None
    report = verify(sealed.conninfo, jobs=1, keys=str(sealed.keys))
    found = {checked.check.name: checked.found for checked in report.checked}
    assert f"position {position[0]}," in found["events"].findings[0].sentence
    assert "was changed or moved" in found["events"].findings[0].sentence
    assert found["seals"].number == 1


def test_a_run_is_erased_before_it_goes_into_an_archive_or_while_it_is_there(sealed: Sealed, tmp_path: Path) -> None:
    before, meanwhile = tell(sealed), tell(sealed)
    sealed.erase(before.flow_run)
    archived = sealed.command("archive", "--older-than", "0m", "--to", str(tmp_path / "archives"), "--yes")
    assert archived.returncode == 0, archived.stdout + archived.stderr
    assert events_of(sealed.conninfo)[-1].topic.endswith("Archived")
    sealed.erase(meanwhile.flow_run)
    (directory,) = (tmp_path / "archives").iterdir()
    restored = sealed.command("restore", str(directory), "--yes")
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert sealed.client.get(f"flow_runs/{meanwhile.flow_run}").json()["parameters"] == {}
    assert tables_that_hold_it(sealed.conninfo) == set()
    for run in (before, meanwhile):
        assert not [path for path, text in answers(sealed, run).items() if holds(text)]
    is_clean(sealed)
    sealed.erase(meanwhile.flow_run)
    is_clean(sealed)


def test_the_text_of_sealed_lines_is_not_searched_in_vain(sealed: Sealed) -> None:
    run = tell(sealed)
    answer = sealed.client.post("logs/filter", json={"logs": {"text": {"query": MARKER}}})
    assert (answer.status_code, "encrypted" in answer.json()["detail"]) == (422, True)
    (line,) = sealed.post("logs/filter", {"logs": {"flow_run_id": {"any_": [run.flow_run]}}})
    assert line["message"] == MARKER


def test_a_run_that_was_deleted_is_erased_from_the_events_that_are_left_of_it(sealed: Sealed) -> None:
    run = tell(sealed)
    assert sealed.client.delete(f"flow_runs/{run.flow_run}").status_code == 204
    assert holds(sealed.client.get(f"flow_runs/{run.flow_run}/events").text)
    sealed.erase(run.flow_run)
    assert not holds(sealed.client.get(f"flow_runs/{run.flow_run}/events").text)
    assert tables_that_hold_it(sealed.conninfo) == set()
    is_clean(sealed)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("client", [2, 3])
def test_an_unmodified_client_runs_a_flow_that_can_be_erased(sealed: Sealed, tmp_path: Path, client: int) -> None:
    script = Path(shutil.copytree(SCENARIOS, tmp_path / "scripts")) / "a_hello.py"
    output = run_script(client, script, sealed.server.api)
    assert output.returncode == 0, output.stdout + output.stderr
    (run,) = sealed.post("flow_runs/filter", {"flows": {"name": {"any_": ["a-hello"]}}})
    assert run["parameters"] == {"name": "marvin"}
    assert not [event for event in events_of(sealed.conninfo) if b"marvin" in event.state]
    sealed.erase(run["id"])
    assert not [name for name, content in dump(sealed.conninfo) if b"marvin" in content]
    is_clean(sealed)
