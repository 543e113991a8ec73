"""Work queues, addressed by their ids, or by their pool's name and their own; and the runs that agents get of one."""

from uuid import UUID

from api.answer import NO_CONTENT, Answer, answer
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused
from api.routes.answers import made
from api.routes.listing import page_of
from api.routes.work_pools import NO_POOL, NONE, pool_id_of
from api.work_bodies import FilterWorkQueues, RunsOfQueue, Slots, WorkQueueCreate, WorkQueueUpdate
from domain.commands.work_queues import CreateWorkQueue, DeleteWorkQueue, UpdateWorkQueue
from domain.errors import NameTaken, NoSuchWorkQueue
from domain.ids import new_id
from projections import queries, scheduled_work, work
from projections.scheduled_work import Asked

endpoints = Endpoints()
KIND = "work queue"
TAKEN = "There is one of that name"
IS_DEFAULT = "It is the default queue of its pool"


def queue_found(document: bytes | None) -> Answer:
    """The document of a queue, or what the recorded servers say where there is none."""
    if document is None:
        raise Refused(404, f"{KIND} not found")
    return Answer(document)


async def execute_on(call: Call, command: UpdateWorkQueue | DeleteWorkQueue, missing: str) -> Answer:
    """Do it to the queue of an id; `missing` is what is said where there is none."""
    try:
        await call.execute(command)
    except NoSuchWorkQueue:
        raise Refused(404, missing) from None
    except NameTaken:
        raise Refused(409, "A work queue with this name already exists.") from None
    return NO_CONTENT


async def create_queue(call: Call, body: WorkQueueCreate, pool_name: str | None) -> Answer:
    command = CreateWorkQueue(
        caller=call.caller, id=new_id(), pool_name=pool_name, settings=body.settings(), priority=body.priority
    )
    try:
        return made(await call.execute(command))
    except NameTaken:
        where = "" if pool_name is None else f" in work pool {pool_name!r}"
        raise Refused(409, f"A work queue with this name already exists{where}.") from None


@endpoints.add(
    "POST",
    "/work_queues/",
    "Make a work queue for agents",
    body=WorkQueueCreate,
    answers={201: "The new work queue", 409: TAKEN},
)
async def create_work_queue(call: Call, body: WorkQueueCreate) -> Answer:
    return await create_queue(call, body, None)


@endpoints.add("GET", "/work_queues/{id}", "Read a work queue", answers={200: "The work queue", 404: NONE})
async def read_work_queue(call: Call) -> Answer:
    return queue_found(await call.services.reads.run(work.read_queue, call.id()))


@endpoints.add(
    "GET",
    "/work_queues/name/{name}",
    "Read the work queue of that name that agents ask",
    answers={200: "The work queue", 404: NONE},
)
async def read_work_queue_by_name(call: Call) -> Answer:
    return queue_found(await call.services.reads.run(work.read_queue_by_name, call.text("name")))


@endpoints.add(
    "PATCH",
    "/work_queues/{id}",
    "Change what the body names of a work queue",
    body=WorkQueueUpdate,
    answers={204: "Done", 404: NONE, 409: TAKEN},
)
async def update_work_queue(call: Call, body: WorkQueueUpdate) -> Answer:
    id = call.id()
    return await execute_on(
        call, UpdateWorkQueue(caller=call.caller, id=id, changes=body.settings()), f"Work Queue {id} not found"
    )


@endpoints.add(
    "DELETE",
    "/work_queues/{id}",
    "Delete a work queue; what was in it stays",
    answers={204: "Done", 404: NONE, 409: IS_DEFAULT},
)
async def delete_work_queue(call: Call) -> Answer:
    return await execute_on(call, DeleteWorkQueue(caller=call.caller, id=call.id()), f"{KIND} not found")


@endpoints.add(
    "POST", "/work_queues/filter", "List work queues by name", body=FilterWorkQueues, answers={200: "The work queues"}
)
async def read_work_queues(call: Call, body: FilterWorkQueues) -> Answer:
    limit = page_of(call, body.limit)
    queues = call.services.reads.run(work.read_queues, body.work_queues, limit=limit, offset=body.offset or 0)
    return Answer(await queues)


@endpoints.add(
    "POST",
    "/work_queues/{id}/get_runs",
    "List runs that an agent may start, by time, as many as have free slots",
    body=RunsOfQueue,
    answers={200: "The runs", 404: NONE},
)
async def read_work_queue_runs(call: Call, body: RunsOfQueue) -> Answer:
    id, asked = call.id(), Asked(page_of(call, body.limit), body.scheduled_before)
    runs = await call.services.reads.run(scheduled_work.read_runs_of_queue, id, asked)
    if runs is None:
        raise Refused(404, f"Work queue with id {id} not found.")
    if call.header(b"x-prefect-ui") is None:
        # A page that looks at what waits in a queue starts nothing.
        await call.services.reads.run(work.note_polls, [id])
    return Answer(runs)


@endpoints.add(
    "GET",
    "/work_queues/{id}/status",
    "Tell whether a work queue is healthy",
    answers={200: "Its health, and by which rule", 404: NONE},
)
async def read_work_queue_status(call: Call) -> Answer:
    id = call.id()
    status = await call.services.reads.run(scheduled_work.read_queue_status, id)
    if status is None:
        raise Refused(404, f"Work queue with id {id} not found")
    return Answer(status)


@endpoints.add(
    "POST",
    "/work_queues/{id}/concurrency_status",
    "Tell how many slots of a work queue are taken, and by which runs",
    body=Slots,
    answers={200: "The slots, and one page of runs", 404: NONE},
)
async def read_work_queue_slots(call: Call, body: Slots) -> Answer:
    limit = page_of(call, body.limit)
    slots = await call.services.reads.run(scheduled_work.read_queue_slots, call.id(), limit=limit, page=body.page)
    if slots is None:
        raise Refused(404, "Work queue not found.")
    return Answer(slots)


@endpoints.add(
    "POST",
    "/work_pools/{work_pool_name}/queues",
    "Make a queue in a work pool",
    body=WorkQueueCreate,
    answers={201: "The new work queue", 404: NO_POOL, 409: TAKEN},
)
async def create_queue_of_pool(call: Call, body: WorkQueueCreate) -> Answer:
    return await create_queue(call, body, call.text("work_pool_name"))


def names_of(call: Call) -> tuple[str, str]:
    """The names of a pool and of one of its queues from the path."""
    return call.text("work_pool_name"), call.text("name")


@endpoints.add(
    "GET",
    "/work_pools/{work_pool_name}/queues/{name}",
    "Read a queue of a work pool",
    answers={200: "The work queue", 404: NONE},
)
async def read_queue_of_pool(call: Call) -> Answer:
    names = names_of(call)
    id: UUID | None = await call.services.reads.run(work.find_queue, *names)
    if id is None:
        raise NoSuchWorkQueue("/".join(names))
    return queue_found(await call.services.reads.run(work.read_queue, id))


@endpoints.add(
    "POST",
    "/work_pools/{work_pool_name}/queues/filter",
    "List the queues of a work pool by priority",
    body=FilterWorkQueues,
    answers={200: "The work queues", 404: NO_POOL},
)
async def read_queues_of_pool(call: Call, body: FilterWorkQueues) -> Answer:
    limit = page_of(call, body.limit)
    pool_id = await pool_id_of(call, call.text("work_pool_name"))
    queues = call.services.reads.run(
        work.read_queues, body.work_queues, pool_id=pool_id, limit=limit, offset=body.offset or 0
    )
    return Answer(await queues)


@endpoints.add(
    "PATCH",
    "/work_pools/{work_pool_name}/queues/{name}",
    "Change what the body names of a queue of a work pool",
    body=WorkQueueUpdate,
    answers={204: "Done", 404: NONE, 409: TAKEN},
)
async def update_queue_of_pool(call: Call, body: WorkQueueUpdate) -> Answer:
    names = names_of(call)
    command = UpdateWorkQueue(caller=call.caller, names=names, changes=body.settings())
    try:
        await call.execute(command)
    except NameTaken:
        raise Refused(409, f"A work queue with this name already exists in work pool {names[0]!r}.") from None
    return NO_CONTENT


@endpoints.add(
    "DELETE",
    "/work_pools/{work_pool_name}/queues/{name}",
    "Delete a queue of a work pool; what was in it stays",
    answers={204: "Done", 404: NONE, 409: IS_DEFAULT},
)
async def delete_queue_of_pool(call: Call) -> Answer:
    await call.execute(DeleteWorkQueue(caller=call.caller, names=names_of(call)))
    return NO_CONTENT


@endpoints.add(
    "GET",
    "/deployments/{id}/work_queue_check",
    "List the work queues that hand out runs of a deployment",
    answers={200: "The work queues", 404: NONE},
)
async def check_work_queues_of_deployment(call: Call) -> Answer:
    id = call.id()
    if await call.services.reads.run(queries.read_deployment, id) is None:
        return answer({"detail": "Deployment not found"}, 404)
    return Answer(await call.services.reads.run(work.read_queues_of_deployment, id))
