"""Concurrency limits by name, of any kind, and slots of them: with a lease, without one, or at a rate."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.answer import NO_CONTENT, Answer, answer
from api.bodies import FLOW_NAME, LONGEST_FLOW_NAME, Body
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused
from api.routes.answers import found, made
from api.routes.limits import Listing, id_or_name, in_short, locked, slots_of, tidy
from api.routes.listing import page_of
from domain.commands.limits import CreateLimit, DeleteLimit, UpdateLimit
from domain.commands.slot_requests import EndLease, RenewLease, ReturnSlots, TakeSlots
from domain.concurrency_limit import Decay, Holder, LimitChanges, SlotCount
from domain.errors import NoSuchLimit
from domain.ids import new_id
from projections import limits

endpoints = Endpoints()
KIND = "Concurrency Limit"
NONE = "There is none"

Name = Annotated[str, Field(pattern=FLOW_NAME, max_length=LONGEST_FLOW_NAME)]
Count = Annotated[int, Field(gt=0, lt=2**31)]
LeaseSeconds = Annotated[float, Field(ge=60, le=24 * 3600)]
Mode = Literal["concurrency", "rate_limit"]


class LimitCreate(Body):
    name: Name
    limit: SlotCount
    active: bool = True
    active_slots: SlotCount = 0
    denied_slots: SlotCount = 0
    slot_decay_per_second: Decay = 0


class LimitUpdate(LimitChanges):
    name: Name | None = None


class Increment(BaseModel):
    """Slots that a client wants to hold until it gives them back, or, at a rate, until they decay."""

    slots: Count
    names: list[str] = Field(min_length=1)
    mode: Mode = "concurrency"


class IncrementWithLease(Increment):
    """Slots that a client wants to hold for `lease_duration` seconds. `holder` says for what."""

    lease_duration: LeaseSeconds = 300
    holder: Holder | None = None


class Decrement(BaseModel):
    slots: Count
    names: list[str] = Field(min_length=1)
    occupancy_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class Lease(BaseModel):
    lease_id: UUID


class Renewal(BaseModel):
    lease_duration: LeaseSeconds = 300


@endpoints.add(
    "POST",
    "/v2/concurrency_limits/",
    "Make a limit",
    body=LimitCreate,
    answers={201: "The new limit", 409: "There is one of that name"},
)
async def create_limit(call: Call, body: LimitCreate) -> Answer:
    return made(await call.execute(CreateLimit(caller=call.caller, id=new_id(), facts=LimitChanges(**dict(body)))))


@endpoints.add("GET", "/v2/concurrency_limits/{id_or_name}", "Read a limit", answers={200: "The limit", 404: NONE})
async def read_limit(call: Call) -> Answer:
    known = await call.services.reads.run(limits.find_limit, id_or_name(call.text("id_or_name")))
    if known is None:
        raise Refused(404, f"{KIND} not found")
    await tidy(call, known[0])
    return found(await call.services.reads.run(limits.read_limit, known[0]), KIND)


@endpoints.add("POST", "/v2/concurrency_limits/filter", "List limits", body=Listing, answers={200: "The limits"})
async def read_limits(call: Call, body: Listing) -> Answer:
    size = page_of(call, body.limit)
    await tidy(call)
    return Answer(await call.services.reads.run(limits.read_limits, limit=size, offset=body.offset))


@endpoints.add(
    "PATCH",
    "/v2/concurrency_limits/{id_or_name}",
    "Change what the body names of a limit",
    body=LimitUpdate,
    answers={204: "Done", 404: NONE, 409: "There is one of that name"},
)
async def update_limit(call: Call, body: LimitUpdate) -> Answer:
    limit = id_or_name(call.text("id_or_name"))
    changes = LimitChanges(**body.model_dump(exclude_unset=True))
    try:
        await call.execute(UpdateLimit(caller=call.caller, limit=limit, changes=changes))
    except NoSuchLimit:
        raise Refused(404, f"{KIND} not found") from None
    return NO_CONTENT


@endpoints.add("DELETE", "/v2/concurrency_limits/{id_or_name}", "Delete a limit", answers={204: "Done", 404: NONE})
async def delete_limit(call: Call) -> Answer:
    try:
        await call.execute(DeleteLimit(caller=call.caller, limit=id_or_name(call.text("id_or_name"))))
    except NoSuchLimit:
        raise Refused(404, f"{KIND} not found") from None
    return NO_CONTENT


@endpoints.add(
    "POST",
    "/v2/concurrency_limits/increment",
    "Hold slots of named limits; names of limits that do not exist are left out",
    body=Increment,
    answers={200: "The limits", 422: "It could never be granted", 423: "Too few slots are free"},
)
async def increment(call: Call, body: Increment) -> Answer:
    command = _take(call, body)
    result = slots_of(await call.execute(command))
    return answer(in_short(result.limits)) if result.granted else locked(result, command.id)


@endpoints.add(
    "POST",
    "/v2/concurrency_limits/increment-with-lease",
    "Hold slots of named limits under a lease; names of limits that do not exist are left out",
    body=IncrementWithLease,
    answers={200: "The lease and the limits", 422: "It could never be granted", 423: "Too few slots are free"},
)
async def increment_with_lease(call: Call, body: IncrementWithLease) -> Answer:
    command = _take(call, body, body.lease_duration, body.holder)
    result = slots_of(await call.execute(command))
    if not result.granted:
        return locked(result, command.id)
    return answer({"lease_id": command.id, "limits": in_short(result.limits)})


def _take(call: Call, body: Increment, lease: float | None = None, holder: Holder | None = None) -> TakeSlots:
    return TakeSlots(
        caller=call.caller,
        id=new_id(),
        names=tuple(body.names),
        slots=body.slots,
        rate=body.mode == "rate_limit",
        lease_seconds=lease,
        holder=holder,
    )


@endpoints.add(
    "POST",
    "/v2/concurrency_limits/decrement",
    "Give slots of named limits back that were taken without a lease",
    body=Decrement,
    answers={200: "The limits"},
)
async def decrement(call: Call, body: Decrement) -> Answer:
    command = ReturnSlots(
        caller=call.caller, names=tuple(body.names), slots=body.slots, occupancy_seconds=body.occupancy_seconds
    )
    return answer(in_short(slots_of(await call.execute(command)).limits))


@endpoints.add(
    "POST",
    "/v2/concurrency_limits/decrement-with-lease",
    "Give back what is held under a lease",
    body=Lease,
    answers={204: "It is given back, or was over already"},
)
async def decrement_with_lease(call: Call, body: Lease) -> Answer:
    await call.execute(EndLease(caller=call.caller, lease_id=body.lease_id))
    return NO_CONTENT


@endpoints.add(
    "POST",
    "/v2/concurrency_limits/leases/{lease_id}/renew",
    "Keep what is held under a lease for another while",
    body=Renewal,
    answers={204: "Done", 410: "The lease is over"},
)
async def renew_lease(call: Call, body: Renewal) -> Answer:
    command = RenewLease(caller=call.caller, lease_id=call.id("lease_id"), seconds=body.lease_duration)
    if not slots_of(await call.execute(command)).granted:
        raise Refused(410, "The lease is over: it ran out, or was given back.")
    return NO_CONTENT
