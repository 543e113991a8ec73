"""Work pools: made, read, changed, deleted, listed; the runs that wait in one; its workers."""

from uuid import UUID

from api.answer import NO_CONTENT, Answer, answer
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused
from api.job_variables import check_template
from api.routes.answers import made
from api.routes.listing import page_of
from api.work_bodies import (
    CountWorkPools,
    FilterWorkers,
    FilterWorkPools,
    Heartbeat,
    ScheduledRunsOfPool,
    SlotsOfPool,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from domain.commands.command import Deleted
from domain.commands.work_pools import CreateWorkPool, DeleteWorkPool, UpdateWorkPool
from domain.errors import NameTaken, NoSuchWorkQueue, UnknownWorkPool
from domain.ids import new_id
from projections import scheduled_work, work
from projections.scheduled_work import Asked

endpoints = Endpoints()
NONE = "There is none"
RESERVED = "Its name is reserved"
NO_POOL = "There is no such work pool"
UNFIT = "Default values of its job template do not fit"


async def pool_id_of(call: Call, name: str) -> UUID:
    """The id of the work pool that a path names. Raises UnknownWorkPool."""
    id = await call.services.reads.run(work.find_pool, name)
    if id is None:
        raise UnknownWorkPool(name)
    return id


@endpoints.add(
    "POST",
    "/work_pools/",
    "Make a work pool with its default queue",
    body=WorkPoolCreate,
    answers={201: "The new work pool", 403: RESERVED, 409: "There is one of that name", 422: UNFIT},
)
async def create_work_pool(call: Call, body: WorkPoolCreate) -> Answer:
    await check_template(body.base_job_template, "creating")
    command = CreateWorkPool(caller=call.caller, id=new_id(), name=body.name, type=body.type, settings=body.settings())
    try:
        return made(await call.execute(command))
    except NameTaken:
        raise Refused(409, "A work pool with this name already exists.") from None


@endpoints.add("GET", "/work_pools/{name}", "Read a work pool", answers={200: "The work pool", 404: NONE})
async def read_work_pool(call: Call) -> Answer:
    name = call.text("name")
    document = await call.services.reads.run(work.read_pool, name)
    if document is None:
        raise UnknownWorkPool(name)
    return Answer(document)


@endpoints.add(
    "POST", "/work_pools/filter", "List work pools by name", body=FilterWorkPools, answers={200: "The work pools"}
)
async def read_work_pools(call: Call, body: FilterWorkPools) -> Answer:
    limit = page_of(call, body.limit)
    pools = call.services.reads.run(work.read_pools, body.work_pools, limit=limit, offset=body.offset or 0)
    return Answer(await pools)


@endpoints.add("POST", "/work_pools/count", "Count work pools", body=CountWorkPools, answers={200: "Their number"})
async def count_work_pools(call: Call, body: CountWorkPools) -> Answer:
    return answer(await call.services.reads.run(work.count_pools, body.work_pools))


@endpoints.add(
    "PATCH",
    "/work_pools/{name}",
    "Change what the body names of a work pool",
    body=WorkPoolUpdate,
    answers={204: "Done", 403: RESERVED, 404: NONE, 422: UNFIT},
)
async def update_work_pool(call: Call, body: WorkPoolUpdate) -> Answer:
    await check_template(body.base_job_template or {}, "updating")
    await call.execute(UpdateWorkPool(caller=call.caller, name=call.text("name"), changes=body.settings()))
    return NO_CONTENT


@endpoints.add(
    "DELETE",
    "/work_pools/{name}",
    "Delete a work pool and its queues; deployments and runs stay",
    answers={204: "Done", 403: RESERVED, 404: NONE},
)
async def delete_work_pool(call: Call) -> Answer:
    command = DeleteWorkPool(caller=call.caller, name=call.text("name"))
    while True:
        result = await call.execute(command)
        if isinstance(result, Deleted) and result.finished:
            return NO_CONTENT


@endpoints.add(
    "POST",
    "/work_pools/{name}/get_scheduled_flow_runs",
    "List runs that a worker may start: by priority of their queues, then by time, as many as have free slots",
    body=ScheduledRunsOfPool,
    answers={200: "The runs, each with the ids of its pool and queue", 404: "There is no such pool, or queue of it"},
)
async def get_scheduled_flow_runs(call: Call, body: ScheduledRunsOfPool) -> Answer:
    name, limit = call.text("name"), page_of(call, body.limit)
    reads, pool_id = call.services.reads, await pool_id_of(call, name)
    names = body.work_queue_names or None
    queues: list[UUID] | None = None
    if names is not None:
        known = await reads.run(scheduled_work.queues_named, pool_id, names)
        for queue in names:
            if queue not in known:
                raise NoSuchWorkQueue(f"{name}/{queue}")
        queues = list(known.values())
    asked = Asked(limit, body.scheduled_before, body.scheduled_after)
    runs = await reads.run(scheduled_work.read_scheduled, pool_id, queues, asked)
    await reads.run(work.note_pool_polled, pool_id, names)
    return Answer(runs)


@endpoints.add(
    "POST",
    "/work_pools/{name}/concurrency_status",
    "Tell how many slots of a work pool and of its queues are taken, and by which runs",
    body=SlotsOfPool,
    answers={200: "The slots, and one page of queues", 404: NONE},
)
async def read_work_pool_slots(call: Call, body: SlotsOfPool) -> Answer:
    name, limit = call.text("name"), page_of(call, body.limit)
    slots = await call.services.reads.run(
        scheduled_work.read_pool_slots, name, limit=limit, page=body.page, flow_run_limit=body.flow_run_limit
    )
    if slots is None:
        raise UnknownWorkPool(name)
    return Answer(slots)


@endpoints.add(
    "POST",
    "/work_pools/{work_pool_name}/workers/heartbeat",
    "Say that a worker is there",
    body=Heartbeat,
    answers={204: "Done", 404: NO_POOL},
)
async def worker_heartbeat(call: Call, body: Heartbeat) -> Answer:
    pool_id = await pool_id_of(call, call.text("work_pool_name"))
    await call.services.reads.run(work.note_heartbeat, pool_id, body.name, body.heartbeat_interval_seconds)
    return NO_CONTENT


@endpoints.add(
    "POST",
    "/work_pools/{work_pool_name}/workers/filter",
    "List the workers of a pool, those heard of last first",
    body=FilterWorkers,
    answers={200: "The workers", 404: NO_POOL},
)
async def read_workers(call: Call, body: FilterWorkers) -> Answer:
    limit = page_of(call, body.limit)
    pool_id = await pool_id_of(call, call.text("work_pool_name"))
    workers = call.services.reads.run(work.read_workers, pool_id, body.workers, limit=limit, offset=body.offset or 0)
    return Answer(await workers)


@endpoints.add(
    "DELETE",
    "/work_pools/{work_pool_name}/workers/{name}",
    "Forget a worker of a pool",
    answers={204: "Done", 404: NONE},
)
async def delete_worker(call: Call) -> Answer:
    pool_id = await pool_id_of(call, call.text("work_pool_name"))
    if not await call.services.reads.run(work.forget_worker, pool_id, call.text("name")):
        raise Refused(404, "Worker not found.")
    return NO_CONTENT
