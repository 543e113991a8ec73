"""What may be asked of flow runs."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from domain import keys
from domain.commands.command import Command, CommandOnOne, Deleted, Made, OrchestrationResult, ProposedState
from domain.commands.proposals import answer, mirror, own_state, refuse, transition_facts
from domain.deployment import Deployment
from domain.errors import MissingReference
from domain.flow import Flow, Labels
from domain.flow_run import (
    FlowRun,
    FlowRunChanges,
    FlowRunCreated,
    FlowRunDeleted,
    FlowRunFacts,
    FlowRunLabelled,
    FlowRunStateSet,
    FlowRunTransitionRefused,
    FlowRunUpdated,
)
from domain.keys import Key
from domain.orchestration.policies import flow_run_policy
from domain.orchestration.rule import FlowRunContext
from domain.session import Session
from domain.task_run import TaskRun, TaskRunDeleted

TASK_RUNS_PER_DELETION = 500
"""How many task runs one transaction deletes with their flow run; more take more commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateFlowRun(Command):
    """Make a flow run, or find the one that the same flow made under the same idempotency key.

    The state that comes with it is set without rules. Raises MissingReference when its flow, deployment or parent does
    not exist.
    """

    id: UUID
    facts: FlowRunFacts
    state: ProposedState

    def ids(self) -> Iterable[UUID | None]:
        return (self.facts.flow_id, self.facts.deployment_id, self.facts.parent_task_run_id)

    def natural_keys(self) -> Iterable[Key]:
        if self.facts.idempotency_key is None:
            return ()
        return (keys.flow_run_idempotency(self.facts.flow_id, self.facts.idempotency_key),)

    def decide(self, session: Session) -> Made:
        facts = self.facts
        flow = session.find(Flow, facts.flow_id)
        if flow is None:
            raise MissingReference(Flow.kind, facts.flow_id)
        deployment = session.find(Deployment, facts.deployment_id)
        if facts.deployment_id is not None and deployment is None:
            raise MissingReference(Deployment.kind, facts.deployment_id)
        for key in self.natural_keys():
            existing = session.id_of(key)
            if existing is not None:
                return Made(existing, created=False)
        parent = facts.parent_task_run_id
        if parent is not None and session.find(TaskRun, parent) is None:
            raise MissingReference(TaskRun.kind, parent)
        run = session.create(FlowRun, self.id)
        for key in self.natural_keys():
            session.claim(key, run.id)
        labels = labels_of_run(flow, deployment, facts.labels)
        session.record(run, FlowRunCreated, **{**dict(facts), "labels": labels})
        state = self.state.at(session.now, flow_run_id=run.id, task_run_id=parent)
        session.record(run, FlowRunStateSet, state=state, dialect=self.caller.dialect)
        mirror(session, run.id, parent, state)
        return Made(run.id, created=True)


def labels_of_run(flow: Flow, deployment: Deployment | None, given: Labels) -> Labels:
    """A run's labels: those of what it is a run of, the ids of that, and the given ones, each over those before.

    Source: answers of server 3.9.1.
    """
    if deployment is None:
        return {**flow.labels, "prefect.flow.id": str(flow.id), **given}
    ids: Labels = {"prefect.flow.id": str(deployment.flow_id), "prefect.deployment.id": str(deployment.id)}
    return {**deployment.settings.labels, **ids, **given}


def propose(session: Session, run: FlowRun, state: ProposedState, *, force: bool = False) -> OrchestrationResult:
    """Let the rules of the caller's dialect decide about a state for a flow run, and record what they decide."""
    proposed = state.at(session.now, flow_run_id=run.id, task_run_id=run.parent_task_run_id)
    context = FlowRunContext(run, run.state, proposed, session.now, run.run_count)
    ruling = flow_run_policy(session.caller.dialect, force).decide(context)
    if ruling.state is None:
        refuse(session, run, FlowRunTransitionRefused, proposed, ruling)
        return answer(ruling, None, run.state)
    entered = own_state(ruling.state, run.id, run.parent_task_run_id)
    session.record(run, FlowRunStateSet, **transition_facts(proposed, entered, ruling, session, force))
    mirror(session, run.id, run.parent_task_run_id, entered)
    return answer(ruling, entered, run.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFlowRunState(CommandOnOne):
    """Propose a state for a flow run; `force` leaves all but the most necessary rules out."""

    state: ProposedState
    force: bool

    def decide(self, session: Session) -> OrchestrationResult:
        return propose(session, session.get(FlowRun, self.id), self.state, force=self.force)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFlowRun(CommandOnOne):
    """Change the fields that the caller set, and no others."""

    changes: FlowRunChanges

    def decide(self, session: Session) -> None:
        run = session.get(FlowRun, self.id)
        if self.changes.model_fields_set:
            session.record(run, FlowRunUpdated, changes=self.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFlowRun(CommandOnOne):
    """Add labels to a flow run."""

    labels: Labels

    def decide(self, session: Session) -> None:
        session.record(session.get(FlowRun, self.id), FlowRunLabelled, labels=self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteFlowRun(CommandOnOne):
    """Delete a flow run and its task runs, so many at a time, the flow run itself last."""

    def decide(self, session: Session) -> Deleted:
        run = session.get(FlowRun, self.id)
        task_runs = session.ids_under(keys.task_runs_of(run.id), TASK_RUNS_PER_DELETION)
        session.prefetch(task_runs.values())
        for key, id in task_runs.items():
            session.record(session.get(TaskRun, id), TaskRunDeleted)
            session.release(key)
        if len(task_runs) == TASK_RUNS_PER_DELETION:
            return Deleted(finished=False)
        if run.idempotency_key is not None:
            session.release(keys.flow_run_idempotency(run.flow_id, run.idempotency_key))
        session.record(run, FlowRunDeleted)
        return Deleted(finished=True)
