"""What may be asked of task runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from domain import keys
from domain.aggregate import Aggregate
from domain.commands import slots
from domain.commands.command import (
    Command,
    CommandOnOne,
    Deleted,
    Explanation,
    Made,
    OrchestrationResult,
    ProposedState,
)
from domain.commands.proposals import answer, explain, own_state, refuse, transition_facts
from domain.concurrency_limit import Holder
from domain.errors import MissingReference
from domain.flow_run import FlowRun
from domain.keys import Key
from domain.orchestration.limit_rules import HOLDS_SLOTS, tag_limit
from domain.orchestration.policies import task_run_policy
from domain.orchestration.policy import Policy
from domain.orchestration.rule import Fact, TaskRunContext
from domain.session import Session
from domain.states import State, StateType
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
    session.record(
        run,
        TaskRunCreated,
        **{**dict(facts), "labels": labels},
        reported=reported,
        flow_id=None if flow_run is None else flow_run.flow_id,
        payload_key=session.payload_key(run.id) if flow_run is None else flow_run.payload_key,
        payload_erased=True if flow_run is not None and flow_run.is_erased else None,
    )


def delete_task_run(session: Session, run: TaskRun) -> None:
    """Say that a task run was deleted; its keys and the slots it held are free."""
    for key in run.natural_keys():
        session.release(key)
    slots.give_back(session, run.slots)
    session.record(run, TaskRunDeleted)


def holder_of(run: TaskRun) -> Holder:
    return Holder(type="task_run", id=run.id)


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
        state = state if flow_run is None else flow_run.kept(state)
        session.record(run, TaskRunStateSet, state=state, dialect=self.caller.dialect)
        return Made(run.id, created=True)


def task_run_proposal(
    session: Session, run: TaskRun, state: ProposedState, *, force: bool
) -> tuple[Policy[TaskRun], TaskRunContext]:
    """Who decides about a state for a task run, and with which facts."""
    proposed = state.at(session.now, flow_run_id=run.flow_run_id, task_run_id=run.id)
    policy = task_run_policy(
        session.caller.dialect,
        force,
        in_flow_run=run.flow_run_id is not None,
        deferred=bool(proposed.state_details.deferred),
    )
    context = TaskRunContext(run, run.state, proposed, session.now, run.run_count)
    needs = policy.needs(run.state, proposed)
    if Fact.FLOW_RUN in needs:
        context.flow_run = session.find(FlowRun, run.flow_run_id)
    if Fact.TAG_LIMITS in needs and run.tags:
        limits = slots.limits_named(session, map(tag_limit, run.tags))
        context.limits = tuple(slots.facts_of(session, limit) for limit in limits if limit.active)
    details = proposed.state_details
    if Fact.CACHED_STATE in needs and details.cache_key and not details.refresh_cache:
        context.cached_state = session.cached_state(details.cache_key)
    return policy, context


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTaskRunState(CommandOnOne):
    """Propose a state for a task run; `force` leaves all but the most necessary rules out."""

    state: ProposedState
    force: bool

    def further_keys(self, find: Callable[[UUID], Aggregate | None]) -> Iterable[Key]:
        run = find(self.id)
        if self.state.type is not StateType.RUNNING or not isinstance(run, TaskRun):
            return ()
        return [keys.limit_name(tag_limit(tag)) for tag in run.tags]

    def decide(self, session: Session) -> OrchestrationResult:
        run = session.get(TaskRun, self.id)
        policy, context = task_run_proposal(session, run, self.state, force=self.force)
        proposed = context.proposed
        ruling = policy.decide(context)
        if ruling.state is None:
            refuse(session, run, TaskRunTransitionRefused, proposed, ruling, force=self.force)
            return answer(ruling, None, run.state, session.caller.dialect)
        entered = run.kept(own_state(ruling.state, run.flow_run_id, run.id))
        facts = transition_facts(proposed, entered, ruling, session, self.force)
        slots.record_transition(session, run, TaskRunStateSet, facts, holds_in=HOLDS_SLOTS, holder=holder_of(run))
        return answer(ruling, entered, run.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainTaskRunState(CommandOnOne):
    """Ask what would become of a proposal, and why; nothing of it happens."""

    state: ProposedState
    force: bool

    def decide(self, session: Session) -> Explanation:
        run = session.get(TaskRun, self.id)
        policy, context = task_run_proposal(session, run, self.state, force=self.force)
        return explain(session, run, policy, context)


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
        flow_run = session.find(FlowRun, self.facts.flow_run_id)
        state = own_state(self.state, self.facts.flow_run_id, run.id)
        session.record(
            run,
            TaskRunStateReported,
            state=state if flow_run is None else flow_run.kept(state),
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
        delete_task_run(session, session.get(TaskRun, self.id))
        return Deleted(finished=True)
