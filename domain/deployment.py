"""The Deployment aggregate: how a flow is to be run, under a name of its own."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from domain.aggregate import Aggregate
from domain.events import Event
from domain.flow import Labels
from domain.schedules import Schedule


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


class ScheduleSettings(BaseModel):
    """A schedule of a deployment, and what goes with it. `parameters` are those of its runs, over the deployment's.

    `max_scheduled_runs` is how many runs are planned ahead at most. A `slug` is a name within the deployment.
    """

    model_config = ConfigDict(frozen=True)

    schedule: Schedule
    active: bool = True
    max_scheduled_runs: int | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    slug: str | None = None


class ScheduleChanges(BaseModel):
    """The settings of a schedule that a caller may change; only those that are not null are meant."""

    model_config = ConfigDict(frozen=True)

    schedule: Schedule | None = None
    active: bool | None = None
    max_scheduled_runs: int | None = None
    parameters: dict[str, Any] | None = None
    slug: str | None = None


class ScheduleAdded(Event):
    """A deployment got a schedule; `id` is that of the schedule."""

    TOPIC: ClassVar[str] = "Deployment.ScheduleAdded"

    id: UUID
    settings: ScheduleSettings


class ScheduleChanged(Event):
    """Those settings of a schedule changed that are there in `changes`."""

    TOPIC: ClassVar[str] = "Deployment.ScheduleChanged"

    id: UUID
    changes: ScheduleChanges


class ScheduleRemoved(Event):
    """A deployment has a schedule no more."""

    TOPIC: ClassVar[str] = "Deployment.ScheduleRemoved"

    id: UUID


class DeploymentDeleted(Event):
    TOPIC: ClassVar[str] = "Deployment.Deleted"


@dataclass(frozen=True, slots=True)
class DeploymentSchedule:
    """A schedule as it stands."""

    id: UUID
    settings: ScheduleSettings
    created: datetime
    updated: datetime


class Deployment(Aggregate):
    """A deployment. Its name is unique among the deployments of its flow that were not deleted.

    `schedules` are in the order in which they were added.
    """

    __slots__ = ("flow_id", "name", "schedules", "settings")

    kind = "Deployment"

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.flow_id: UUID = id
        self.name = ""
        self.settings = DeploymentSettings()
        self.schedules: dict[UUID, DeploymentSchedule] = {}

    def fold(self, event: Event) -> None:
        match event:
            case DeploymentCreated():
                self.flow_id = event.flow_id
                self.name = event.name
                self.settings = event.settings
            case DeploymentUpdated():
                changes = {field: getattr(event.changes, field) for field in event.changes.model_fields_set}
                self.settings = self.settings.model_copy(update=changes)
            case ScheduleAdded():
                at = event.recorded_at
                self.schedules[event.id] = DeploymentSchedule(event.id, event.settings, at, at)
            case ScheduleChanged():
                before = self.schedules.get(event.id)
                if before is not None:
                    settings = changed(before.settings, event.changes)
                    self.schedules[event.id] = replace(before, settings=settings, updated=event.recorded_at)
            case ScheduleRemoved():
                self.schedules.pop(event.id, None)
            case DeploymentDeleted():
                self.deleted = True
            case _:
                super().fold(event)

    def related_ids(self) -> Iterable[UUID]:
        if self.settings.work_queue_id is not None:
            yield self.settings.work_queue_id

    @property
    def is_scheduled(self) -> bool:
        """Whether runs are to be planned."""
        return not self.settings.paused and any(schedule.settings.active for schedule in self.schedules.values())


def changed(settings: ScheduleSettings, changes: ScheduleChanges) -> ScheduleSettings:
    """The settings of a schedule with those changes that are not null."""
    return settings.model_copy(update={field: value for field, value in changes if value is not None})
