"""The filter of task runs."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from projections.filters.condition import Condition, exists, negated
from projections.filters.criteria import (
    AnyId,
    AnyOrNoId,
    AnyStateType,
    AnyText,
    Criteria,
    Entity,
    Name,
    StateCriteria,
    TagsOfRun,
    TimeRange,
    TimeRangeOrNone,
)


class TaskRunState(StateCriteria):
    type: AnyStateType | None = None
    name: AnyText | None = None


class FlowRunOfTaskRun(AnyOrNoId):
    """In which flow runs, or in none. Without a list, those in any flow run are meant, unless `is_null_` is null.

    `is_null_` true means those in none, whatever the list says. Source: answers of server 3.8.8.
    """

    is_null_: bool | None = False

    def conditions(self, table: str, column: str) -> Iterator[Condition]:
        by_null = self.is_null_ or self.any_ is None
        asked = AnyOrNoId(is_null_=self.is_null_) if by_null else AnyOrNoId(any_=self.any_)
        yield from asked.conditions(table, column)


class SubflowRuns(Criteria):
    """Whether the task run stands for a subflow."""

    exists_: bool | None = None

    def conditions(self, table: str, column: str) -> Iterator[Condition]:
        if self.exists_ is not None:
            subflow = exists("FROM read.flow_runs AS subflow WHERE subflow.parent_task_run_id = task_runs.id")
            yield subflow if self.exists_ else negated(subflow)


class TaskRunFilter(Entity):
    """Which task runs are meant. Fields and their meaning are those of server 3.9.1."""

    TABLE: ClassVar[str] = "task_runs"
    COLUMNS: ClassVar[Mapping[str, str]] = {"tags": "tag_keys"}

    id: AnyId | None = None
    name: Name | None = None
    tags: TagsOfRun | None = None
    state: TaskRunState | None = None
    start_time: TimeRangeOrNone | None = None
    end_time: TimeRangeOrNone | None = None
    expected_start_time: TimeRange | None = None
    subflow_runs: SubflowRuns | None = None
    flow_run_id: FlowRunOfTaskRun | None = None
