"""What may be asked of task runs."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from domain import keys
from domain.commands.command import Command, CommandOnOne, Deleted, Made, OrchestrationResult, ProposedState
from domain.commands.proposals import answer, own_state, refuse, transition_facts
from domain.errors import MissingReference
from domain.flow_run import FlowRun
from domain.keys import Key
from domain.orchestration.policies import task_run_policy
from domain.orchestration.rule import TaskRunContext
from domain.session import Session
from domain.states import State
from domain.task_run import (
    ReportedCounters,
    TaskRun,
    TaskRunCreated,
    TaskRunDeleted,
    TaskRunFacts,
    TaskRunStateReported,
    TaskRunStateSet,
    TaskRunTransitionRefused,
    TaskRunUpdated,
)


def record_creation(
    session: Session, run: TaskRun, facts: TaskRunFacts, flow_run: FlowRun | None, *, reported: bool
) -> None:
    """Say that a task run came to be, and claim its keys."""
    labels = dict(facts.labels)
    if flow_run is not None and not reported:
        labels |= {"prefect.flow.id": str(flow_run.flow_id), "prefect.flow-run.id": str(flow_run.id)}
    for key in facts.natural_keys():
        session.claim(key, run.id)
    session.record(run, TaskRunCreated, **{**dict(facts), "labels": labels}, reported=reported)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTaskRun(Command):
    """Make a task run, or find the one of the same flow run with the same keys.

    The state that comes with it is set without rules. `chosen_id` says that the caller chose the id. Raises
    MissingReference when its flow run does not exist, IdTaken when the chosen id is in use.
    """

    id: UUID
    chosen_id: bool = False
    facts: TaskRunFacts
    state: ProposedState

    def ids(self) -> Iterable[UUID | None]:
        return (self.id if self.chosen_id else None, self.facts.flow_run_id)

    def natural_keys(self) -> Iterable[Key]:
        return self.facts.natural_keys()

    def decide(self, session: Session) -> Made:
        flow_run_id = self.facts.flow_run_id
        flow_run = session.find(FlowRun, flow_run_id)
        if flow_run_id is not None and flow_run is None:
            raise MissingReference(FlowRun.kind, flow_run_id)
        for key in self.natural_keys():
            existing = session.id_of(key)
            if existing is not None:
                return Made(existing, created=False)
        run = session.create(TaskRun, self.id, chosen=self.chosen_id)
        record_creation(session, run, self.facts, flow_run, reported=False)
        state = self.state.at(session.now, flow_run_id=flow_run_id, task_run_id=run.id)
        session.record(run, TaskRunStateSet, state=state, dialect=self.caller.dialect)
        return Made(run.id, created=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTaskRunState(CommandOnOne):
    """Propose a state for a task run; `force` leaves all but the most necessary rules out."""

    state: ProposedState
    force: bool

    def decide(self, session: Session) -> OrchestrationResult:
        run = session.get(TaskRun, self.id)
        flow_run = session.find(FlowRun, run.flow_run_id)
        proposed = self.state.at(session.now, flow_run_id=run.flow_run_id, task_run_id=run.id)
        context = TaskRunContext(run, run.state, proposed, session.now, run.run_count, flow_run)
        policy = task_run_policy(self.caller.dialect, self.force, in_flow_run=run.flow_run_id is not None)
        ruling = policy.decide(context)
        if ruling.state is None:
            refuse(session, run, TaskRunTransitionRefused, proposed, ruling)
            return answer(ruling, None, run.state)
        entered = own_state(ruling.state, run.flow_run_id, run.id)
        session.record(run, TaskRunStateSet, **transition_facts(proposed, entered, ruling, session, self.force))
        return answer(ruling, entered, run.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTaskRunState(Command):
    """Take down the state that a client says its task run entered; the same report again is nothing new.

    A task run that is not known yet comes to be. Raises MissingReference when its flow run does not exist.
    """

    id: UUID
    facts: TaskRunFacts
    state: State
    follows: UUID | None
    counters: ReportedCounters

    def ids(self) -> Iterable[UUID | None]:
        return (self.id, self.facts.flow_run_id)

    def natural_keys(self) -> Iterable[Key]:
        return self.facts.natural_keys()

    def decide(self, session: Session) -> None:
        run = session.find(TaskRun, self.id)
        if run is None:
            run = self._known_by_key(session) or self._create(session)
        if self.state.id in run.reports:
            return
        session.record(
            run,
            TaskRunStateReported,
            state=own_state(self.state, self.facts.flow_run_id, run.id),
            follows=self.follows,
            counters=self.counters,
            occurred_at=self.state.timestamp,
        )

    def _known_by_key(self, session: Session) -> TaskRun | None:
        for key in self.natural_keys():
            return session.find(TaskRun, session.id_of(key))
        return None

    def _create(self, session: Session) -> TaskRun:
        flow_run_id = self.facts.flow_run_id
        flow_run = session.find(FlowRun, flow_run_id)
        if flow_run_id is not None and flow_run is None:
            raise MissingReference(FlowRun.kind, flow_run_id)
        run = session.create(TaskRun, self.id, chosen=True)
        record_creation(session, run, self.facts, flow_run, reported=True)
        return run


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateTaskRun(CommandOnOne):
    """Give a task run another name; without one nothing is meant and nothing happens."""

    name: str | None

    def decide(self, session: Session) -> None:
        run = session.get(TaskRun, self.id)
        if self.name is not None:
            session.record(run, TaskRunUpdated, name=self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTaskRun(CommandOnOne):
    """Delete a task run; its history stays readable by its id."""

    def decide(self, session: Session) -> Deleted:
        run = session.get(TaskRun, self.id)
        if run.flow_run_id is not None:
            session.release(keys.task_run(run.flow_run_id, run.task_key, run.dynamic_key))
        session.record(run, TaskRunDeleted)
        return Deleted(finished=True)
