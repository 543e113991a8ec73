"""The filters of work pools, work queues and workers."""

from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar

from psycopg import sql

from projections.filters.condition import Condition
from projections.filters.criteria import AnyId, AnyText, Criteria, Entity, TimeRange
from projections.work_documents import IS_ONLINE

WORKER_STATUS = sql.SQL("CASE WHEN {} THEN 'ONLINE' ELSE 'OFFLINE' END").format(IS_ONLINE)


class WorkerStatus(StrEnum):
    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"


class QueueName(AnyText):
    """`startswith_`: begins with one of these, in any case."""

    startswith_: list[str] | None = None


class StatusOfWorker(Criteria):
    """Whether workers were heard of lately, at the time of the request."""

    any_: list[WorkerStatus] | None = None
    not_any_: list[WorkerStatus] | None = None

    def conditions(self, table: str, column: str) -> Iterator[Condition]:
        for question, value in self:
            if value is not None:
                test = "{} = ANY(%s)" if question == "any_" else "{} <> ALL(%s)"
                yield Condition(sql.SQL(test).format(WORKER_STATUS), (value,))


class WorkPoolFilter(Entity):
    """Which work pools are meant. Fields and their meaning are those of server 3.9.1."""

    TABLE: ClassVar[str] = "work_pools"

    id: AnyId | None = None
    name: AnyText | None = None
    type: AnyText | None = None


class WorkQueueFilter(Entity):
    """Which work queues are meant. Fields and their meaning are those of server 3.9.1."""

    TABLE: ClassVar[str] = "work_queues"

    id: AnyId | None = None
    name: QueueName | None = None


class WorkerFilter(Entity):
    """Which workers are meant. Fields and their meaning are those of server 3.9.1."""

    TABLE: ClassVar[str] = "workers"

    last_heartbeat_time: TimeRange | None = None
    status: StatusOfWorker | None = None
