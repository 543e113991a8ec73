"""The states that runs have had, each by its id or all of one run, oldest first."""

from api.answer import Answer
from api.call import Call
from api.endpoint import Endpoints
from api.routes.answers import found
from projections import queries

endpoints = Endpoints()


@endpoints.add("GET", "/flow_run_states/", "The history of a flow run, oldest state first", query=("flow_run_id",))
async def read_flow_run_states(call: Call) -> Answer:
    id = call.query_id("flow_run_id")
    return Answer(await call.services.reads.run(queries.read_flow_run_states, id))


@endpoints.add("GET", "/flow_run_states/{id}", "One state of a flow run")
async def read_flow_run_state(call: Call) -> Answer:
    id = call.id()
    return found(await call.services.reads.run(queries.read_flow_run_state, id), "Flow run state")


@endpoints.add("GET", "/task_run_states/", "The history of a task run, oldest state first", query=("task_run_id",))
async def read_task_run_states(call: Call) -> Answer:
    id = call.query_id("task_run_id")
    return Answer(await call.services.reads.run(queries.read_task_run_states, id))


@endpoints.add("GET", "/task_run_states/{id}", "One state of a task run")
async def read_task_run_state(call: Call) -> Answer:
    id = call.id()
    return found(await call.services.reads.run(queries.read_task_run_state, id), "Task run state")
