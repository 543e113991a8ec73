"""What deciding about a transition costs by itself: rules, fold and event, without any I/O."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median, quantiles
from uuid import UUID

from domain.aggregate import Aggregate
from domain.commands.command import Caller, Command, ProposedState
from domain.commands.flow_runs import CreateFlowRun, SetFlowRunState
from domain.commands.flows import CreateFlow
from domain.commands.task_runs import CreateTaskRun, SetTaskRunState
from domain.events import EventMapper
from domain.flow_run import FlowRunFacts
from domain.ids import new_id
from domain.keys import Key
from domain.orchestration.policies import DIALECTS
from domain.run_policy import FlowRunPolicy
from domain.session import Session
from domain.states import State, StateType
from domain.task_run import TaskRunFacts

STEPS = (StateType.PENDING, StateType.RUNNING, StateType.COMPLETED)


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time per transition in microseconds: the median, and the first and last tenth."""

    dialect: str
    kind: str
    transitions: int
    middle: float
    low: float
    high: float


@dataclass
class Memory:
    """Aggregates in memory, as a session sees them."""

    aggregates: dict[UUID, Aggregate] = field(default_factory=dict)

    def load(self, id: UUID) -> Aggregate | None:
        return self.aggregates.get(id)

    def id_of(self, key: Key) -> UUID | None:
        return None

    def ids_under(self, beginning: Key, limit: int) -> Mapping[Key, UUID]:
        return {}

    def prefetch(self, ids: Iterable[UUID]) -> None:
        """All there is is here."""

    def cached_state(self, cache_key: str, at: datetime) -> State | None:
        return None


def costs_of_deciding(runs: int) -> list[Cost]:
    """The cost of the plain life of so many runs of each kind, in every dialect."""
    return [_cost(dialect, kind, runs) for dialect in DIALECTS for kind in ("flow run", "task run")]


def _cost(dialect: str, kind: str, runs: int) -> Cost:
    memory, caller = Memory(), Caller("benchmark", dialect)
    flow_id, parent, facts = new_id(), new_id(), {"name": "a-run", "tags": [], "labels": {}}
    _decide(memory, CreateFlow(caller=caller, id=flow_id, name="a-flow", tags=[], labels={}))
    policy = FlowRunPolicy()
    flow_run = FlowRunFacts(flow_id=flow_id, parameters={}, context={}, empirical_policy=policy, **facts)
    scheduled = ProposedState(new_id(), StateType.SCHEDULED)
    _decide(memory, CreateFlowRun(caller=caller, id=parent, facts=flow_run, state=scheduled))
    running = ProposedState(new_id(), StateType.RUNNING)
    _decide(memory, SetFlowRunState(caller=caller, id=parent, state=running, force=True))
    times: list[int] = []
    for number in range(runs):
        id = new_id()
        if kind == "flow run":
            _decide(memory, CreateFlowRun(caller=caller, id=id, facts=flow_run, state=scheduled))
        else:
            task = TaskRunFacts(flow_run_id=parent, task_key="a-task", dynamic_key=str(number), **facts)
            _decide(memory, CreateTaskRun(caller=caller, id=id, facts=task, state=scheduled))
        propose = SetFlowRunState if kind == "flow run" else SetTaskRunState
        for type in STEPS:
            command = propose(caller=caller, id=id, state=ProposedState(new_id(), type), force=False)
            times.append(_decide(memory, command))
        del memory.aggregates[id]
    tenths = quantiles(times, n=10)
    return Cost(dialect, kind, len(times), median(times) / 1000, tenths[0] / 1000, tenths[-1] / 1000)


MAPPER = EventMapper()


def _decide(memory: Memory, command: Command) -> int:
    """Nanoseconds of CPU for deciding a command, folding its events and writing them down."""
    began = time.thread_time_ns()
    session = Session(command.caller, datetime.now(UTC), memory)
    command.decide(session)
    for event in session.events:
        session.touched[event.originator_id].apply(event)
        MAPPER.to_stored_event(event)
    took = time.thread_time_ns() - began
    memory.aggregates.update(session.touched)
    return took
