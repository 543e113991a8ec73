"""The filter of flow runs."""

from typing import ClassVar

from projections.filters.criteria import (
    AnyOrAllTags,
    AnyOrNoId,
    AnyOrNotAnyId,
    AnyOrNotAnyStateType,
    AnyOrNotAnyText,
    AnyText,
    Entity,
    Name,
    NotYet,
    StateCriteria,
    TimeRange,
    TimeRangeOrNone,
)


class FlowRunState(StateCriteria):
    type: AnyOrNotAnyStateType | None = None
    name: AnyOrNotAnyText | None = None


class FlowRunFilter(Entity):
    """Which flow runs are meant. Fields and their meaning are those of server 3.9.1."""

    TABLE: ClassVar[str] = "flow_runs"

    id: AnyOrNotAnyId | None = None
    name: Name | None = None
    tags: AnyOrAllTags | None = None
    deployment_id: AnyOrNoId | None = None
    work_queue_name: NotYet = None
    state: FlowRunState | None = None
    flow_version: AnyText | None = None
    start_time: TimeRangeOrNone | None = None
    end_time: TimeRangeOrNone | None = None
    expected_start_time: TimeRange | None = None
    next_scheduled_start_time: TimeRange | None = None
    parent_flow_run_id: NotYet = None
    parent_task_run_id: AnyOrNoId | None = None
    idempotency_key: AnyOrNotAnyText | None = None
    created_by: NotYet = None
