"""What requests about work pools, queues and workers must look like, as clients 2.7 to 3.9 send them."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from api.bodies import FLOW_NAME, LONGEST_FLOW_NAME, Body
from domain.times import Time
from domain.work_pool import AGENT_TYPE, RunLimit, StorageConfiguration, WorkPoolSettings
from domain.work_queue import Priority, QueueFilter, WorkQueueSettings
from projections.filters import WorkerFilter, WorkPoolFilter, WorkQueueFilter

Name = Annotated[str, Field(pattern=FLOW_NAME, max_length=LONGEST_FLOW_NAME)]
Seconds = Annotated[int, Field(ge=0, lt=2**31)]
Page = Annotated[int, Field(ge=1)]


class WorkPoolCreate(Body):
    name: Name
    type: str = AGENT_TYPE
    description: str | None = None
    is_paused: bool = False
    base_job_template: dict[str, Any] = Field(default_factory=dict)
    concurrency_limit: RunLimit | None = None
    storage_configuration: StorageConfiguration = Field(default_factory=StorageConfiguration)

    def settings(self) -> WorkPoolSettings:
        return WorkPoolSettings(**{field: getattr(self, field) for field in WorkPoolSettings.model_fields})


class WorkPoolUpdate(Body):
    """Null takes a description or a limit away; it leaves the other settings as they are."""

    description: str | None = None
    is_paused: bool | None = None
    base_job_template: dict[str, Any] | None = None
    concurrency_limit: RunLimit | None = None
    storage_configuration: StorageConfiguration | None = None

    def settings(self) -> WorkPoolSettings:
        """The settings that are set, and no others."""
        given = {field: getattr(self, field) for field in self.model_fields_set}
        nullable = ("description", "concurrency_limit")
        meant = {name: value for name, value in given.items() if value is not None or name in nullable}
        return WorkPoolSettings(**meant)


class WorkQueueCreate(Body):
    name: Name
    description: str | None = ""
    is_paused: bool = False
    concurrency_limit: RunLimit | None = None
    priority: Priority | None = None
    filter: QueueFilter | None = None

    def settings(self) -> WorkQueueSettings:
        """The settings but for the priority, which may be for the ledger to choose."""
        return WorkQueueSettings(
            name=self.name,
            description=self.description or "",
            is_paused=self.is_paused,
            concurrency_limit=self.concurrency_limit,
            filter=self.filter,
        )


class WorkQueueUpdate(Body):
    """Null takes a limit or a filter away; it leaves the other settings as they are. `last_polled` is not used: the
    server sees who polls.
    """

    name: Name | None = None
    description: str | None = None
    is_paused: bool | None = None
    concurrency_limit: RunLimit | None = None
    priority: Priority | None = None
    filter: QueueFilter | None = None
    last_polled: Time | None = None

    def settings(self) -> WorkQueueSettings:
        """The settings that are set, and no others."""
        given = {field: getattr(self, field) for field in self.model_fields_set - {"last_polled"}}
        kept = ("name", "description", "is_paused", "priority")
        return WorkQueueSettings(
            **{name: value for name, value in given.items() if value is not None or name not in kept}
        )


class Listing(BaseModel):
    limit: int | None = None
    offset: Annotated[int, Field(ge=0)] | None = None


class FilterWorkPools(Listing):
    work_pools: WorkPoolFilter | None = None


class CountWorkPools(BaseModel):
    work_pools: WorkPoolFilter | None = None


class FilterWorkQueues(Listing):
    work_queues: WorkQueueFilter | None = None


class FilterWorkers(Listing):
    workers: WorkerFilter | None = None


class ScheduledRunsOfPool(BaseModel):
    """Runs of the queues of these names, or of all where none is named, that are due between two times."""

    work_queue_names: list[str] | None = None
    scheduled_before: Time | None = None
    scheduled_after: Time | None = None
    limit: int | None = None


class RunsOfQueue(BaseModel):
    """Runs of one queue that are due before a time; `agent_id` is what agents of 2.x call themselves."""

    scheduled_before: Time | None = None
    limit: int | None = None
    agent_id: str | None = None


class Slots(BaseModel):
    page: Page = 1
    limit: int | None = None


class SlotsOfPool(Slots):
    flow_run_limit: Annotated[int, Field(ge=0, le=200)] = 10


class Heartbeat(BaseModel):
    name: str
    heartbeat_interval_seconds: Seconds | None = None
