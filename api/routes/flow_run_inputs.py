"""Inputs of flow runs: written, read, listed, deleted; and paused flow runs resumed, with or without one."""

from api.answer import NO_CONTENT, Answer
from api.bodies import FilterInputs, InputCreate, ResumeBody
from api.call import Call
from api.endpoint import Endpoints
from api.errors import INPUT_NOT_FOUND, Refused
from api.routes.answers import orchestrated
from api.routes.listing import page_of
from domain.commands.flow_run_inputs import DeleteFlowRunInput, ResumeFlowRun, WriteFlowRunInput
from domain.ids import new_id
from projections import inputs

endpoints = Endpoints()
NONE = "There is none"


@endpoints.add(
    "POST",
    "/flow_runs/{id}/resume",
    "Let a paused flow run go on, with the input that it waits for",
    body=ResumeBody,
    answers={201: "A new state was set", 200: "The run stays in its state", 404: NONE},
)
async def resume_flow_run(call: Call, body: ResumeBody) -> Answer:
    command = ResumeFlowRun(caller=call.caller, id=call.id(), state_id=new_id(), run_input=body.run_input)
    return orchestrated(await call.execute(command))


@endpoints.add(
    "POST",
    "/flow_runs/{id}/input",
    "Give a flow run something to read under a key",
    body=InputCreate,
    answers={201: "It is written", 404: NONE, 409: "The key is taken"},
)
async def create_flow_run_input(call: Call, body: InputCreate) -> Answer:
    await call.execute(WriteFlowRunInput(caller=call.caller, id=call.id(), input_id=new_id(), **dict(body)))
    return Answer(b"null", 201)


@endpoints.add(
    "POST",
    "/flow_runs/{id}/input/filter",
    "List inputs of a flow run by what their keys begin with, oldest first",
    body=FilterInputs,
    answers={200: "The inputs"},
)
async def filter_flow_run_inputs(call: Call, body: FilterInputs) -> Answer:
    limit = page_of(call, body.limit)
    return Answer(
        await call.services.reads.run(
            inputs.read_inputs, call.id(), prefix=body.prefix, limit=limit, exclude_keys=body.exclude_keys
        )
    )


@endpoints.add(
    "GET",
    "/flow_runs/{id}/input/{key}",
    "Read the value of an input, as it was written",
    answers={200: "The value, as text", 404: NONE},
)
async def read_flow_run_input(call: Call) -> Answer:
    value = await call.services.reads.run(inputs.read_input_value, call.id(), call.text("key"))
    if value is None:
        raise Refused(404, INPUT_NOT_FOUND)
    return Answer(value, content_type=b"text/plain; charset=utf-8")


@endpoints.add(
    "DELETE",
    "/flow_runs/{id}/input/{key}",
    "Delete an input of a flow run; that it was there stays in the ledger",
    answers={204: "Done", 404: NONE},
)
async def delete_flow_run_input(call: Call) -> Answer:
    await call.execute(DeleteFlowRunInput(caller=call.caller, id=call.id(), key=call.text("key")))
    return NO_CONTENT
