"""What the pages of clients ask for beside lists and counts."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from api.answer import Answer, answer
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused
from api.routes.answers import found
from api.routes.listing import ActivityFilters, RunFilters
from projections import pages
from projections.filters import TaskRunFilter
from projections.sorting import FlowRunSort

endpoints = Endpoints()
Ids = Annotated[list[UUID], Field(max_length=200)]
MINUTE = timedelta(minutes=1)


class Dots(RunFilters):
    sort: FlowRunSort = FlowRunSort.EXPECTED_START_TIME_DESC
    limit: int = Field(default=1000, ge=0, le=1000)
    offset: int = Field(default=0, ge=0)


class FlowRunIds(BaseModel):
    flow_run_ids: Ids


class FlowIds(BaseModel):
    flow_ids: Ids


class CountByState(RunFilters):
    pass


class Activity(ActivityFilters):
    task_runs: TaskRunFilter


@endpoints.add(
    "POST",
    "/ui/flow_runs/history",
    "List when flow runs began, how long they took and how late they were",
    body=Dots,
    answers={200: "The flow runs"},
)
async def read_flow_run_dots(call: Call, body: Dots) -> Answer:
    return Answer(
        await call.services.reads.run(
            pages.read_dots, sort=body.sort, limit=body.limit, offset=body.offset, **body.filters()
        )
    )


@endpoints.add(
    "POST",
    "/ui/flow_runs/count-task-runs",
    "Count the task runs of flow runs",
    body=FlowRunIds,
    answers={200: "Their number for each flow run"},
)
async def count_task_runs_of(call: Call, body: FlowRunIds) -> Answer:
    return answer(await call.services.reads.run(pages.count_task_runs_of, body.flow_run_ids))


@endpoints.add(
    "POST",
    "/ui/flows/count-deployments",
    "Count the deployments of flows",
    body=FlowIds,
    answers={200: "Their number for each flow"},
)
async def count_deployments_of(call: Call, body: FlowIds) -> Answer:
    return answer(await call.services.reads.run(pages.count_deployments_of, body.flow_ids))


@endpoints.add(
    "POST",
    "/ui/flows/next-runs",
    "Tell which run of each flow is scheduled next",
    body=FlowIds,
    answers={200: "The run of each flow, or null"},
)
async def next_runs_of(call: Call, body: FlowIds) -> Answer:
    return Answer(await call.services.reads.run(pages.next_runs_of, body.flow_ids))


@endpoints.add(
    "POST", "/ui/task_runs/count", "Count task runs by state", body=CountByState, answers={200: "Their numbers"}
)
async def count_task_runs_by_state(call: Call, body: CountByState) -> Answer:
    return answer(await call.services.reads.run(pages.count_task_runs_by_state, **body.filters()))


@endpoints.add(
    "POST",
    "/ui/task_runs/dashboard/counts",
    "Count the task runs that ended, by when they began",
    body=Activity,
    answers={200: "How many completed and failed in each twentieth of the time that is asked for"},
)
async def read_activity(call: Call, body: Activity) -> Answer:
    asked = body.task_runs.start_time
    if asked is None or asked.after_ is None:
        raise Refused(422, "task_runs.start_time.after_ is required")
    start = asked.after_.replace(second=0, microsecond=0)
    end = (asked.before_ or datetime.now(UTC)).replace(second=0, microsecond=0)
    if end.year < datetime.max.year:
        end += MINUTE
    if end <= start:
        raise Refused(422, "task_runs.start_time.before_ must not be before task_runs.start_time.after_")
    return answer(await call.services.reads.run(pages.read_activity, start=start, end=end, **body.filters()))


@endpoints.add(
    "GET",
    "/ui/task_runs/{id}",
    "Read a task run with the name of its flow run",
    answers={200: "The task run", 404: "There is none"},
)
async def read_task_run_for_page(call: Call) -> Answer:
    id = call.id()
    return found(await call.services.reads.run(pages.read_task_run, id), "Task")
