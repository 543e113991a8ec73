"""What requests about deployments must look like, field for field as clients 2.7 to 3.9 send them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.bodies import FLOW_NAME, LONGEST_FLOW_NAME, Body, StateBody, run_name
from api.schedule_bodies import DeploymentScheduleCreate, DeploymentScheduleUpdate, ScheduleBody
from domain.commands.deployments import AskedRun, References
from domain.commands.schedules import GivenSchedule
from domain.deployment import ConcurrencyOptions, DeploymentSettings, Limit, ScheduleChanges
from domain.flow import Labels
from domain.ids import new_id
from domain.run_policy import FlowRunPolicy

NEVER_NULL = frozenset({"parameters", "job_variables", "enforce_parameter_schema", "labels"})
"""Settings that cannot be null: null leaves them as they are."""


class VersionInfo(BaseModel):
    """Where a version of a deployment comes from; taken from clients, shown by no server."""

    model_config = ConfigDict(extra="allow")

    type: str
    version: str


class DeploymentBody(Body):
    """What a creation and a change of a deployment have in common.

    `schedule`, `is_schedule_active`, `infra_overrides` and `manifest_path` are the words of 2.x clients; where both
    are there, `paused` wins over `is_schedule_active`, and `job_variables` over `infra_overrides`.
    """

    version: str | None = None
    description: str | None = None
    paused: bool = False
    is_schedule_active: bool | None = None
    schedules: Sequence[DeploymentScheduleUpdate] | None = None
    schedule: ScheduleBody | None = None
    tags: list[str] = Field(default_factory=list)
    parameter_openapi_schema: dict[str, Any] | None = None
    pull_steps: list[dict[str, Any]] | None = None
    path: str | None = None
    entrypoint: str | None = None
    manifest_path: str | None = None
    storage_document_id: UUID | None = None
    infrastructure_document_id: UUID | None = None
    work_pool_name: str | None = None
    work_queue_name: str | None = None
    concurrency_limit: Limit | None = None
    concurrency_options: ConcurrencyOptions | None = None
    global_concurrency_limit_id: UUID | None = None
    version_info: VersionInfo | None = None

    @model_validator(mode="after")
    def _limited_once(self) -> "DeploymentBody":
        if self.concurrency_limit is not None and self.global_concurrency_limit_id is not None:
            raise ValueError("A deployment has a concurrency limit of its own or one shared with others, not both")
        return self

    def given_schedules(self) -> tuple[GivenSchedule, ...] | None:
        """The schedules it is to have, in the words of 3.x or the one in those of 2.x; None where nothing is said."""
        if self.schedules:
            return tuple(schedule.given() for schedule in self.schedules)
        if self.schedule is not None:
            return (GivenSchedule(new_id(), ScheduleChanges(schedule=self.schedule)),)
        return None if self.schedules is None and "schedule" not in self.model_fields_set else ()

    def references(self) -> References:
        leaves = "work_pool_name" in self.model_fields_set and self.work_pool_name is None
        return References(self.work_pool_name, self.global_concurrency_limit_id, self.work_queue_name, leaves)

    def settings(self) -> DeploymentSettings:
        """The settings that are set, and no others."""
        given = {field: getattr(self, field) for field in self.model_fields_set}
        if self.is_schedule_active is not None:
            given.setdefault("paused", not self.is_schedule_active)
        if "infra_overrides" in given:
            given.setdefault("job_variables", given["infra_overrides"])
        return DeploymentSettings(
            **{
                field: value
                for field, value in given.items()
                if field in DeploymentSettings.model_fields and not (value is None and field in NEVER_NULL)
            }
        )


class DeploymentCreate(DeploymentBody):
    schedules: Sequence[DeploymentScheduleCreate] | None = None
    name: str = Field(pattern=FLOW_NAME, max_length=LONGEST_FLOW_NAME)
    flow_id: UUID
    enforce_parameter_schema: bool = True
    parameters: dict[str, Any] = Field(default_factory=dict)
    labels: Labels | None = None
    job_variables: dict[str, Any] = Field(default_factory=dict)
    infra_overrides: dict[str, Any] | None = None


class DeploymentUpdate(DeploymentBody):
    enforce_parameter_schema: bool | None = None
    parameters: dict[str, Any] | None = None
    job_variables: dict[str, Any] | None = None
    infra_overrides: dict[str, Any] | None = None


class DeploymentFlowRunCreate(Body):
    name: str | None = None
    state: StateBody | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    enforce_parameter_schema: bool | None = None
    context: dict[str, Any] = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list)
    labels: Labels | None = None
    empirical_policy: FlowRunPolicy = Field(default_factory=FlowRunPolicy)
    idempotency_key: str | None = None
    parent_task_run_id: UUID | None = None
    infrastructure_document_id: UUID | None = None
    work_queue_name: str | None = None
    job_variables: dict[str, Any] | None = None

    def asked(self) -> AskedRun:
        return AskedRun(
            name=run_name(self.name),
            parameters=self.parameters,
            context=self.context,
            tags=self.tags,
            labels=self.labels or {},
            empirical_policy=self.empirical_policy,
            job_variables=self.job_variables or {},
            idempotency_key=self.idempotency_key,
            parent_task_run_id=self.parent_task_run_id,
            infrastructure_document_id=self.infrastructure_document_id,
            work_queue_name=self.work_queue_name,
            enforce_parameter_schema=self.enforce_parameter_schema,
        )
