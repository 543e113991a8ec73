"""The WorkQueue aggregate: the runs of a work pool that wait in one line, with a priority among the pool's queues."""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from domain.aggregate import Aggregate
from domain.events import Event
from domain.work_pool import RunLimit

Priority = Annotated[int, Field(gt=0, lt=2**31)]


class QueueFilter(BaseModel):
    """Which runs a queue of old clients hands out: of these deployments, with all of these tags."""

    model_config = ConfigDict(frozen=True)

    tags: list[str] | None = None
    deployment_ids: list[UUID] | None = None


class WorkQueueSettings(BaseModel):
    """What can be changed of a work queue. Of two queues of a pool, that of the lower `priority` is served first.

    `concurrency_limit` is how many of its runs may be under way at once. A paused queue hands out none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    description: str = ""
    is_paused: bool = False
    concurrency_limit: RunLimit | None = None
    priority: Priority = 1
    filter: QueueFilter | None = None


class WorkQueueCreated(Event):
    """A work queue came to be. All settings are there, and null is a value, not an absence."""

    TOPIC: ClassVar[str] = "WorkQueue.Created"

    work_pool_id: UUID
    settings: WorkQueueSettings

    @field_serializer("settings")
    def _all(self, settings: WorkQueueSettings) -> dict[str, Any]:
        return settings.model_dump(mode="json")


class WorkQueueUpdated(Event):
    """Those settings changed that are set in `changes`; here null is a value, not an absence.

    The priority also changes where another queue of the pool took it.
    """

    TOPIC: ClassVar[str] = "WorkQueue.Updated"

    changes: WorkQueueSettings

    @field_serializer("changes")
    def _only_what_was_set(self, changes: WorkQueueSettings) -> dict[str, Any]:
        return changes.model_dump(mode="json", exclude_unset=True)


class WorkQueueDeleted(Event):
    TOPIC: ClassVar[str] = "WorkQueue.Deleted"


class WorkQueue(Aggregate):
    """A work queue. Its name and its priority are unique among the queues of its pool that were not deleted."""

    __slots__ = ("settings", "work_pool_id")

    kind = "Work queue"

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.work_pool_id: UUID = id
        self.settings = WorkQueueSettings()

    @property
    def name(self) -> str:
        return self.settings.name

    def fold(self, event: Event) -> None:
        match event:
            case WorkQueueCreated():
                self.work_pool_id = event.work_pool_id
                self.settings = event.settings
            case WorkQueueUpdated():
                changes = {field: getattr(event.changes, field) for field in event.changes.model_fields_set}
                self.settings = self.settings.model_copy(update=changes)
            case WorkQueueDeleted():
                self.deleted = True
            case _:
                super().fold(event)

    def related_ids(self) -> Iterable[UUID]:
        yield self.work_pool_id
