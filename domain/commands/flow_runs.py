"""What may be asked of flow runs."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from domain import keys
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
from domain.commands.deployment_limits import USUAL_GRACE_SECONDS, deployment_facts
from domain.commands.job_variables import CommandOnJobs, require_fit
from domain.commands.proposals import answer, explain, mirror, own_state, refuse, transition_facts
from domain.commands.task_runs import delete_task_run
from domain.commands.work_queues import queue_for
from domain.concurrency_limit import Holder
from domain.deployment import Deployment
from domain.errors import JobVariablesSettled, MissingReference
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
from domain.orchestration import flow_rules
from domain.orchestration.deployment_rules import UNDER_WAY
from domain.orchestration.policies import flow_run_policy
from domain.orchestration.policy import Policy
from domain.orchestration.rule import Fact, FlowRunContext
from domain.session import Session
from domain.states import ALL_STATES, StateType
from domain.task_run import TaskRun

KEEP_SLOTS = frozenset({flow_rules.RetryFailedFlowRuns.__name__})
"""The rules whose states a run waits in with its process alive, and so with its slots."""

TASK_RUNS_PER_DELETION = 500
"""How many task runs one transaction deletes with their flow run; more take more commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateFlowRun(Command):
    """Make a flow run, or find the one that the same flow made under the same idempotency key.

    The state that comes with it is set without rules. Where its facts name a work pool, it goes to a queue of that.
    Raises MissingReference when its flow, deployment or parent does not exist, and UnknownWorkPool.
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
        settled: dict[str, Any] = {"labels": labels_of_run(flow, deployment, facts.labels)}
        if facts.work_pool_name is not None:
            settled["work_queue_id"] = queue_for(session, facts.work_pool_name, facts.work_queue_name)
        session.record(run, FlowRunCreated, **{**dict(facts), **settled}, payload_key=session.payload_key(run.id))
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


def flow_run_proposal(
    session: Session, run: FlowRun, state: ProposedState, *, force: bool
) -> tuple[Policy[FlowRun], FlowRunContext]:
    """Who decides about a state for a flow run, and with which facts."""
    caller = session.caller
    proposed = state.at(session.now, flow_run_id=run.id, task_run_id=run.parent_task_run_id)
    context = FlowRunContext(run, run.state, proposed, session.now, run.run_count, caller.renews_leases)
    policy = flow_run_policy(caller.dialect, force)
    if Fact.DEPLOYMENT in policy.needs(run.state, proposed):
        context.deployment = deployment_facts(session, run.deployment_id)
    return policy, context


def propose(session: Session, run: FlowRun, state: ProposedState, *, force: bool = False) -> OrchestrationResult:
    """Let the rules of the caller's dialect decide about a state for a flow run, and record what they decide."""
    policy, context = flow_run_proposal(session, run, state, force=force)
    proposed = context.proposed
    ruling = policy.decide(context)
    if ruling.state is None:
        refuse(session, run, FlowRunTransitionRefused, proposed, ruling, force=force)
        return answer(ruling, None, run.state, session.caller.dialect)
    entered = run.kept(own_state(ruling.state, run.id, run.parent_task_run_id))
    facts = transition_facts(proposed, entered, ruling, session, force)
    grace = timedelta(seconds=context.deployment.grace_seconds if context.deployment else USUAL_GRACE_SECONDS)
    slots.record_transition(
        session,
        run,
        FlowRunStateSet,
        facts,
        holds_in=ALL_STATES if ruling.rule in KEEP_SLOTS else UNDER_WAY,
        holder=Holder(type="flow_run", id=run.id),
        expires_at=session.now + grace,
    )
    if entered.type is StateType.RUNNING:
        # Clients that do not renew leases hold their slot until they say that the run is over.
        slots.extend(session, run.slots, session.now + grace if session.caller.renews_leases else None)
    if entered.type is not StateType.SCHEDULED:
        release_plan(session, run)
    mirror(session, run.id, run.parent_task_run_id, entered)
    return answer(ruling, entered, run.state)


def release_plan(session: Session, run: FlowRun) -> None:
    """A run begins, or ends before it did: what becomes of its schedule no longer concerns it."""
    key = run.plan_key()
    if key is not None:
        session.release(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFlowRunState(CommandOnOne):
    """Propose a state for a flow run; `force` leaves all but the most necessary rules out."""

    state: ProposedState
    force: bool

    def decide(self, session: Session) -> OrchestrationResult:
        return propose(session, session.get(FlowRun, self.id), self.state, force=self.force)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainFlowRunState(CommandOnOne):
    """Ask what would become of a proposal, and why; nothing of it happens."""

    state: ProposedState
    force: bool

    def decide(self, session: Session) -> Explanation:
        run = session.get(FlowRun, self.id)
        policy, context = flow_run_proposal(session, run, self.state, force=self.force)
        return explain(session, run, policy, context)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFlowRun(CommandOnJobs):
    """Change the fields that the caller set, and no others.

    Job variables change only while the run waits to start, and must fit. Raises NotFound, JobVariablesSettled and
    JobVariablesUnchecked. Source: server 3.9.1.
    """

    id: UUID
    changes: FlowRunChanges

    def ids(self) -> Iterable[UUID | None]:
        return (self.id,)

    def decide(self, session: Session) -> None:
        run = session.get(FlowRun, self.id)
        if self.changes.job_variables is not None:
            self._require_fit(session, run, self.changes.job_variables)
        if self.changes.model_fields_set:
            session.record(run, FlowRunUpdated, changes=self.changes)

    def _require_fit(self, session: Session, run: FlowRun, variables: dict[str, Any]) -> None:
        if run.state is None or run.state.type is not StateType.SCHEDULED:
            state = "no state" if run.state is None else f"state {run.state.type}"
            raise JobVariablesSettled(f"Job variables for a flow run in {state} cannot be updated")
        deployment = session.find(Deployment, run.deployment_id)
        if deployment is None:
            raise JobVariablesSettled("A deployment for the flow run could not be found")
        settings = deployment.settings
        given = {**settings.job_variables, **variables}
        require_fit(session, self, settings.work_queue_id, given, version=deployment.version, all_there=True)


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
        for id in task_runs.values():
            delete_task_run(session, session.get(TaskRun, id))
        if len(task_runs) == TASK_RUNS_PER_DELETION:
            return Deleted(finished=False)
        delete_run(session, run)
        return Deleted(finished=True)


def delete_run(session: Session, run: FlowRun) -> None:
    """Say that a flow run is no more; its keys and slots are free."""
    if run.idempotency_key is not None:
        session.release(keys.flow_run_idempotency(run.flow_id, run.idempotency_key))
    release_plan(session, run)
    slots.give_back(session, run.slots)
    session.record(run, FlowRunDeleted)
