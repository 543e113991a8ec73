"""Lists and counts of things: what requests for them look like, how long a page may be, and how they are answered."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, Field, PrivateAttr

from api.answer import Answer
from api.call import Call, Question
from api.errors import Refused
from api.moments import PastTime
from projections import queries
from projections.columns import UnknownColumn
from projections.filters import (
    DeploymentFilter,
    FlowFilter,
    FlowRunFilter,
    LogFilter,
    TaskRunFilter,
    WorkPoolFilter,
    WorkQueueFilter,
)
from projections.lists import Page, PageQuery, UnusableCursor
from projections.past_runs import NotKnownOfThePast, count_past_flow_runs, read_past_flow_runs
from projections.queries import CountQuery, Kind
from projections.sorting import DeploymentSort, FlowRunSort, FlowSort, LogSort, TaskRunSort

T = TypeVar("T")
NEXT_CURSOR = "X-Flowledger-Next-Cursor"
"""The header by which a full page that was asked for by cursor names the cursor of the page behind it."""


class RunFilters(Question):
    """Filters of flows, deployments, runs, and the work pools and queues of these, combined in any request for some."""

    flows: FlowFilter | None = None
    flow_runs: FlowRunFilter | None = None
    task_runs: TaskRunFilter | None = None
    deployments: DeploymentFilter | None = None
    work_pools: WorkPoolFilter | None = None
    work_pool_queues: WorkQueueFilter | None = None

    def filters(self) -> dict[str, Any]:
        return {
            "flows": self.flows,
            "flow_runs": self.flow_runs,
            "task_runs": self.task_runs,
            "deployments": self.deployments,
            "work_pools": self.work_pools,
            "work_pool_queues": self.work_pool_queues,
        }


class ActivityFilters(RunFilters):
    """The same where server 3.9.1 calls the filter of queues `work_queues`."""

    work_queues: WorkQueueFilter | None = None

    def filters(self) -> dict[str, Any]:
        filters = super().filters()
        return filters if self.work_queues is None else {**filters, "work_pool_queues": self.work_queues}


class Listing(RunFilters):
    """`columns` asks for these fields alone; with `cursor`, null at first, pages go by cursor instead of offset."""

    limit: int | None = None
    offset: int = Field(default=0, ge=0)
    columns: list[str] | None = None
    cursor: str | None = None
    sort: Any = None
    _query: PageQuery | None = PrivateAttr(None)

    def query(self, call: Call, kind: Kind) -> PageQuery:
        """The query that this asks for, put together the first time. Raises Refused (422)."""
        if self._query is None:
            by_cursor = "cursor" in self.model_fields_set
            if by_cursor and self.offset:
                raise Refused(422, "A list goes on either behind a cursor or behind an offset, not both.")
            columns = None if self.columns is None else tuple(self.columns)
            page = Page(page_of(call, self.limit), self.offset, by_cursor, self.cursor, columns)
            try:
                self._query = queries.page_query(kind, page, self.sort, **self.filters())
            except (UnusableCursor, UnknownColumn) as error:
                raise Refused(422, str(error)) from None
        return self._query


class Numbered(RunFilters):
    limit: int | None = None
    page: int = Field(default=1, ge=1)
    sort: Any = None


class Counting(RunFilters):
    _query: CountQuery | None = PrivateAttr(None)

    def query(self, kind: Kind) -> CountQuery:
        """The query that this asks for, put together the first time."""
        if self._query is None:
            self._query = CountQuery(kind, **self.filters())
        return self._query


class FilterFlows(Listing):
    sort: FlowSort | None = None


class CountFlows(Counting):
    pass


class PaginateFlows(Numbered):
    sort: FlowSort | None = None


class FilterDeployments(Listing):
    sort: DeploymentSort | None = None


class CountDeployments(Counting):
    pass


class PaginateDeployments(Numbered):
    sort: DeploymentSort | None = None


class FilterFlowRuns(Listing):
    """`as_of` asks for the runs that fitted at that time, as they were: see `past_runs` for what may be asked then."""

    sort: FlowRunSort | None = None
    as_of: PastTime | None = None


class CountFlowRuns(Counting):
    """`as_of` asks how many runs fitted at that time."""

    as_of: PastTime | None = None


class PaginateFlowRuns(Numbered):
    """`as_of` is as in FilterFlowRuns."""

    sort: FlowRunSort | None = None
    as_of: PastTime | None = None


class FilterTaskRuns(Listing):
    sort: TaskRunSort | None = None


class CountTaskRuns(Counting):
    pass


class PaginateTaskRuns(Numbered):
    sort: TaskRunSort | None = None


class FilterLogs(BaseModel):
    logs: LogFilter | None = None
    sort: LogSort | None = None
    limit: int | None = None
    offset: int | None = Field(default=None, ge=0)


async def listed(call: Call, kind: Kind, body: Listing) -> Answer:
    """The documents that a request asks for. Raises Refused (422)."""
    found = await call.services.reads.run(body.query(call, kind).read)
    return Answer(found.documents, headers=None if found.cursor is None else {NEXT_CURSOR: found.cursor})


async def paginated(call: Call, kind: Kind, body: Numbered) -> Answer:
    """One page with how many documents there are in all. Raises Refused (422)."""
    limit = page_of(call, body.limit)
    return Answer(
        await call.services.reads.run(
            queries.read_pages, kind, sort=body.sort, limit=limit, page=body.page, **body.filters()
        )
    )


async def number(call: Call, kind: Kind, body: Counting) -> Answer:
    """How many things fit."""
    return Answer(b"%d" % await call.services.reads.run(body.query(kind).read))


async def listed_past(call: Call, as_of: datetime, body: FilterFlowRuns) -> Answer:
    """The documents of flow runs as of a time. Raises Refused (422) where the past is not known by what is asked."""
    if "cursor" in body.model_fields_set or body.columns is not None:
        raise Refused(422, "With as_of, lists have no cursor, and their documents all fields.")
    _refuse_past_order(body.sort)
    page = {"limit": page_of(call, body.limit), "offset": body.offset, "mapper": call.services.mapper()}
    return Answer(await _of_past(call, read_past_flow_runs, as_of, **page, **body.filters()))


async def paginated_past(call: Call, as_of: datetime, body: PaginateFlowRuns) -> Answer:
    """One page of flow runs as of a time, with how many there were in all. Raises Refused (422)."""
    _refuse_past_order(body.sort)
    limit, filters = page_of(call, body.limit), body.filters()
    count = await _of_past(call, count_past_flow_runs, as_of, **filters)
    page = {"limit": limit, "offset": (body.page - 1) * limit, "mapper": call.services.mapper()}
    documents = await _of_past(call, read_past_flow_runs, as_of, **page, **filters)
    return Answer(queries.paginate(documents, count=count, limit=limit, page=body.page))


async def number_past(call: Call, as_of: datetime, body: CountFlowRuns) -> Answer:
    """How many flow runs fitted at a time. Raises Refused (422)."""
    return Answer(b"%d" % await _of_past(call, count_past_flow_runs, as_of, **body.filters()))


async def _of_past(call: Call, query: Callable[..., Awaitable[T]], as_of: datetime, **asked: Any) -> T:
    try:
        return await call.services.reads.run(query, as_of, **asked)
    except NotKnownOfThePast as error:
        raise Refused(422, str(error)) from None


def _refuse_past_order(sort: FlowRunSort | None) -> None:
    if sort not in (None, FlowRunSort.ID_DESC):
        raise Refused(422, f"With as_of, lists are in the order {FlowRunSort.ID_DESC.value}, not {sort.value}.")


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
