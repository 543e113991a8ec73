"""The WorkPool aggregate: where runs wait for workers of one type, and how those start them."""

from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from domain.aggregate import Aggregate
from domain.events import Event

AGENT_TYPE = "prefect-agent"
"""The type of pools whose runs agents take; agents say of themselves only which queues they ask."""

AGENT_POOL = "default-agent-pool"
"""The pool of the queues that name none, made when the first of them is."""

RunLimit = Annotated[int, Field(ge=0, lt=2**31)]
"""How many runs may be under way at once."""


class StorageConfiguration(BaseModel):
    """Where a worker takes flows from and leaves results; the server only keeps it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle_upload_step: dict[str, Any] | None = None
    bundle_execution_step: dict[str, Any] | None = None
    default_result_storage_block_id: UUID | None = None


class WorkPoolSettings(BaseModel):
    """What can be changed of a work pool. `base_job_template` is what its workers make the job of a run of.

    `concurrency_limit` is how many of its runs may be under way at once. A paused pool hands out none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str | None = None
    is_paused: bool = False
    base_job_template: dict[str, Any] = Field(default_factory=dict)
    concurrency_limit: RunLimit | None = None
    storage_configuration: StorageConfiguration = Field(default_factory=StorageConfiguration)


class WorkPoolCreated(Event):
    """A work pool came to be. All settings are there, and null is a value, not an absence."""

    TOPIC: ClassVar[str] = "WorkPool.Created"

    name: str
    type: str
    default_queue_id: UUID
    settings: WorkPoolSettings

    @field_serializer("settings")
    def _all(self, settings: WorkPoolSettings) -> dict[str, Any]:
        return settings.model_dump(mode="json")


class WorkPoolUpdated(Event):
    """A caller changed those settings that are set in `changes`; here null is a value, not an absence."""

    TOPIC: ClassVar[str] = "WorkPool.Updated"

    changes: WorkPoolSettings

    @field_serializer("changes")
    def _only_what_was_set(self, changes: WorkPoolSettings) -> dict[str, Any]:
        return changes.model_dump(mode="json", exclude_unset=True)


class WorkPoolDeleted(Event):
    TOPIC: ClassVar[str] = "WorkPool.Deleted"


class WorkPool(Aggregate):
    """A work pool. Its name is unique among those that were not deleted; it keeps its default queue as long as it is.

    Which queues it has is told by their names, which are keys.
    """

    __slots__ = ("default_queue_id", "name", "settings", "type")

    kind = "Work pool"

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.name = ""
        self.type = AGENT_TYPE
        self.default_queue_id: UUID = id
        self.settings = WorkPoolSettings()

    def fold(self, event: Event) -> None:
        match event:
            case WorkPoolCreated():
                self.name = event.name
                self.type = event.type
                self.default_queue_id = event.default_queue_id
                self.settings = event.settings
            case WorkPoolUpdated():
                changes = {field: getattr(event.changes, field) for field in event.changes.model_fields_set}
                self.settings = self.settings.model_copy(update=changes)
            case WorkPoolDeleted():
                self.deleted = True
            case _:
                super().fold(event)
