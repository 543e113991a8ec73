"""The graph of a flow run, in the shape of the first servers and in that of today's pages."""

from pydantic import TypeAdapter, ValidationError

from api.answer import Answer, answer
from api.call import Call
from api.endpoint import Endpoints
from api.errors import InvalidRequest, Refused
from api.moments import PLUS
from domain.times import Time
from projections import graph
from projections.graph import GraphTooLarge

endpoints = Endpoints()
SINCE: TypeAdapter[Time] = TypeAdapter(Time)


@endpoints.add(
    "GET",
    "/flow_runs/{id}/graph",
    "Read which task runs depend on which",
    answers={200: "The task runs of the flow run", 404: "There is no such flow run"},
)
async def read_task_run_dependencies(call: Call) -> Answer:
    id = call.id()
    found = await call.services.reads.run(graph.read_task_run_dependencies, id)
    return _missing(f"Flow run with id {id} not found") if found is None else Answer(found)


@endpoints.add(
    "GET",
    "/flow_runs/{id}/graph-v2",
    "Read the nodes and edges of a flow run; with `since`, those that had not ended by then",
    answers={200: "The graph", 400: "It is too large", 404: "There is no such flow run"},
    options=("since",),
)
async def read_flow_run_graph(call: Call) -> Answer:
    id, text = call.id(), call.query("since")
    try:
        since = None if text is None else SINCE.validate_python(PLUS.sub("+", text))
    except ValidationError as error:
        details = [{**detail, "loc": ["query", "since"]} for detail in error.errors(include_url=False)]
        raise InvalidRequest(details, None) from None
    try:
        found = await call.services.reads.run(graph.read_graph, id, since)
    except GraphTooLarge as error:
        raise Refused(400, str(error)) from None
    return _missing(f"Flow run {id} not found") if found is None else Answer(found)


def _missing(sentence: str) -> Answer:
    return answer({"exception_message": sentence}, 404)
