"""Flows: made by name, read, listed, counted."""

from api.answer import NO_CONTENT, Answer
from api.bodies import FlowCreate, FlowUpdate
from api.call import Call
from api.endpoint import Endpoints
from api.routes.answers import found, made
from api.routes.audit import read_past
from api.routes.listing import CountFlows, FilterFlows, PaginateFlows, listed, number, paginated
from domain.commands.flows import CreateFlow, UpdateFlow
from domain.flow import Flow
from domain.ids import new_id
from projections import queries

endpoints = Endpoints()


@endpoints.add(
    "POST",
    "/flows/",
    "Make a flow of that name, or find the one there is",
    body=FlowCreate,
    answers={201: "The new flow", 200: "The flow that had the name already"},
)
async def create_flow(call: Call, body: FlowCreate) -> Answer:
    command = CreateFlow(caller=call.caller, id=new_id(), name=body.name, tags=body.tags, labels=body.labels or {})
    return made(await call.execute(command))


@endpoints.add(
    "GET",
    "/flows/{id}",
    "Read a flow; with `as_of`, as it was after the event of that version or at that time",
    answers={200: "The flow", 404: "There is none"},
    options=("as_of",),
)
async def read_flow(call: Call) -> Answer:
    id, as_of = call.id(), call.query("as_of")
    if as_of is not None:
        return await read_past(call, Flow, id, as_of)
    return found(await call.services.reads.run(queries.read_flow, id), "Flow")


@endpoints.add("GET", "/flows/name/{name}", "Read a flow by its name", answers={200: "The flow", 404: "There is none"})
async def read_flow_by_name(call: Call) -> Answer:
    name = call.text("name")
    return found(await call.services.reads.run(queries.read_flow_by_name, name), "Flow")


@endpoints.add(
    "PATCH", "/flows/{id}", "Give a flow other tags", body=FlowUpdate, answers={204: "Done", 404: "There is none"}
)
async def update_flow(call: Call, body: FlowUpdate) -> Answer:
    tags = body.tags if "tags" in body.model_fields_set else None
    await call.execute(UpdateFlow(caller=call.caller, id=call.id(), tags=tags))
    return NO_CONTENT


@endpoints.add("POST", "/flows/filter", "List flows", body=FilterFlows, answers={200: "The flows"})
async def read_flows(call: Call, body: FilterFlows) -> Answer:
    return await listed(call, queries.LISTED_FLOWS, body)


@endpoints.add("POST", "/flows/count", "Count flows", body=CountFlows, answers={200: "Their number"})
async def count_flows(call: Call, body: CountFlows) -> Answer:
    return await number(call, queries.LISTED_FLOWS, body)


@endpoints.add("POST", "/flows/paginate", "List flows by pages", body=PaginateFlows, answers={200: "One page"})
async def paginate_flows(call: Call, body: PaginateFlows) -> Answer:
    return await paginated(call, queries.LISTED_FLOWS, body)
