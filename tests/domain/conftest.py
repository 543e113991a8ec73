"""A ledger on a fresh database, and short ways to ask it for things."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from domain.commands.command import Answer, Caller, Command, Made, OrchestrationResult, ProposedState
from domain.commands.flow_runs import CreateFlowRun, SetFlowRunState
from domain.commands.flows import CreateFlow
from domain.commands.task_runs import CreateTaskRun, SetTaskRunState
from domain.flow_run import FlowRunFacts
from domain.ids import new_id
from domain.ledger import Ledger
from domain.run import Run
from domain.run_policy import FlowRunPolicy, TaskRunPolicy
from domain.states import StateDetails, StateType
from domain.task_run import TaskRunFacts
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder

CALLER = Caller("a test", "prefect-3", "request-1")


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def move(self, **by: float) -> None:
        self.time += timedelta(**by)


class Desk:
    """A ledger and a caller who asks one thing after the other."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self.ledger = ledger
        self.clock = clock
        self.dialect = CALLER.dialect
        self.flow_id = self.flow("a-flow")

    def ask(self, command: Command) -> Answer:
        outcome = self.ledger.execute(lambda: [command])[0]
        if outcome.error is not None:
            raise outcome.error
        return outcome.answer

    def make(self, command: Command) -> UUID:
        answer = self.ask(command)
        assert isinstance(answer, Made)
        return answer.id

    def flow(self, name: str) -> UUID:
        return self.make(CreateFlow(caller=CALLER, id=new_id(), name=name, tags=[], labels={}))

    def flow_run(self, **facts: Any) -> UUID:
        return self.make(create_flow_run(self.flow_id, **facts))

    def task_run(self, flow_run_id: UUID | None, policy: TaskRunPolicy | None = None, **facts: Any) -> UUID:
        return self.make(create_task_run(flow_run_id, policy, **facts))

    def propose(self, kind: str, id: UUID, state: ProposedState, force: bool = False) -> OrchestrationResult:
        command = SetFlowRunState if kind == "flow" else SetTaskRunState
        caller = replace(CALLER, dialect=self.dialect)
        answer = self.ask(command(caller=caller, id=id, state=state, force=force))
        assert isinstance(answer, OrchestrationResult)
        return answer

    def run(self, id: UUID) -> Run:
        run = self.ledger.cached(id)
        assert isinstance(run, Run)
        return run


def proposed(type: str, name: str | None = None, **details: Any) -> ProposedState:
    message, data = details.pop("message", None), details.pop("data", None)
    return ProposedState(new_id(), StateType(type), name, message, data, StateDetails(**details))


def create_flow_run(flow_id: UUID, **facts: Any) -> CreateFlowRun:
    usual: dict[str, Any] = {
        "name": "a-run",
        "parameters": {},
        "context": {},
        "tags": [],
        "labels": {},
        "empirical_policy": FlowRunPolicy(),
    }
    state = facts.pop("state", proposed("PENDING"))
    given = FlowRunFacts(flow_id=flow_id, **{**usual, **facts})
    return CreateFlowRun(caller=CALLER, id=new_id(), facts=given, state=state)


def create_task_run(flow_run_id: UUID | None, policy: TaskRunPolicy | None = None, **facts: Any) -> CreateTaskRun:
    key = facts.pop("dynamic_key", None) or new_id().hex
    task = TaskRunFacts(
        flow_run_id=flow_run_id,
        name="a-task-run",
        task_key="a-task",
        dynamic_key=key,
        tags=[],
        labels={},
        task_inputs={},
        empirical_policy=policy or TaskRunPolicy(),
    )
    chosen = facts.pop("id", None)
    state = facts.pop("state", proposed("PENDING"))
    return CreateTaskRun(caller=CALLER, id=chosen or new_id(), chosen_id=chosen is not None, facts=task, state=state)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(conninfo: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=clock) as ledger:
        yield ledger


@pytest.fixture
def desk(ledger: Ledger, clock: Clock) -> Desk:
    return Desk(ledger, clock)
