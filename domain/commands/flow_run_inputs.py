"""What may be asked of the inputs of flow runs, and of those flow runs that are paused to wait for one."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from pydantic_core import from_json, to_json

from domain.commands.command import CommandOnOne, OrchestrationResult, ProposedState
from domain.commands.flow_runs import propose
from domain.commands.proposals import answer, refuse
from domain.errors import InputKeyTaken, InputNotFound
from domain.flow_run import (
    INPUT_KEY,
    FlowRun,
    FlowRunInputDeleted,
    FlowRunInputWritten,
    FlowRunTransitionRefused,
)
from domain.json_schema import UnusableSchema, misfit
from domain.orchestration.policy import Ruling
from domain.orchestration.rule import Abort, Reject, Verdict
from domain.session import Session
from domain.states import StateDetails, StateType

RESUME_ONLY_PAUSED = "ResumeOnlyPaused"
RESUME_WITH_FITTING_INPUT = "ResumeWithFittingInput"
"""What refusals name as their rule that are given before any policy is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFlowRunInput(CommandOnOne):
    """Give a flow run something to read under a key. Raises InputKeyTaken where it has something there already."""

    input_id: UUID
    key: str
    value: str
    sender: str | None

    def decide(self, session: Session) -> None:
        run = session.get(FlowRun, self.id)
        _write(session, run, self.input_id, self.key, self.value, self.sender)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteFlowRunInput(CommandOnOne):
    """Take an input of a flow run away. Raises InputNotFound, also where there is no such flow run."""

    key: str

    def decide(self, session: Session) -> None:
        run = session.find(FlowRun, self.id)
        if run is None or self.key not in run.inputs:
            raise InputNotFound(self.id, self.key)
        session.record(run, FlowRunInputDeleted, key=self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeFlowRun(CommandOnOne):
    """Let a paused flow run go on, with the input that it waits for.

    A pause is left for RUNNING, a suspension for SCHEDULED as of now, where the rules accept it. Where the pause names
    keys for an input, that is stored as compact JSON under the key named `response`, provided that it fits the schema
    under the key named `schema`; no input is an empty one. `state_id` is the id of the proposed state. Raises
    InputKeyTaken.
    Source: the routes of servers 2.20.25 and 3.9.1.
    """

    state_id: UUID
    run_input: dict[str, Any] | None

    def decide(self, session: Session) -> OrchestrationResult:
        run = session.get(FlowRun, self.id)
        paused = run.state
        if paused is None or paused.type is not StateType.PAUSED:
            verdict = Abort("Cannot resume a flow run that is not paused.")
            self._refuse(session, run, RESUME_ONLY_PAUSED, verdict, suspended=False)
            return answer(Ruling(verdict, None, None, {}), None, None)
        suspended, keyset = paused.state_details.pause_reschedule, paused.state_details.run_input_keyset
        if not keyset:
            return propose(session, run, self._proposed(suspended))
        run_input = self.run_input or {}
        reason = _problem(run, keyset, run_input)
        if reason is not None:
            ruling = self._refuse(session, run, RESUME_WITH_FITTING_INPUT, Reject(reason), suspended=suspended)
            return answer(ruling, None, paused)
        result = propose(session, run, self._proposed(suspended))
        if result.status == "ACCEPT":
            value = to_json(run_input).decode()
            _write(session, run, uuid5(self.state_id, "input"), keyset["response"], value, None)
        return result

    def _proposed(self, suspended: bool) -> ProposedState:
        type, name = (StateType.SCHEDULED, "Resuming") if suspended else (StateType.RUNNING, None)
        return ProposedState(self.state_id, type, name, details=StateDetails(deferred=False))

    def _refuse(self, session: Session, run: FlowRun, rule: str, verdict: Verdict, *, suspended: bool) -> Ruling:
        ruling = Ruling(verdict, rule, None, {})
        proposed = self._proposed(suspended)
        state = proposed.at(session.now, flow_run_id=run.id, task_run_id=run.parent_task_run_id)
        refuse(session, run, FlowRunTransitionRefused, state, ruling)
        return ruling


def _write(session: Session, run: FlowRun, id: UUID, key: str, value: str, sender: str | None) -> None:
    if key in run.inputs:
        raise InputKeyTaken(run.id, key)
    session.record(run, FlowRunInputWritten, id=id, key=key, value=value, sender=sender)


def _problem(run: FlowRun, keyset: dict[str, str], run_input: dict[str, Any]) -> str | None:
    """Why a flow run cannot be resumed with this input, in the words of server 3.9.1; None where it can."""
    written = run.inputs.get(keyset.get("schema", ""))
    if written is None:
        return "Run input schema not found."
    if not re.fullmatch(INPUT_KEY, keyset.get("response", "")):
        return "The pause names no key for its input."
    try:
        schema = from_json(written.value)
    except ValueError:
        return "Run input schema is not valid JSON."
    try:
        wrong = misfit(run_input, schema)
    except UnusableSchema as unusable:
        return f"Invalid schema: {unusable}"
    return None if wrong is None else f"Reason: {wrong}"
