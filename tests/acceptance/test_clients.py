"""Unmodified clients run their flows on the service, and the event store holds what happened.

The scripts are recorded test material: each checks through its own client that the final states are right.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from api.embedded_postgres import EmbeddedPostgres
from tests.checks import check_ledger
from tests.support.client_environments import CLIENT_2, CLIENT_2_7, CLIENT_3, client_python
from tests.support.server_process import serving
from tests.support.stored_events import Stored, of_run, read_events, state_names

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SCENARIOS = Path(__file__).parents[1] / "data" / "scenarios"
ORION = 27
"""The client of 2.7, which does not say so in its user agent."""

OF_ALL = (
    "a0_engine_only",
    "a_hello",
    "b_retries",
    "c_subflow",
    "d_map",
    "e_fail_crash",
    "f_cache",
    "g_tag_concurrency",
)
OF_BOTH = (*OF_ALL, "h_pause", "i_cancel", "j_serve", "k_worker", "o_inputs", "r_nested")
OF_CLIENT = {2: OF_BOTH, 3: (*OF_BOTH, "q_background")}
SCRIPTS = {**OF_CLIENT, ORION: (*OF_ALL, "h_pause", "j_agent")}
REQUIREMENTS = {2: CLIENT_2, 3: CLIENT_3, ORION: CLIENT_2_7}
ALL = [(client, scenario) for client, scenarios in SCRIPTS.items() for scenario in scenarios]
LIFE = ["Pending", "Running", "Completed"]


@dataclass
class Played:
    """What came of all scripts: output and exit code by client and script, and all events at the end."""

    outputs: dict[tuple[int, str], "subprocess.CompletedProcess[str]"] = field(default_factory=dict)
    events: list[Stored] = field(default_factory=list)

    def flow_runs(self, client: int, flow: str) -> list[Stored]:
        """The creations of flow runs of one flow by one client, in order."""
        flows = {e.id for e in self.events if e.topic == "Flow.Created" and e.facts["name"] == flow}
        made = (e for e in self.events if e.topic == "FlowRun.Created" and UUID(e.facts["flow_id"]) in flows)
        return [event for event in made if event.facts["actor"].startswith(f"prefect/{client}.")]

    def task_runs(self, flow_run: Stored) -> list[Stored]:
        """The creations of the task runs of one flow run."""
        made = (event for event in self.events if event.topic == "TaskRun.Created")
        return [event for event in made if event.facts.get("flow_run_id") == str(flow_run.id)]

    def of(self, creation: Stored) -> list[Stored]:
        """The history of a run."""
        return of_run(self.events, creation.id)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """Run all scripts, those of one client one after the other, on one server with an embedded PostgreSQL."""
    folder = tmp_path_factory.mktemp("clients")
    # 2.20 serves only what lies below the directory it is started in.
    scripts = shutil.copytree(SCENARIOS, folder / "scripts")
    played = Played()
    # Pauses that time out are ended by the rule that the client meets, not by the service that looks for them.
    late = {"pause_expiry_interval_seconds": 3600}
    with serving(folder / "server.log", data_dir=folder / "data", **late) as server:

        def run_all(client: int) -> None:
            for scenario in SCRIPTS[client]:
                played.outputs[client, scenario] = run_script(client, scripts / f"{scenario}.py", server.api)

        with ThreadPoolExecutor() as clients:
            list(clients.map(run_all, SCRIPTS))
        conninfo = EmbeddedPostgres(folder / "data").conninfo
        played.events = read_events(conninfo)
        check_ledger(conninfo)
    yield played


def run_script(client: int, script: Path, api: str) -> "subprocess.CompletedProcess[str]":
    """Run a script in the environment of its client, which is told nothing but where the API is."""
    home = script.parent / f"home{client}"
    home.mkdir(exist_ok=True)
    settings = {"PATH": os.environ["PATH"], "HOME": str(home), "PREFECT_HOME": str(home), "PREFECT_API_URL": api}
    command = [str(client_python(REQUIREMENTS[client])), str(script)]
    return subprocess.run(command, cwd=script.parent, env=settings, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(("client", "scenario"), ALL)
def test_an_unmodified_client_runs_its_flows(played: Played, client: int, scenario: str) -> None:
    output = played.outputs[client, scenario]
    assert output.returncode == 0, output.stdout + output.stderr
    assert not re.search("may be lost|Unable to connect|incompatible|Unexpected error|Error sending", output.stderr)


@pytest.mark.parametrize("client", OF_CLIENT)
def test_the_ledger_holds_the_life_of_a_flow_run_and_of_its_task_runs(played: Played, client: int) -> None:
    (creation,) = played.flow_runs(client, "a-hello")
    assert re.match(rf"prefect/{client}\.\d+\.\d+", creation.facts["actor"])
    assert creation.facts["parameters"] == {"name": "marvin"}
    history = played.of(creation)
    assert state_names(history) == LIFE
    assert {event.facts["actor"] for event in history} == {creation.facts["actor"]}
    task_runs = played.task_runs(creation)
    assert len(task_runs) == 3
    assert all(state_names(played.of(task_run)) == LIFE for task_run in task_runs)
    (tagged,) = (task_run for task_run in task_runs if task_run.facts["tags"] == ["final"])
    upstream = {
        one["id"]
        for inputs in tagged.facts["task_inputs"].values()
        for one in inputs
        if one["input_type"] == "task_run"
    }
    assert upstream == {str(task_run.id) for task_run in task_runs if task_run is not tagged}


@pytest.mark.parametrize("client", OF_CLIENT)
def test_the_ledger_shows_the_states_of_subflows_on_the_task_runs_that_stand_for_them(
    played: Played, client: int
) -> None:
    (parent,) = played.flow_runs(client, "c-parent")
    children = {str(child.id): child for child in played.flow_runs(client, "c-child")}
    stand_ins = played.task_runs(parent)
    assert len(children) == len(stand_ins) == 2
    for stand_in in stand_ins:
        mirrored = [event for event in played.of(stand_in) if "mirrored_from" in event.facts]
        (child_id,) = {event.facts["mirrored_from"] for event in mirrored}
        assert {event.facts["state"]["state_details"]["child_flow_run_id"] for event in mirrored} == {child_id}
        assert state_names(mirrored) == state_names(played.of(children[child_id]))
        assert UUID(children.pop(child_id).facts["parent_task_run_id"]) == stand_in.id


@pytest.mark.parametrize("client", OF_CLIENT)
def test_the_ledger_holds_every_run_of_a_mapped_task(played: Played, client: int) -> None:
    (creation,) = played.flow_runs(client, "d-map")
    task_runs = played.task_runs(creation)
    assert len(task_runs) == 11
    assert len({(run.facts["task_key"], run.facts["dynamic_key"]) for run in task_runs}) == 11
    assert all(state_names(played.of(task_run)) == LIFE for task_run in task_runs)


def test_the_ledger_holds_the_retries_of_a_flow_and_the_failure_that_caused_them(played: Played) -> None:
    (creation,) = played.flow_runs(3, "b-flow-retries")
    history = played.of(creation)
    assert state_names(history) == ["Pending", "Running", "AwaitingRetry", "Running", "Completed"]
    (retry,) = (event for event in history if event.topic == "FlowRun.StateSet" and "rule" in event.facts)
    assert retry.facts["proposed"]["type"] == "FAILED"
    assert "first flow attempt fails" in retry.facts["proposed"]["message"]


def test_the_ledger_holds_the_retries_of_a_task_that_its_client_reported(played: Played) -> None:
    (creation,) = played.flow_runs(3, "b-task-retries")
    (task_run,) = played.task_runs(creation)
    attempts = ["AwaitingRetry", "Retrying"] * 2
    assert state_names(played.of(task_run)) == ["Pending", "Running", *attempts, "Completed"]


@pytest.mark.parametrize("client", OF_CLIENT)
def test_the_ledger_holds_a_pause_who_ended_it_and_that_another_was_never_ended(played: Played, client: int) -> None:
    resumed, timed_out = map(played.of, played.flow_runs(client, "h-pause"))
    assert state_names(resumed) == ["Pending", "Running", "Paused", "Running", "Completed"]
    assert state_names(timed_out) == ["Pending", "Running", "Paused", "Failed"]
    (failure,) = (event for event in timed_out if event.topic == "FlowRun.StateSet" and "rule" in event.facts)
    assert failure.facts["rule"].startswith("LeavePause")


@pytest.mark.parametrize("client", OF_CLIENT)
def test_the_ledger_holds_what_a_paused_flow_asked_and_what_it_was_answered(played: Played, client: int) -> None:
    (creation,) = played.flow_runs(client, "o-pause-input")
    written = {e.facts["key"]: e.facts["value"] for e in played.of(creation) if e.topic == "FlowRun.InputWritten"}
    assert written["paused-1-response"] == '{"n":5,"name":"y"}'
    assert written["paused-2-response"] == "{}"
    assert written["paused-2-description"] == '"again"'


@pytest.mark.parametrize("client", OF_CLIENT)
def test_the_ledger_holds_who_planned_a_run_and_who_ran_it(played: Played, client: int) -> None:
    planned = [run for run in played.events if run.topic == "FlowRun.Created" and "schedule_id" in run.facts]
    assert {run.facts["actor"] for run in planned} == {"flowledger/scheduler"}
    run_by = [
        event
        for run in planned
        for event in played.of(run)
        if event.topic == "FlowRun.StateSet" and event.facts["actor"].startswith(f"prefect/{client}.")
    ]
    assert {"Pending", "Running", "Completed"} <= set(state_names(run_by))
    # What was planned and deleted again, because its schedule was paused, may have been planned anew.
    deleted = {event.id for event in played.events if event.topic == "FlowRun.Deleted"}
    times = [run.facts["idempotency_key"] for run in planned if run.id not in deleted]
    assert len(set(times)) == len(times)
