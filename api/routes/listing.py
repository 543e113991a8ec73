"""What requests for lists and counts look like, and how long a page may be."""

from typing import Any

from pydantic import BaseModel, Field

from api.call import Call
from api.errors import Refused
from projections.filters import FlowFilter, FlowRunFilter, LogFilter, NotYet, TaskRunFilter
from projections.sorting import DeploymentSort, FlowRunSort, FlowSort, LogSort, TaskRunSort


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


class Page(BaseModel):
    limit: int | None = None
    offset: int = Field(default=0, ge=0)


class Numbered(BaseModel):
    limit: int | None = None
    page: int = Field(default=1, ge=1)


class FilterFlows(RunFilters, Page):
    sort: FlowSort | None = None


class CountFlows(RunFilters):
    pass


class PaginateFlows(RunFilters, Numbered):
    sort: FlowSort | None = None


class FilterDeployments(RunFilters, Page):
    sort: DeploymentSort | None = None


class CountDeployments(RunFilters):
    pass


class PaginateDeployments(RunFilters, Numbered):
    sort: DeploymentSort | None = None


class FilterFlowRuns(RunFilters, Page):
    sort: FlowRunSort | None = None


class CountFlowRuns(RunFilters):
    pass


class PaginateFlowRuns(RunFilters, Numbered):
    sort: FlowRunSort | None = None


class FilterTaskRuns(RunFilters, Page):
    sort: TaskRunSort | None = None


class CountTaskRuns(RunFilters):
    pass


class PaginateTaskRuns(RunFilters, Numbered):
    sort: TaskRunSort | None = None


class FilterLogs(BaseModel):
    logs: LogFilter | None = None
    sort: LogSort | None = None
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
