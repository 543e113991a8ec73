"""What requests for lists and counts look like, and how long a page may be."""

from typing import Any

from pydantic import BaseModel, Field, field_validator

from api.call import Call
from api.errors import Refused
from projections.filters import FlowFilter, FlowRunFilter, LogFilter, NotYet, TaskRunFilter
from projections.sorting import FlowRunSort, FlowSort, LogSort, TaskRunSort


class RunFilters(BaseModel):
    """Filters of flows, flow runs and task runs, which may be combined in any request for one of them."""

    flows: FlowFilter | None = None
    flow_runs: FlowRunFilter | None = None
    task_runs: TaskRunFilter | None = None
    deployments: NotYet = None
    work_pools: NotYet = None
    work_pool_queues: NotYet = None

    def filters(self) -> dict[str, Any]:
        return {"flows": self.flows, "flow_runs": self.flow_runs, "task_runs": self.task_runs}


class Sorted(BaseModel):
    """A request that may name an order; null, as clients send it, means the usual one."""

    @field_validator("sort", mode="before", check_fields=False)
    @classmethod
    def _usual(cls, sort: Any) -> Any:
        return cls.model_fields["sort"].default if sort is None else sort


class Page(Sorted):
    limit: int | None = None
    offset: int = Field(default=0, ge=0)


class Numbered(Sorted):
    limit: int | None = None
    page: int = Field(default=1, ge=1)


class FilterFlows(RunFilters, Page):
    sort: FlowSort = FlowSort.NAME_ASC


class CountFlows(RunFilters):
    pass


class PaginateFlows(RunFilters, Numbered):
    sort: FlowSort = FlowSort.NAME_ASC


class FilterFlowRuns(RunFilters, Page):
    sort: FlowRunSort = FlowRunSort.ID_DESC


class CountFlowRuns(RunFilters):
    pass


class PaginateFlowRuns(RunFilters, Numbered):
    sort: FlowRunSort = FlowRunSort.ID_DESC


class FilterTaskRuns(RunFilters, Page):
    sort: TaskRunSort = TaskRunSort.ID_DESC


class CountTaskRuns(RunFilters):
    pass


class PaginateTaskRuns(RunFilters, Numbered):
    sort: TaskRunSort = TaskRunSort.ID_DESC


class FilterLogs(Sorted):
    logs: LogFilter | None = None
    sort: LogSort = LogSort.TIMESTAMP_ASC
    limit: int | None = None
    offset: int | None = Field(default=None, ge=0)


def page_of(call: Call, limit: int | None) -> int:
    """How many rows a request may have: as many as it asks for, or all that one page holds. Raises Refused (422)."""
    most = call.services.settings.page_limit
    if limit is None:
        return most
    if limit > most:
        raise Refused(422, f"Invalid limit: must be less than or equal to {most}.")
    if limit < 0:
        raise Refused(422, "Invalid limit: must be greater than or equal to 0.")
    return limit
