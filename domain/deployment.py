"""The Deployment aggregate: how a flow is to be run, under a name of its own."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from domain.aggregate import Aggregate
from domain.events import Event
from domain.flow import Labels


class CollisionStrategy(StrEnum):
    """What becomes of a run when its deployment's limit is reached: it waits, or it is cancelled."""

    ENQUEUE = "ENQUEUE"
    CANCEL_NEW = "CANCEL_NEW"


class ConcurrencyOptions(BaseModel):
    """How a deployment's concurrency limit is applied; `grace_period_seconds` is how long a slot waits for its run."""

    model_config = ConfigDict(frozen=True)

    collision_strategy: CollisionStrategy
    grace_period_seconds: int | None = Field(default=None, ge=60, le=86400)


Limit = Annotated[int, Field(gt=0, lt=2**31)]


class DeploymentSettings(BaseModel):
    """What can be changed of a deployment. `job_variables` are overrides for the infrastructure its runs get.

    `parameters` are the defaults of its runs; where `enforce_parameter_schema` says so, those of every run must fit
    `parameter_openapi_schema`, a JSON schema. `concurrency_limit` is how many of its runs may be under way at once.
    `work_queue_id` is the queue its runs go to; `work_queue_name` is what a caller called it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str | None = None
    description: str | None = None
    paused: bool = False
    parameters: dict[str, Any] = Field(default_factory=dict)
    parameter_openapi_schema: dict[str, Any] | None = Field(default_factory=dict)
    enforce_parameter_schema: bool = True
    tags: list[str] = Field(default_factory=list)
    labels: Labels = Field(default_factory=dict)
    pull_steps: list[dict[str, Any]] | None = Field(default_factory=list)
    path: str | None = None
    entrypoint: str | None = None
    manifest_path: str | None = None
    storage_document_id: UUID | None = None
    infrastructure_document_id: UUID | None = None
    work_queue_name: str | None = None
    work_queue_id: UUID | None = None
    job_variables: dict[str, Any] = Field(default_factory=dict)
    concurrency_limit: Limit | None = None
    concurrency_options: ConcurrencyOptions | None = None


class DeploymentCreated(Event):
    """A deployment came to be. All settings are there, and null is a value, not an absence; but for the queue."""

    TOPIC: ClassVar[str] = "Deployment.Created"

    flow_id: UUID
    name: str
    settings: DeploymentSettings

    @field_serializer("settings")
    def _all(self, settings: DeploymentSettings) -> dict[str, Any]:
        return settings.model_dump(mode="json", exclude=None if settings.work_queue_id else {"work_queue_id"})


class DeploymentUpdated(Event):
    """A caller changed those settings that are set in `changes`; here null is a value, not an absence."""

    TOPIC: ClassVar[str] = "Deployment.Updated"

    changes: DeploymentSettings

    @field_serializer("changes")
    def _only_what_was_set(self, changes: DeploymentSettings) -> dict[str, Any]:
        return changes.model_dump(mode="json", exclude_unset=True)


class DeploymentDeleted(Event):
    TOPIC: ClassVar[str] = "Deployment.Deleted"


class Deployment(Aggregate):
    """A deployment. Its name is unique among the deployments of its flow that were not deleted."""

    __slots__ = ("flow_id", "name", "settings")

    kind = "Deployment"

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.flow_id: UUID = id
        self.name = ""
        self.settings = DeploymentSettings()

    def fold(self, event: Event) -> None:
        match event:
            case DeploymentCreated():
                self.flow_id = event.flow_id
                self.name = event.name
                self.settings = event.settings
            case DeploymentUpdated():
                changes = {field: getattr(event.changes, field) for field in event.changes.model_fields_set}
                self.settings = self.settings.model_copy(update=changes)
            case DeploymentDeleted():
                self.deleted = True
            case _:
                super().fold(event)

    def related_ids(self) -> Iterable[UUID]:
        if self.settings.work_queue_id is not None:
            yield self.settings.work_queue_id
