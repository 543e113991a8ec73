"""Flow runs: made, read, changed, deleted; states proposed; lists and counts."""

from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from api.answer import NO_CONTENT, Answer
from api.bodies import FlowRunCreate, SetStateBody, pending, run_name
from api.call import Call
from api.endpoint import Endpoints
from api.job_variables import check_variables
from api.routes.answers import explained, made, orchestrated
from api.routes.audit import found_or_archived, read_past
from api.routes.listing import (
    CountFlowRuns,
    FilterFlowRuns,
    PaginateFlowRuns,
    listed,
    listed_past,
    number,
    number_past,
    paginated,
    paginated_past,
)
from domain.commands.command import Deleted
from domain.commands.flow_runs import (
    CreateFlowRun,
    DeleteFlowRun,
    ExplainFlowRunState,
    LabelFlowRun,
    SetFlowRunState,
    UpdateFlowRun,
)
from domain.errors import JobVariablesUnchecked
from domain.flow import Labels
from domain.flow_run import FlowRun, FlowRunChanges, FlowRunFacts
from domain.ids import new_id
from projections import queries

endpoints = Endpoints()
LABELS: TypeAdapter[Any] = TypeAdapter(Labels)
NONE = "There is none"


@endpoints.add(
    "POST",
    "/flow_runs/{id}/set_state",
    "Propose a state for a flow run",
    body=SetStateBody,
    answers={201: "A new state was set", 200: "The run stays in its state", 404: NONE},
)
async def set_flow_run_state(call: Call, body: SetStateBody) -> Answer:
    command = SetFlowRunState(
        caller=call.caller, id=call.id(), state=body.state.proposed(call.dialect), force=body.force
    )
    return orchestrated(await call.execute(command))


@endpoints.add(
    "POST",
    "/flow_runs/{id}/explain_state",
    "Ask what would become of a proposed state, and what each rule says to it; nothing happens",
    body=SetStateBody,
    answers={200: "The verdict, the rule that gave it, and what each rule said in order", 404: NONE},
)
async def explain_flow_run_state(call: Call, body: SetStateBody) -> Answer:
    state = body.state.proposed(call.dialect)
    return explained(
        await call.execute(ExplainFlowRunState(caller=call.caller, id=call.id(), state=state, force=body.force))
    )


@endpoints.add(
    "GET",
    "/flow_runs/{id}",
    "Read a flow run; with `as_of`, as it was after the event of that version or at that time",
    answers={200: "The flow run", 404: NONE},
    options=("as_of",),
)
async def read_flow_run(call: Call) -> Answer:
    id, as_of = call.id(), call.query("as_of")
    if as_of is not None:
        return await read_past(call, FlowRun, id, as_of)
    return await found_or_archived(call, FlowRun, id, await call.services.flow_runs.read(id))


@endpoints.add(
    "POST",
    "/flow_runs/",
    "Make a flow run, or find the one made under the same idempotency key",
    body=FlowRunCreate,
    answers={
        201: "The new flow run",
        200: "The flow run that was there",
        404: "Its work pool does not exist",
        409: "It names what does not exist",
    },
)
async def create_flow_run(call: Call, body: FlowRunCreate) -> Answer:
    given = {**dict(body), "name": run_name(body.name), "labels": body.labels or {}}
    state = body.state.proposed(call.dialect) if body.state else pending()
    command = CreateFlowRun(caller=call.caller, id=new_id(), facts=FlowRunFacts(**given), state=state)
    return made(await call.execute(command))


@endpoints.add("POST", "/flow_runs/filter", "List flow runs", body=FilterFlowRuns, answers={200: "The flow runs"})
async def read_flow_runs(call: Call, body: FilterFlowRuns) -> Answer:
    if body.as_of is not None:
        return await listed_past(call, body.as_of, body)
    return await listed(call, queries.LISTED_FLOW_RUNS, body)


@endpoints.add("POST", "/flow_runs/count", "Count flow runs", body=CountFlowRuns, answers={200: "Their number"})
async def count_flow_runs(call: Call, body: CountFlowRuns) -> Answer:
    if body.as_of is not None:
        return await number_past(call, body.as_of, body)
    return await number(call, queries.LISTED_FLOW_RUNS, body)


@endpoints.add(
    "POST", "/flow_runs/paginate", "List flow runs by pages", body=PaginateFlowRuns, answers={200: "One page"}
)
async def paginate_flow_runs(call: Call, body: PaginateFlowRuns) -> Answer:
    if body.as_of is not None:
        return await paginated_past(call, body.as_of, body)
    return await paginated(call, queries.LISTED_FLOW_RUNS, body)


@endpoints.add(
    "PATCH",
    "/flow_runs/{id}",
    "Change what the body names of a flow run",
    body=FlowRunChanges,
    answers={204: "Done", 400: "It is too late to change its job variables", 404: NONE},
)
async def update_flow_run(call: Call, body: FlowRunChanges) -> Answer:
    command = UpdateFlowRun(caller=call.caller, id=call.id(), changes=body)
    while True:
        try:
            await call.execute(command)
        except JobVariablesUnchecked as unfit:
            await check_variables(unfit, "updating flow run")
            command = replace(command, fits=unfit.stamp)
        else:
            return NO_CONTENT


@endpoints.add(
    "PATCH", "/flow_runs/{id}/labels", "Add labels to a flow run", body=Labels, answers={204: "Done", 404: NONE}
)
async def update_flow_run_labels(call: Call) -> Answer:
    labels = await call.parse_as(LABELS)
    await call.execute(LabelFlowRun(caller=call.caller, id=call.id(), labels=labels))
    return NO_CONTENT


@endpoints.add(
    "DELETE",
    "/flow_runs/{id}",
    "Delete a flow run and its task runs; their history stays in the ledger",
    answers={204: "Done", 404: NONE},
)
async def delete_flow_run(call: Call) -> Answer:
    command = DeleteFlowRun(caller=call.caller, id=call.id())
    while True:
        answer = await call.execute(command)
        if isinstance(answer, Deleted) and answer.finished:
            return NO_CONTENT
