"""Concurrency limits on tags, as clients of every version ask for them; and who holds the slots of any limit."""

from uuid import UUID

from pydantic import Field

from api.answer import Answer, answer
from api.bodies import Body
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused
from api.routes.answers import found
from api.routes.limits import Listing, in_short, slots_of, tidy
from api.routes.listing import page_of
from domain.commands.command import Made
from domain.commands.limits import CreateLimit, DeleteLimit, ResetLimit
from domain.commands.slot_requests import ReturnSlots, TakeSlots
from domain.commands.slots import LONGEST_WAIT
from domain.concurrency_limit import Holder, LimitChanges, SlotCount
from domain.errors import MoreThanLimit, NoSuchLimit
from domain.ids import new_id
from domain.orchestration.limit_rules import TAG, tag_limit
from projections import limits

endpoints = Endpoints()
KIND = "Concurrency limit"
NONE = "There is none"


class TagLimitCreate(Body):
    tag: str = Field(min_length=1)
    concurrency_limit: SlotCount


class Reset(Body):
    slot_override: list[UUID] | None = None


class TagSlots(Body):
    """Slots that a task run wants to hold, or gives back, of the limits on these tags."""

    names: list[str]
    task_run_id: UUID


@endpoints.add(
    "POST",
    "/concurrency_limits/",
    "Limit how many task runs with a tag run at once, or change the limit there is",
    body=TagLimitCreate,
    answers={201: "The new limit", 200: "The limit that was there, changed; or, to 2.x clients, any"},
)
async def create_tag_limit(call: Call, body: TagLimitCreate) -> Answer:
    facts = LimitChanges(name=tag_limit(body.tag), limit=body.concurrency_limit)
    made = await call.execute(CreateLimit(caller=call.caller, id=new_id(), facts=facts, replaces=True))
    if not isinstance(made, Made):
        raise TypeError("A creation is answered by what was made")
    document = await call.services.reads.run(limits.read_tag_limit, made.id)
    tells_new = call.dialect in ("prefect-3", "strict")
    return Answer(document, 201 if made.created and tells_new else 200)


@endpoints.add("GET", "/concurrency_limits/{id}", "Read a limit on a tag", answers={200: "The limit", 404: NONE})
async def read_tag_limit(call: Call) -> Answer:
    return await _read(call, call.id())


@endpoints.add("GET", "/concurrency_limits/tag/{tag}", "Read the limit on a tag", answers={200: "The limit", 404: NONE})
async def read_limit_on_tag(call: Call) -> Answer:
    return await _read(call, tag_limit(call.text("tag")))


async def _read(call: Call, limit: UUID | str) -> Answer:
    known = await call.services.reads.run(limits.find_limit, limit)
    if known is None or not known[1].startswith(TAG):
        raise Refused(404, f"{KIND} not found")
    await tidy(call, known[0])
    return found(await call.services.reads.run(limits.read_tag_limit, known[0]), KIND)


@endpoints.add(
    "GET",
    "/concurrency_limits/{id}/holders",
    "Who holds slots of a limit of any kind, since when, and until when if they are leased",
    answers={200: "The holders", 404: NONE},
)
async def read_holders(call: Call) -> Answer:
    known = await call.services.reads.run(limits.find_limit, call.id())
    if known is None:
        raise Refused(404, f"{KIND} not found")
    await tidy(call, known[0])
    return Answer(await call.services.reads.run(limits.read_holders, known[0]))


@endpoints.add("POST", "/concurrency_limits/filter", "List limits on tags", body=Listing, answers={200: "The limits"})
async def read_tag_limits(call: Call, body: Listing) -> Answer:
    size = page_of(call, body.limit)
    await tidy(call)
    return Answer(await call.services.reads.run(limits.read_tag_limits, limit=size, offset=body.offset))


@endpoints.add("DELETE", "/concurrency_limits/{id}", "Delete a limit on a tag", answers={200: "It is gone", 404: NONE})
async def delete_tag_limit(call: Call) -> Answer:
    return await _delete(call, call.id())


@endpoints.add(
    "DELETE", "/concurrency_limits/tag/{tag}", "Delete the limit on a tag", answers={200: "It is gone", 404: NONE}
)
async def delete_limit_on_tag(call: Call) -> Answer:
    return await _delete(call, tag_limit(call.text("tag")))


async def _delete(call: Call, limit: UUID | str) -> Answer:
    try:
        await call.execute(DeleteLimit(caller=call.caller, limit=limit))
    except NoSuchLimit:
        raise Refused(404, f"{KIND} not found") from None
    return Answer(b"null")


@endpoints.add(
    "POST",
    "/concurrency_limits/tag/{tag}/reset",
    "Take all slots back, and give one each to these task runs",
    body=Reset,
    answers={200: "Done", 404: NONE},
)
async def reset_limit_on_tag(call: Call, body: Reset) -> Answer:
    name, task_runs = tag_limit(call.text("tag")), tuple(body.slot_override or ())
    try:
        await call.execute(ResetLimit(caller=call.caller, limit=name, task_runs=task_runs))
    except NoSuchLimit:
        raise Refused(404, f"{KIND} not found") from None
    return Answer(b"null")


@endpoints.add(
    "POST",
    "/concurrency_limits/increment",
    "Hold a slot of the limit on each of these tags for a task run",
    body=TagSlots,
    answers={200: "The limits", 423: "A limit is reached"},
)
async def increment_tag_limits(call: Call, body: TagSlots) -> Answer:
    holder = Holder(type="task_run", id=body.task_run_id)
    names = tuple(map(tag_limit, body.names))
    command = TakeSlots(caller=call.caller, id=body.task_run_id, names=names, slots=1, holder=holder)
    try:
        result = slots_of(await call.execute(command))
    except MoreThanLimit:
        raise Refused(423, "The concurrency limit on one of the tags is 0: the task could never run.") from None
    if not result.granted:
        tag = result.blocked_by.removeprefix(TAG)
        detail = f"Concurrency limit for the {tag} tag has been reached"
        return answer({"detail": detail}, 423, {"Retry-After": str(LONGEST_WAIT)})
    named = [{**limit, "name": str(limit["name"]).removeprefix(TAG)} for limit in in_short(result.limits)]
    return answer(named)


@endpoints.add(
    "POST",
    "/concurrency_limits/decrement",
    "Give back what a task run holds of the limits on these tags",
    body=TagSlots,
    answers={200: "The limits"},
)
async def decrement_tag_limits(call: Call, body: TagSlots) -> Answer:
    names = tuple(map(tag_limit, body.names))
    command = ReturnSlots(caller=call.caller, names=names, holder_id=body.task_run_id)
    return answer(in_short(slots_of(await call.execute(command)).limits))
