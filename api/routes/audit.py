"""What the ledger says of one thing: its events, also after it was deleted, and what it was like at some time."""

import asyncio
from uuid import UUID

from api.answer import Answer, answer
from api.call import Call
from api.endpoint import Endpoints
from api.moments import LAST_VERSION, moment_of
from api.routes.answers import found
from api.routes.listing import page_of
from domain.aggregate import Aggregate
from domain.deployment import Deployment
from domain.flow import Flow
from domain.flow_run import FlowRun
from domain.run import Run
from domain.task_run import TaskRun
from projections import audit
from projections.archive.records import archive_of
from projections.as_of import read_as_of

endpoints = Endpoints()
ANSWERS = {
    200: "A page of events: `next_after` is what `after` must be for the next, null on the last",
    404: "There never was one",
}
PAGE = ("limit", "after")

NAMES: dict[type[Aggregate], str] = {TaskRun: "Task"}
"""What an aggregate is called where it is not found, if not by its kind."""


@endpoints.add("GET", "/flow_runs/{id}/events", "The events of a flow run, oldest first", answers=ANSWERS, options=PAGE)
async def read_flow_run_events(call: Call) -> Answer:
    return await _events(call, FlowRun)


@endpoints.add("GET", "/task_runs/{id}/events", "The events of a task run, oldest first", answers=ANSWERS, options=PAGE)
async def read_task_run_events(call: Call) -> Answer:
    return await _events(call, TaskRun)


@endpoints.add("GET", "/flows/{id}/events", "The events of a flow, oldest first", answers=ANSWERS, options=PAGE)
async def read_flow_events(call: Call) -> Answer:
    return await _events(call, Flow)


@endpoints.add(
    "GET", "/deployments/{id}/events", "The events of a deployment, oldest first", answers=ANSWERS, options=PAGE
)
async def read_deployment_events(call: Call) -> Answer:
    return await _events(call, Deployment)


async def read_past(call: Call, kind: type[Aggregate], id: UUID, as_of: str) -> Answer:
    """The document of one thing as of a moment, told from its events. Raises InvalidRequest (422)."""
    document = await call.services.reads.run(read_as_of, kind, id, moment_of(as_of), call.services.mapper())
    return await found_or_archived(call, kind, id, document)


async def found_or_archived(call: Call, kind: type[Aggregate], id: UUID, document: bytes | None) -> Answer:
    """The document of one thing; where there is none, 404 that says so, and in which archive a run is."""
    name = NAMES.get(kind, kind.kind)
    if document is None and issubclass(kind, Run):
        archive_id = await call.services.reads.run(archive_of, id)
        if archive_id is not None:
            return answer({"detail": f"{name} not found: it is in the archive {archive_id}"}, 404)
    return found(document, name)


async def _events(call: Call, kind: type[Aggregate]) -> Answer:
    id, after = call.id(), call.query_number("after", LAST_VERSION) or 0
    limit = page_of(call, call.query_number("limit"))
    rows = await call.services.reads.run(audit.read_events, kind, id, after=after, limit=limit)
    if rows is None:
        return found(None, NAMES.get(kind, kind.kind))
    mapper = call.services.mapper()
    page = await asyncio.to_thread(audit.page_of_events, kind, id, rows, after=after, limit=limit, mapper=mapper)
    return Answer(page)
