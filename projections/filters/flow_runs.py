"""The filter of flow runs."""

from collections.abc import Iterator, Mapping
from typing import ClassVar
from uuid import UUID

from psycopg import sql

from projections.filters.condition import Condition, exists
from projections.filters.criteria import (
    AnyOrAllTagsOfRun,
    AnyOrNoId,
    AnyOrNotAnyId,
    AnyOrNotAnyStateType,
    AnyOrNotAnyText,
    AnyOrNoText,
    AnyText,
    Entity,
    JoinedCriteria,
    Name,
    NameOfQueue,
    StateCriteria,
    TimeRange,
    TimeRangeOrNone,
)


class FlowRunState(StateCriteria):
    type: AnyOrNotAnyStateType | None = None
    name: AnyOrNotAnyText | None = None


class ParentFlowRun(JoinedCriteria):
    """In which flow runs the run was called: those of the task run that stands for it."""

    any_: list[UUID] | None = None

    def conditions(self, table: str, column: str) -> Iterator[Condition]:
        if self.any_ is not None:
            calling = Condition(sql.SQL("calling_task.flow_run_id = ANY(%s)"), (self.any_,))
            yield exists(
                "FROM read.task_runs AS calling_task WHERE calling_task.id = flow_runs.parent_task_run_id", calling
            )


class Creator(JoinedCriteria):
    """By whom a run was made. The ledger knows the caller of every event, but no creators in the sense of the dialect:
    every run has none.
    """

    id_: list[UUID] | None = None
    type_: list[str] | None = None
    is_null_: bool | None = None

    def conditions(self, table: str, column: str) -> Iterator[Condition]:
        for fits in (
            None if self.id_ is None else False,
            None if self.type_ is None else False,
            self.is_null_,
        ):
            if fits is not None:
                yield Condition(sql.SQL("true" if fits else "false"))


class QueueOfRun(NameOfQueue, AnyOrNoText):
    pass


class FlowRunFilter(Entity):
    """Which flow runs are meant. Fields and their meaning are those of server 3.9.1."""

    TABLE: ClassVar[str] = "flow_runs"
    COLUMNS: ClassVar[Mapping[str, str]] = {"tags": "tag_keys"}

    id: AnyOrNotAnyId | None = None
    name: Name | None = None
    tags: AnyOrAllTagsOfRun | None = None
    deployment_id: AnyOrNoId | None = None
    work_queue_name: QueueOfRun | None = None
    state: FlowRunState | None = None
    flow_version: AnyText | None = None
    start_time: TimeRangeOrNone | None = None
    end_time: TimeRangeOrNone | None = None
    expected_start_time: TimeRange | None = None
    next_scheduled_start_time: TimeRange | None = None
    parent_flow_run_id: ParentFlowRun | None = None
    parent_task_run_id: AnyOrNoId | None = None
    idempotency_key: AnyOrNotAnyText | None = None
    created_by: Creator | None = None
