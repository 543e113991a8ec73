"""The script that tells the life of a run: while a server runs and when none does, also of runs that were deleted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg.types.json import Json
from typer.testing import CliRunner, Result

from domain.commands.command import OrchestrationResult
from domain.commands.flow_run_inputs import ResumeFlowRun
from domain.commands.flow_runs import DeleteFlowRun, UpdateFlowRun
from domain.commands.limits import CreateLimit
from domain.commands.task_runs import ReportTaskRunState
from domain.concurrency_limit import LimitChanges
from domain.flow_run import FlowRunChanges
from domain.ids import new_id
from domain.ledger import Ledger
from domain.run_policy import FlowRunPolicy
from domain.states import State, StateType
from domain.task_run import ReportedCounters
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from scripts.cli import app
from tests.domain.conftest import CALLER, Clock, Desk, create_task_run, proposed
from tests.support.server_process import REPOSITORY, serving


@pytest.fixture
def desk(conninfo: str) -> Any:
    clock = Clock()
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=clock) as ledger:
        yield Desk(ledger, clock)


def replay(conninfo: str, id: UUID | str, *options: str, width: int = 160) -> Result:
    runner = CliRunner(env={"COLUMNS": str(width)})
    return runner.invoke(app, ["replay-run", str(id), "--database-url", conninfo, *options])


def told(conninfo: str, id: UUID | str, *options: str) -> dict[str, Any]:
    result = replay(conninfo, id, "--json", *options)
    assert result.exit_code == 0, result.output
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def failing_run(desk: Desk) -> UUID:
    """A run that is refused something, fails, is tried again, and completes by force."""
    id = desk.flow_run(empirical_policy=FlowRunPolicy(retries=1, retry_delay=30))
    for type in ("RUNNING", "PENDING", "PENDING", "FAILED", "RUNNING"):
        desk.clock.move(seconds=2)
        desk.propose("flow", id, proposed(type))
    desk.clock.move(seconds=60)
    desk.propose("flow", id, proposed("COMPLETED", message="enough"), force=True)
    return id


def test_a_life_is_told_so_that_a_person_can_read_it(conninfo: str, desk: Desk) -> None:
    result = replay(conninfo, failing_run(desk), width=200)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0].startswith("Flow run a-run ")
    assert "2026-11-01" in lines
    assert any(line.startswith("12:00:00.000 0 ms - Pending created") for line in lines)
    assert any(line.startswith("12:00:02.000 2.0 s Pending Running ACCEPT") for line in lines)
    assert any("2.0 s Running - Pending ABORT PreventPendingButForOwner" in line for line in lines)
    assert any("(once more, last at 2026-11-01 12:00:06)" in line for line in lines)
    assert any("Running AwaitingRetry (scheduled) Failed REJECT RetryFailedFlowRuns" in line for line in lines)
    assert any("- Running WAIT 28.0 s WaitForScheduledTime" in line for line in lines)
    assert any("Completed ACCEPT enough (by force)" in line for line in lines)
    assert "Running 1 6.0 s" in lines
    assert "AwaitingRetry 1 1 min 02 s" in lines
    assert "As of version 7: Completed, 1 attempt, ran for 6.0 s" in lines


@pytest.mark.parametrize("width", [40, 80, 109, 110, 149, 150, 200])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_left_out(conninfo: str, desk: Desk, width: int) -> None:
    result = replay(conninfo, failing_run(desk), "--check", width=width)
    assert result.exit_code == 0
    assert max(len(line) for line in result.stdout.splitlines()) <= width
    without_breaks = "".join(result.stdout.split())
    for word in ("AwaitingRetry", "RetryFailedFlowRuns", "Retrying", "thesame", "prefect-3"):
        assert word in without_breaks or width < 80


def test_json_tells_all_of_it(conninfo: str, desk: Desk) -> None:
    id = failing_run(desk)
    desk.ask(UpdateFlowRun(caller=CALLER, id=id, changes=FlowRunChanges(tags=["a"])))
    life = told(conninfo, id)
    assert [event["version"] for event in life["events"]] == list(range(1, 9))
    assert [event["after_seconds"] for event in life["events"]] == [None, 0.0, 2.0, 2.0, 4.0, 2.0, 60.0, 0.0]
    refused = life["events"][3]
    assert (refused["transition"]["verdict"], refused["state_after"]["type"]) == ("ABORT", "RUNNING")
    assert refused["transition"]["repeats"] == 1
    assert [event["state_after"] and event["state_after"]["name"] for event in life["events"]] == [
        None,
        "Pending",
        "Running",
        "Running",
        "AwaitingRetry",
        "AwaitingRetry",
        "Completed",
        "Completed",
    ]
    assert (life["run"]["state_name"], life["run"]["tags"], life["deleted"]) == ("Completed", ["a"], False)
    assert life["durations"][2] == {"state": "AwaitingRetry", "times": 1, "seconds": 62.0, "goes_on": False}


def test_a_life_is_told_up_to_a_version_or_a_time(conninfo: str, desk: Desk) -> None:
    id = failing_run(desk)
    for moment in ("3", "2026-11-01T12:00:02Z", "2026-11-01T14:00:03+02:00"):
        life = told(conninfo, id, "--as-of", moment)
        assert len(life["events"]) == 3
        assert life["run"]["state_type"] == "RUNNING"
    assert life["run"]["estimated_run_time"] == 1.0
    assert life["durations"][1] == {"state": "Running", "times": 1, "seconds": 1.0, "goes_on": True}
    assert replay(conninfo, id, "--as-of", "2000-01-01T00:00:00Z").exit_code == 1
    assert replay(conninfo, id, "--as-of", "yesterday").exit_code == 2


def test_task_runs_are_told_whoever_orchestrates_them(conninfo: str, desk: Desk) -> None:
    flow_run = desk.flow_run(state=proposed("RUNNING"))
    id = desk.task_run(flow_run)
    desk.propose("task", id, proposed("RUNNING"))
    assert told(conninfo, id)["kind"] == "Task run"
    reported = new_id()
    states = [
        State(id=new_id(), type=StateType.RUNNING, name="Running", timestamp=desk.clock()),
        State(id=new_id(), type=StateType.COMPLETED, name="Completed", timestamp=desk.clock()),
    ]
    for state in states:
        facts = create_task_run(flow_run).facts.model_copy(update={"dynamic_key": "reported"})
        counters = ReportedCounters(run_count=1)
        desk.ask(
            ReportTaskRunState(caller=CALLER, id=reported, facts=facts, state=state, follows=None, counters=counters)
        )
    result = replay(conninfo, reported, "--check")
    assert result.exit_code == 0
    assert "reported" in result.stdout
    assert "There is no proposal to decide again." in result.stdout


def test_the_rules_of_today_give_the_verdicts_that_are_recorded(conninfo: str, desk: Desk) -> None:
    result = replay(conninfo, failing_run(desk), "--check")
    assert result.exit_code == 0
    assert "5 proposals decided again: 5 as then, 0 otherwise." in result.stdout


def test_a_verdict_that_would_be_another_one_today_is_shown(conninfo: str, desk: Desk) -> None:
    id = failing_run(desk)
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            "SELECT state::json FROM ledger.events WHERE originator_id = %s AND originator_version = 4", [id]
        ).fetchone()
        assert row is not None
        changed = {**row[0], "status": "REJECT", "rule": "SomeRuleOfOld"}
        connection.execute(
            "UPDATE ledger.events SET state = %s::json::text WHERE originator_id = %s AND originator_version = 4",
            [Json(changed), id],
        )
    result = replay(conninfo, id, "--check")
    assert result.exit_code == 3
    assert "5 proposals decided again: 4 as then, 1 otherwise." in result.stdout
    assert "ABORT by" in result.stdout
    again = replay(conninfo, id, "--check", "--json")
    assert again.exit_code == 3
    (differing,) = (
        one for one in json.loads(again.stdout)["events"] if (one.get("decided_again") or {}).get("differs")
    )
    assert differing["version"] == 4
    assert differing["decided_again"]["today"] == {
        "verdict": "ABORT",
        "rule": "PreventPendingButForOwner",
        "state_type": None,
        "state_name": None,
    }


def test_what_is_looked_at_is_as_it_was_then(conninfo: str, desk: Desk) -> None:
    """Limits, slots, cached results and flow runs have all changed since a task run was decided about."""
    desk.make(CreateLimit(caller=CALLER, id=new_id(), facts=LimitChanges(name="tag:t", limit=1)))
    flow_run = desk.flow_run(state=proposed("RUNNING"))
    tasks = []
    for _ in range(3):
        command = create_task_run(flow_run)
        object.__setattr__(command, "facts", command.facts.model_copy(update={"tags": ["t"]}))
        tasks.append(desk.make(command))
    first, second, third = tasks
    answers: list[OrchestrationResult] = []
    answers.append(desk.propose("task", first, proposed("RUNNING", cache_key="key")))
    answers.append(desk.propose("task", second, proposed("RUNNING", cache_key="other")))
    answers.append(desk.propose("task", first, proposed("COMPLETED", cache_key="key", data={"type": "reference"})))
    desk.clock.move(seconds=1)
    answers.append(desk.propose("task", third, proposed("RUNNING", cache_key="key")))
    answers.append(desk.propose("task", second, proposed("RUNNING", cache_key="other")))
    assert [answer.status for answer in answers] == ["ACCEPT", "WAIT", "ACCEPT", "REJECT", "ACCEPT"]
    desk.ask(DeleteFlowRun(caller=CALLER, id=flow_run))
    for task in tasks:
        life = told(conninfo, task, "--check")
        again = [event["decided_again"] for event in life["events"] if "decided_again" in event]
        assert again
        assert not any(one["differs"] or one["unknown"] for one in again)


def test_what_cannot_be_decided_again_says_why(conninfo: str, desk: Desk) -> None:
    id = desk.flow_run(state=proposed("RUNNING"))
    desk.propose("flow", id, proposed("PAUSED", run_input_keyset={"schema": "s", "response": "r"}))
    desk.ask(ResumeFlowRun(caller=CALLER, id=id, state_id=new_id(), run_input={}))
    result = replay(conninfo, id, "--check", width=200)
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    assert "cannot be decided again: the input that was given is not recorded" in words
    assert "2 proposals decided again: 1 as then, 0 otherwise, 1 cannot be told." in words


def test_resuming_what_is_not_paused_is_refused_again(conninfo: str, desk: Desk) -> None:
    id = desk.flow_run(state=proposed("RUNNING"))
    desk.ask(ResumeFlowRun(caller=CALLER, id=id, state_id=new_id(), run_input={}))
    assert "1 proposal decided again: 1 as then, 0 otherwise." in replay(conninfo, id, "--check").stdout


def test_what_is_no_run_is_said_in_one_sentence(conninfo: str, desk: Desk) -> None:
    for id in (desk.flow_id, uuid4()):
        result = replay(conninfo, id)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"There is no flow run or task run with the id {id}.\n"


def test_a_place_without_a_ledger_is_said_and_nothing_made_there(tmp_path: Path, empty_database: str) -> None:
    place = tmp_path / "nothing"
    result = CliRunner().invoke(app, ["replay-run", str(uuid4()), "--data-dir", str(place)])
    assert (result.exit_code, result.stderr) == (1, f"There is no ledger in {place}.\n")
    assert not place.exists()
    assert replay(empty_database, uuid4()).exit_code == 1


def test_it_works_beside_a_server_and_without_one(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    command = [sys.executable, "-m", "scripts.cli", "replay-run", "--data-dir", str(data_dir), "--json", "--check"]

    def life(id: str) -> Any:
        done = subprocess.run([*command, id], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    with serving(tmp_path / "log", data_dir=data_dir) as server, server.client() as client:
        id = made_and_deleted(client)
        beside = life(id)
        assert server.stop() == 0
    assert beside["deleted"] is True
    assert [event["topic"] for event in beside["events"]][-1] == "FlowRun.Deleted"
    assert life(id) == beside


def made_and_deleted(client: httpx.Client) -> str:
    flow = client.post("flows/", json={"name": "replayed"}).json()["id"]
    id: str = client.post("flow_runs/", json={"flow_id": flow}).json()["id"]
    for type in ("RUNNING", "COMPLETED"):
        client.post(f"flow_runs/{id}/set_state", json={"state": {"type": type}})
    client.delete(f"flow_runs/{id}")
    return id
