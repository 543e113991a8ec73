"""Paused flow runs: each pause fires once, resuming has one effect, and an input gets in only where it fits."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.commands.command import OrchestrationResult
from domain.commands.flow_run_inputs import DeleteFlowRunInput, ResumeFlowRun, WriteFlowRunInput
from domain.errors import InputKeyTaken, InputNotFound, NotFound
from domain.flow_run import FlowRun
from domain.ids import new_id
from domain.states import StateType
from tests.domain.conftest import CALLER, Desk, proposed

DIALECTS = ("orion", "prefect-2", "prefect-3")
KEYSET = {"description": "p-description", "response": "p-response", "schema": "p-schema"}
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "name": {"type": "string", "default": "x"}},
    "required": ["n"],
    "additionalProperties": False,
}


def resume(desk: Desk, id: UUID, run_input: dict[str, Any] | None = None) -> OrchestrationResult:
    caller = replace(CALLER, dialect=desk.dialect)
    answer = desk.ask(ResumeFlowRun(caller=caller, id=id, state_id=new_id(), run_input=run_input))
    assert isinstance(answer, OrchestrationResult)
    return answer


def write(desk: Desk, id: UUID, key: str, value: str) -> None:
    desk.ask(WriteFlowRunInput(caller=CALLER, id=id, input_id=new_id(), key=key, value=value, sender=None))


def running(desk: Desk) -> UUID:
    id = desk.flow_run()
    desk.propose("flow", id, proposed("RUNNING"), force=True)
    return id


def paused(desk: Desk, **details: Any) -> UUID:
    id = running(desk)
    desk.propose("flow", id, proposed("PAUSED", **details), force=True)
    return id


def run_of(desk: Desk, id: UUID) -> FlowRun:
    run = desk.run(id)
    assert isinstance(run, FlowRun)
    return run


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("type", sorted(set(StateType) - {StateType.PAUSED}))
def test_a_run_that_is_not_paused_cannot_be_resumed(desk: Desk, dialect: str, type: StateType) -> None:
    desk.dialect = dialect
    id = desk.flow_run(state=proposed(type))
    before = desk.run(id).state
    result = resume(desk, id)
    assert (result.status, result.state, result.wrote) == ("ABORT", None, False)
    assert result.details == {"type": "abort_details", "reason": "Cannot resume a flow run that is not paused."}
    assert desk.run(id).state == before


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_paused_run_is_resumed_once_and_then_is_paused_no_more(desk: Desk, dialect: str) -> None:
    desk.dialect = dialect
    id = paused(desk)
    first = resume(desk, id)
    entered = desk.run(id).state
    assert (first.status, first.state, first.wrote) == ("ACCEPT", entered, True)
    assert entered is not None
    assert (entered.type, entered.name, entered.timestamp) == ("RUNNING", "Running", desk.clock())
    assert resume(desk, id).status == "ABORT"
    assert desk.run(id).state == entered


def test_a_pause_that_timed_out_ends_in_failure_and_takes_no_input(desk: Desk) -> None:
    id = paused(desk, pause_timeout=desk.clock(), run_input_keyset=KEYSET)
    write(desk, id, "p-schema", json.dumps(SCHEMA))
    desk.clock.move(seconds=1)
    result = resume(desk, id, {"n": 1})
    assert result.state is not None
    assert (result.status, result.state.type, result.wrote) == ("REJECT", "FAILED", True)
    assert "p-response" not in run_of(desk, id).inputs


def test_a_suspended_run_is_proposed_to_be_scheduled_as_of_now(desk: Desk) -> None:
    id = paused(desk, pause_reschedule=True)
    result = resume(desk, id)
    assert result.details["reason"] == "Cannot reschedule a scheduled flow run without a deployment."
    refusal = desk.run(id).last_refusal
    assert refusal is not None
    assert (refusal.proposed.type, refusal.proposed.name) == ("SCHEDULED", "Resuming")
    assert refusal.proposed.state_details.scheduled_time == desk.clock()


def test_an_input_that_fits_is_stored_with_the_transition_as_compact_json(desk: Desk) -> None:
    id = paused(desk, run_input_keyset=KEYSET)
    write(desk, id, "p-schema", json.dumps(SCHEMA))
    assert resume(desk, id, {"n": 5, "name": "\u00e9"}).status == "ACCEPT"
    assert run_of(desk, id).inputs["p-response"].value == '{"n":5,"name":"\u00e9"}'


@pytest.mark.parametrize(
    ("schema", "run_input", "reason"),
    [
        (None, {"n": 1}, "Run input schema not found."),
        ("{", {"n": 1}, "Run input schema is not valid JSON."),
        (SCHEMA, {"n": "x"}, "Reason: Validation failed for field 'n'. Failure reason: 'x' is not of type 'integer'"),
        (SCHEMA, {}, "Reason: Validation failed. Failure reason: 'n' is a required property"),
        (SCHEMA, None, "Reason: Validation failed. Failure reason: 'n' is a required property"),
        ({"$ref": "#"}, {}, "Invalid schema: Unable to validate schema with circular references."),
        ({"type": "shoe"}, {}, "Invalid schema: 'shoe' is not valid under any of the given schemas"),
    ],
)
def test_an_input_that_does_not_fit_leaves_the_run_paused_and_is_on_record(
    desk: Desk, schema: Any, run_input: dict[str, Any] | None, reason: str
) -> None:
    id = paused(desk, run_input_keyset=KEYSET)
    if schema is not None:
        write(desk, id, "p-schema", schema if isinstance(schema, str) else json.dumps(schema))
    before = desk.run(id).state
    result = resume(desk, id, run_input)
    assert (result.status, result.state, result.details["reason"]) == ("REJECT", before, reason)
    assert desk.run(id).state == before
    refusal = desk.run(id).last_refusal
    assert refusal is not None
    assert (refusal.rule, refusal.reason) == ("ResumeWithFittingInput", reason)
    assert "p-response" not in run_of(desk, id).inputs


@pytest.mark.parametrize("keyset", [{"schema": "p-schema"}, {"schema": "p-schema", "response": "a/b"}])
def test_a_pause_that_names_no_usable_key_is_not_left_with_an_input(desk: Desk, keyset: dict[str, str]) -> None:
    id = paused(desk, run_input_keyset=keyset)
    write(desk, id, "p-schema", "{}")
    assert resume(desk, id, {}).details["reason"] == "The pause names no key for its input."


def test_an_answer_that_is_there_already_keeps_the_run_paused(desk: Desk) -> None:
    id = paused(desk, run_input_keyset=KEYSET)
    write(desk, id, "p-schema", json.dumps(SCHEMA))
    write(desk, id, "p-response", "old")
    with pytest.raises(InputKeyTaken):
        resume(desk, id, {"n": 1})
    assert desk.run(id).state.type == "PAUSED"  # type: ignore[union-attr]
    desk.ask(DeleteFlowRunInput(caller=CALLER, id=id, key="p-response"))
    assert resume(desk, id, {"n": 1}).status == "ACCEPT"


def test_an_input_needs_a_run_and_a_deletion_an_input(desk: Desk) -> None:
    with pytest.raises(NotFound):
        write(desk, new_id(), "k", "v")
    with pytest.raises(NotFound):
        resume(desk, new_id())
    for id in (new_id(), desk.flow_run()):
        with pytest.raises(InputNotFound):
            desk.ask(DeleteFlowRunInput(caller=CALLER, id=id, key="k"))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("pause"), st.sampled_from([None, "a", "b"])),
        st.tuples(st.just("resume"), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dialect=st.sampled_from(DIALECTS), course=steps)
def test_a_key_pauses_a_run_at_most_once_and_each_pause_is_left_at_most_once(
    desk: Desk, dialect: str, course: list[tuple[str, str | None]]
) -> None:
    desk.dialect = dialect
    id = running(desk)
    fired: list[str | None] = []
    left = 0
    for step, key in course:
        if step == "pause":
            if desk.propose("flow", id, proposed("PAUSED", pause_key=key)).status == "ACCEPT":
                fired.append(key)
        elif resume(desk, id).status == "ACCEPT":
            left += 1
        state = desk.run(id).state
        assert state is not None
        assert (state.type == "PAUSED") == (len(fired) == left + 1)
        assert left <= len(fired)
    assert len(set(fired)) == len(fired)
    # Recorded servers count the first pause that is left as an attempt, and take the run to be resuming from then on.
    assert desk.run(id).run_count == 1 + min(left, 1)
