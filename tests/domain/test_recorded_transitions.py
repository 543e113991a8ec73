"""The rules of each dialect give the verdicts that were recorded against its server, and the same run afterwards.

The entries are single steps: a run is forced into a state, then one other state is proposed for it.
"""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from domain.commands.command import ProposedState
from domain.commands.flow_runs import UpdateFlowRun
from domain.flow_run import FlowRun, FlowRunChanges
from domain.task_run import TaskRun
from tests.domain.conftest import CALLER, Clock, Desk, proposed

DATA = Path(__file__).parents[1] / "data"
SERVERS = {"orion": "2.7.12", "prefect-2": "2.20.25", "prefect-3": "3.9.1"}


@pytest.mark.parametrize("dialect", SERVERS)
def test_every_recorded_transition_has_the_recorded_outcome(desk: Desk, dialect: str) -> None:
    entries = json.loads((DATA / f"transitions_{SERVERS[dialect]}_without_deployment.json").read_text())
    desk.dialect = dialect
    parent = desk.flow_run()
    desk.propose("flow", parent, proposed("RUNNING"), force=True)
    wrong = [f"{_title(entry)}: {difference}" for entry in entries for difference in differences(desk, parent, entry)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("ended", ["FAILED", "CRASHED", "CANCELLED"])
def test_a_task_run_of_orion_that_ended_runs_again_only_in_a_next_attempt_of_its_flow_run(
    desk: Desk, ended: str
) -> None:
    desk.dialect = "orion"
    flow_run = desk.flow_run()
    desk.propose("flow", flow_run, proposed("RUNNING"), force=True)
    task_run = desk.task_run(flow_run)
    for type in ("RUNNING", ended):
        assert desk.propose("task", task_run, proposed(type)).status == "ACCEPT"

    refused = desk.propose("task", task_run, proposed("RUNNING"))
    assert (refused.status, refused.details["reason"]) == ("ABORT", "This run has already terminated.")

    desk.propose("flow", flow_run, proposed("RUNNING"), force=True)
    again = desk.propose("task", task_run, proposed("RUNNING"))
    assert again.state is not None
    assert (again.status, again.state.name, desk.run(task_run).run_count) == ("ACCEPT", "Retrying", 1)


def _title(entry: dict[str, Any]) -> str:
    forced = " by force" if entry["force"] else ""
    steps = f"{entry['initial_name']} to {entry['proposed_name']}"
    return f"{entry['variant']}, {entry['run_kind']} run, {steps}{forced}"


def differences(desk: Desk, parent: UUID, entry: dict[str, Any]) -> list[str]:
    """How what happens differs from what was recorded; nothing where it does not."""
    kind = entry["run_kind"]
    id = _run(desk, parent, entry)
    before = desk.run(id).state
    assert before is not None
    assert (before.type, before.name) == (entry["initial_type_read"], entry["initial_name"])

    result = desk.propose(kind, id, _usual(desk.clock, entry["proposed"], entry["proposed_name"]), entry["force"])

    run, state = desk.run(id), result.state
    assert run.state is not None
    assert state is not None
    read_back = {
        "type": run.state.type,
        "name": run.state.name,
        "run_count": run.run_count,
        "start_time": run.start_time is not None,
        "end_time": run.end_time is not None,
        "next_scheduled_start_time": run.next_scheduled_start_time is not None,
        "expected_start_time": run.expected_start_time is not None,
        "state_changed": run.state.id != before.id,
        "flow_run_run_count": run.flow_run_run_count if isinstance(run, TaskRun) else None,
        "empirical_policy": _policy(run) if isinstance(run, FlowRun) else None,
    }
    if desk.dialect != "prefect-3" and entry["read_back"]["run_count"] == 0:
        # Servers 2.x leave these empty where a run ends that never ran: bookkeeping is one for all dialects.
        for times in (read_back, entry["read_back"]):
            times.pop("start_time", None), times.pop("end_time", None)
    details = {**result.details, **({"delay_seconds": "~3600"} if result.details.get("delay_seconds") == 3600 else {})}
    pairs = [
        ("status", result.status, entry["status"]),
        ("written", result.wrote, entry["http_status"] == 201),
        ("state", (state.type, state.name), (entry["resulting_type"], entry["resulting_name"])),
        ("message", _generic(state.message), entry["resulting_message"]),
        ("details", _generic_details(details), entry["details"]),
        (
            "scheduled",
            state.state_details.scheduled_time is not None,
            "scheduled_time" in entry["response_state_details"],
        ),
        ("read back", read_back, entry["read_back"]),
    ]
    return [f"{what}: {is_} instead of {should}" for what, is_, should in pairs if is_ != should]


def _run(desk: Desk, parent: UUID, entry: dict[str, Any]) -> UUID:
    """A run brought into the state from which the entry starts."""
    kind, initial = entry["run_kind"], entry["initial_type_read"]
    if kind == "flow":
        id = desk.flow_run()
    elif entry["variant"] == "parent-flow-state":
        id = desk.task_run(_flow_run_in_state(desk, entry))
    else:
        id = desk.task_run(None if entry["variant"] == "core-no-flow-run" else parent)
    if entry["variant"] == "infrastructure-pid-to-cancelling":
        desk.ask(UpdateFlowRun(caller=CALLER, id=id, changes=FlowRunChanges(infrastructure_pid="host:123")))
    if entry["initial_given"] and (initial, entry["initial_name"]) != ("PENDING", "Pending"):
        details: dict[str, Any] = {"data": entry["initial_data"]}
        if "future" in entry["variant"]:
            details["scheduled_time"] = desk.clock() + timedelta(hours=1)
        if initial == "PAUSED":
            details.update(_pause(desk.clock, entry["variant"]))
        state = _usual(desk.clock, initial, entry["initial_name"], **details)
        assert desk.propose(kind, id, state, force=True).status == "ACCEPT"
    return id


def _flow_run_in_state(desk: Desk, entry: dict[str, Any]) -> UUID:
    id = desk.flow_run()
    if entry["flow_run_state_name"] != "as-created":
        state = _usual(desk.clock, entry["flow_run_state"], entry["flow_run_state_name"])
        desk.propose("flow", id, state, force=True)
    return id


def _usual(clock: Clock, type: str, name: str, **details: Any) -> ProposedState:
    """A state as the recordings propose it: scheduled for a minute ago, paused for an hour."""
    if type == "SCHEDULED":
        details.setdefault("scheduled_time", clock() - timedelta(minutes=1))
    if type == "PAUSED":
        details.setdefault("pause_timeout", clock() + timedelta(hours=1))
    return proposed(type, name, **details)


def _pause(clock: Clock, variant: str) -> dict[str, Any]:
    """The details of the pause from which an entry starts, where they are not the usual ones."""
    details: dict[str, Any] = {}
    if "expired" in variant:
        details["pause_timeout"] = clock() - timedelta(minutes=5)
    if "no-timeout" in variant:
        details["pause_timeout"] = None
    if variant.startswith("suspended"):
        details["pause_reschedule"] = True
    return details


def _policy(run: FlowRun) -> dict[str, Any]:
    policy = run.empirical_policy
    told = {"retries": policy.retries, "retry_delay": policy.retry_delay, "retry_type": policy.retry_type}
    present = {field: value for field, value in told.items() if value is not None}
    return {**present, "resuming": policy.resuming, "n_pause_keys": len(policy.pause_keys)}


def _generic(text: str | None) -> str | None:
    """A text with the ids in it replaced, as in the recordings."""
    if text is None:
        return None
    words = (word.rstrip(".") for word in text.split(" "))
    for word in words:
        if len(word) == 36 and word.count("-") == 4:
            text = text.replace(word, "<uuid>")
    return text


def _generic_details(details: dict[str, Any]) -> dict[str, Any]:
    return {key: _generic(value) if isinstance(value, str) else value for key, value in details.items()}
