"""What may be asked of deployments."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from domain import keys
from domain.commands.command import CommandOnOne, Deleted, Made, ProposedState
from domain.commands.deployment_limits import settle_limit
from domain.commands.flow_runs import CreateFlowRun
from domain.commands.job_variables import CommandOnJobs, require_fit
from domain.commands.schedules import (
    SHAPE_RUNS,
    GivenSchedule,
    add_schedule,
    drop_planned,
    replace_schedules,
    require_free_slugs,
    update_schedules,
)
from domain.commands.work_queues import agent_queue, queue_for, queue_in
from domain.deployment import (
    Deployment,
    DeploymentCreated,
    DeploymentDeleted,
    DeploymentSettings,
    DeploymentUpdated,
)
from domain.errors import MissingReference, NotFound, NoWorkQueue, ParametersUnchecked
from domain.flow import Flow, Labels
from domain.flow_run import FlowRunFacts
from domain.keys import Key
from domain.run_policy import FlowRunPolicy
from domain.session import Session
from domain.work_queue import WorkQueue


@dataclass(frozen=True, slots=True)
class References:
    """What settings of a deployment refer to by name or id: a work queue, and a concurrency limit shared with others.

    `leaves_queue` says that the caller named null as the work pool.
    """

    work_pool_name: str | None = None
    global_concurrency_limit_id: UUID | None = None
    work_queue_name: str | None = None
    leaves_queue: bool = False

    def settled(self, session: Session) -> dict[str, Any]:
        """The settings that follow: the id of a queue, which is made where it is not there.

        Raises UnknownWorkPool or NotFound where there is no such thing. Source: server 3.9.1.
        """
        if self.global_concurrency_limit_id is not None:
            raise NotFound("Concurrency limit", self.global_concurrency_limit_id)
        if self.work_pool_name is not None:
            return {"work_queue_id": queue_for(session, self.work_pool_name, self.work_queue_name)}
        if self.work_queue_name:
            return {"work_queue_id": agent_queue(session, self.work_queue_name)}
        return {"work_queue_id": None} if self.leaves_queue else {}


def record_creation(session: Session, deployment: Deployment, flow: Flow, name: str, given: DeploymentSettings) -> None:
    """Say that a deployment came to be, and claim its name.

    Where nothing is said of its schema, server 3.9.1 enforces it, and those before do not.
    """
    session.claim(keys.deployment_name(flow.id, name), deployment.id)
    settled: dict[str, Any] = {"labels": labels_of_deployment(flow, given.labels)}
    if "enforce_parameter_schema" not in given.model_fields_set:
        settled["enforce_parameter_schema"] = session.caller.dialect == "prefect-3"
    settings = given.model_copy(update=settled)
    event = session.record(deployment, DeploymentCreated, flow_id=flow.id, name=name, settings=settings)
    settle_limit(session, deployment, event.originator_version, settings.concurrency_limit)


def record_changes(session: Session, deployment: Deployment, changes: DeploymentSettings) -> None:
    """Say which settings of a deployment changed, if any did."""
    if not changes.model_fields_set:
        return
    event = session.record(deployment, DeploymentUpdated, changes=changes)
    before = deployment.settings
    if any(getattr(changes, field) != getattr(before, field) for field in changes.model_fields_set & SHAPE_RUNS):
        drop_planned(session, deployment)
    if "concurrency_limit" in changes.model_fields_set:
        settle_limit(session, deployment, event.originator_version, changes.concurrency_limit)


def record_deletion(session: Session, deployment: Deployment) -> None:
    """Say that a deployment is no more, and free its name. Its runs stay, but for those that were only planned."""
    session.release(keys.deployment_name(deployment.flow_id, deployment.name))
    event = session.record(deployment, DeploymentDeleted)
    drop_planned(session, deployment)
    settle_limit(session, deployment, event.originator_version, None)


def labels_of_deployment(flow: Flow, given: Labels) -> Labels:
    """A deployment's labels: its flow's, the flow's id, and the given ones, each over those before."""
    return {**flow.labels, "prefect.flow.id": str(flow.id), **given}


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDeployment(CommandOnJobs):
    """Make a deployment of that flow and name, or change the one there is as far as `settings` are set.

    One that is there gets the given parameters, labels and schedules in any case, which are none where none are given.
    Source: answers of server 3.9.1. Raises MissingReference when its flow does not exist, and what its references and
    schedules raise.
    """

    id: UUID
    flow_id: UUID
    name: str
    settings: DeploymentSettings
    references: References
    schedules: Sequence[GivenSchedule] = ()

    def ids(self) -> Iterable[UUID | None]:
        return (self.flow_id,)

    def natural_keys(self) -> Iterable[Key]:
        return (keys.deployment_name(self.flow_id, self.name),)

    def decide(self, session: Session) -> Made:
        settings = self.settings.model_copy(update=self.references.settled(session))
        flow = session.find(Flow, self.flow_id)
        if flow is None:
            raise MissingReference(Flow.kind, self.flow_id)
        if self.references.work_pool_name is not None and settings.job_variables:
            require_fit(session, self, None, settings.job_variables, pool_name=self.references.work_pool_name)
        existing = session.find(Deployment, session.id_of(keys.deployment_name(flow.id, self.name)))
        if existing is not None:
            labels = labels_of_deployment(flow, settings.labels)
            replaced = {"parameters": settings.parameters, "labels": labels}
            record_changes(session, existing, settings.model_copy(update=replaced))
            replace_schedules(session, existing, self.schedules)
            return Made(existing.id, created=False)
        deployment = session.create(Deployment, self.id)
        record_creation(session, deployment, flow, self.name, settings)
        require_free_slugs((), (given.slug for given in self.schedules))
        for given in self.schedules:
            add_schedule(session, deployment, given)
        return Made(deployment.id, created=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateDeployment(CommandOnJobs):
    """Change the settings that are set, and no others.

    `checked_version` is the deployment's version whose parameters and schema, with these changes, are known to fit.
    Raises ParametersUnchecked where they must fit and this is not known, and what its references and schedules raise.
    """

    id: UUID
    changes: DeploymentSettings
    references: References
    schedules: Sequence[GivenSchedule] | None = None
    checked_version: int | None = None

    def ids(self) -> Iterable[UUID | None]:
        return (self.id,)

    def decide(self, session: Session) -> None:
        deployment = session.get(Deployment, self.id)
        changes = self.changes.model_copy(update=self.references.settled(session))
        changed = {field: getattr(changes, field) for field in changes.model_fields_set}
        settings = deployment.settings.model_copy(update=changed)
        if settings.enforce_parameter_schema:
            require_check(deployment, settings.parameters, settings.parameter_openapi_schema, self.checked_version)
        if changes.job_variables:
            queue_id, pool_name = settings.work_queue_id, self.references.work_pool_name
            require_fit(session, self, queue_id, changes.job_variables, pool_name=pool_name)
        record_changes(session, deployment, changes)
        if self.schedules is not None:
            update_schedules(session, deployment, self.schedules)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteDeployment(CommandOnOne):
    """Delete a deployment; its runs stay, and say that they were of it."""

    def decide(self, session: Session) -> Deleted:
        record_deletion(session, session.get(Deployment, self.id))
        return Deleted(finished=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRun:
    """What a caller asks of a run of a deployment; the rest is as the deployment says.

    `enforce_parameter_schema` overrides the deployment's where it is not None.
    """

    name: str
    parameters: dict[str, Any]
    context: dict[str, Any]
    tags: list[str]
    labels: Labels
    empirical_policy: FlowRunPolicy
    job_variables: dict[str, Any]
    idempotency_key: str | None = None
    parent_task_run_id: UUID | None = None
    infrastructure_document_id: UUID | None = None
    work_queue_name: str | None = None
    enforce_parameter_schema: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateFlowRunOfDeployment(CommandOnJobs):
    """Make a run of a deployment, which `id` names, or find the one made under the same idempotency key.

    `checked_version` is the deployment's version whose schema the run's parameters are known to fit. Raises
    ParametersUnchecked where they must fit and this is not known, NoWorkQueue where the run is to go to a queue and
    the deployment has none, and what CreateFlowRun raises.
    """

    id: UUID
    run_id: UUID
    asked: AskedRun
    state: ProposedState
    checked_version: int | None = None

    def ids(self) -> Iterable[UUID | None]:
        return (self.id, self.asked.parent_task_run_id)

    def decide(self, session: Session) -> Made:
        deployment = session.get(Deployment, self.id)
        facts = facts_of_run(deployment, self.asked)
        variables = {**deployment.settings.job_variables, **self.asked.job_variables}
        queue_id = deployment.settings.work_queue_id
        require_fit(session, self, queue_id, variables, version=deployment.version, all_there=True)
        if self.asked.work_queue_name:
            queue = session.find(WorkQueue, queue_id)
            if queue is None:
                raise NoWorkQueue(self.asked.work_queue_name, deployment.id)
            queue_id = queue_in(session, queue.work_pool_id, self.asked.work_queue_name)
            facts = facts.model_copy(update={"work_queue_id": queue_id})
        enforced = self.asked.enforce_parameter_schema
        if deployment.settings.enforce_parameter_schema if enforced is None else enforced:
            schema = deployment.settings.parameter_openapi_schema
            require_check(deployment, facts.parameters, schema, self.checked_version)
        return CreateFlowRun(caller=self.caller, id=self.run_id, facts=facts, state=self.state).decide(session)


def facts_of_run(deployment: Deployment, asked: AskedRun) -> FlowRunFacts:
    """What a run of a deployment is: in its queue, parameters over the deployment's, tags besides it."""
    settings = deployment.settings
    return FlowRunFacts(
        flow_id=deployment.flow_id,
        name=asked.name,
        parameters={**settings.parameters, **asked.parameters},
        context=asked.context,
        tags=list(dict.fromkeys([*settings.tags, *asked.tags])),
        labels=asked.labels,
        empirical_policy=asked.empirical_policy,
        idempotency_key=asked.idempotency_key,
        deployment_id=deployment.id,
        deployment_version=settings.version,
        parent_task_run_id=asked.parent_task_run_id,
        infrastructure_document_id=asked.infrastructure_document_id or settings.infrastructure_document_id,
        work_queue_name=asked.work_queue_name or settings.work_queue_name,
        work_queue_id=settings.work_queue_id,
        job_variables=asked.job_variables,
    )


def require_check(
    deployment: Deployment, parameters: dict[str, Any], schema: dict[str, Any] | None, checked_version: int | None
) -> None:
    """Raise ParametersUnchecked unless these parameters are known to fit; anything fits the empty schema."""
    if schema != {} and checked_version != deployment.version:
        raise ParametersUnchecked(deployment.version, parameters, schema)
