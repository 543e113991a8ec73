"""Task runs: made, read, changed, deleted; states proposed; lists and counts."""

from api.answer import NO_CONTENT, Answer
from api.bodies import SetStateBody, TaskRunCreate, TaskRunUpdate, pending, run_name
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused
from api.routes.answers import explained, made, orchestrated
from api.routes.audit import found_or_archived, read_past
from api.routes.listing import CountTaskRuns, FilterTaskRuns, PaginateTaskRuns, listed, number, paginated
from domain.commands.task_runs import CreateTaskRun, DeleteTaskRun, ExplainTaskRunState, SetTaskRunState, UpdateTaskRun
from domain.errors import NotFound
from domain.ids import new_id
from domain.task_run import TaskRun, TaskRunFacts
from projections import queries

endpoints = Endpoints()
NONE = "There is none"


@endpoints.add(
    "POST",
    "/task_runs/{id}/set_state",
    "Propose a state for a task run",
    body=SetStateBody,
    answers={201: "A new state was set", 200: "The run stays in its state", 404: NONE},
)
async def set_task_run_state(call: Call, body: SetStateBody) -> Answer:
    command = SetTaskRunState(
        caller=call.caller, id=call.id(), state=body.state.proposed(call.dialect), force=body.force
    )
    return orchestrated(await call.execute(command))


@endpoints.add(
    "POST",
    "/task_runs/{id}/explain_state",
    "Ask what would become of a proposed state, and what each rule says to it; nothing happens",
    body=SetStateBody,
    answers={200: "The verdict, the rule that gave it, and what each rule said in order", 404: NONE},
)
async def explain_task_run_state(call: Call, body: SetStateBody) -> Answer:
    state = body.state.proposed(call.dialect)
    return explained(
        await call.execute(ExplainTaskRunState(caller=call.caller, id=call.id(), state=state, force=body.force))
    )


@endpoints.add(
    "GET",
    "/task_runs/{id}",
    "Read a task run; with `as_of`, as it was after the event of that version or at that time",
    answers={200: "The task run", 404: NONE},
    options=("as_of",),
)
async def read_task_run(call: Call) -> Answer:
    id, as_of = call.id(), call.query("as_of")
    if as_of is not None:
        return await read_past(call, TaskRun, id, as_of)
    return await found_or_archived(call, TaskRun, id, await call.services.task_runs.read(id))


@endpoints.add(
    "POST",
    "/task_runs/",
    "Make a task run, or find the one of the same flow run with the same keys",
    body=TaskRunCreate,
    answers={201: "The new task run", 200: "The task run that was there", 409: "It names what does not exist"},
)
async def create_task_run(call: Call, body: TaskRunCreate) -> Answer:
    facts = TaskRunFacts(**{**dict(body), "name": run_name(body.name), "labels": body.labels or {}})
    state = body.state.proposed(call.dialect) if body.state else pending()
    id = body.id or new_id()
    command = CreateTaskRun(caller=call.caller, id=id, chosen_id=body.id is not None, facts=facts, state=state)
    return made(await call.execute(command))


@endpoints.add("POST", "/task_runs/filter", "List task runs", body=FilterTaskRuns, answers={200: "The task runs"})
async def read_task_runs(call: Call, body: FilterTaskRuns) -> Answer:
    return await listed(call, queries.LISTED_TASK_RUNS, body)


@endpoints.add("POST", "/task_runs/count", "Count task runs", body=CountTaskRuns, answers={200: "Their number"})
async def count_task_runs(call: Call, body: CountTaskRuns) -> Answer:
    return await number(call, queries.LISTED_TASK_RUNS, body)


@endpoints.add(
    "POST", "/task_runs/paginate", "List task runs by pages", body=PaginateTaskRuns, answers={200: "One page"}
)
async def paginate_task_runs(call: Call, body: PaginateTaskRuns) -> Answer:
    return await paginated(call, queries.LISTED_TASK_RUNS, body)


@endpoints.add(
    "PATCH", "/task_runs/{id}", "Give a task run another name", body=TaskRunUpdate, answers={204: "Done", 404: NONE}
)
async def update_task_run(call: Call, body: TaskRunUpdate) -> Answer:
    await call.execute(UpdateTaskRun(caller=call.caller, id=call.id(), name=body.name))
    return NO_CONTENT


@endpoints.add(
    "DELETE", "/task_runs/{id}", "Delete a task run; its history stays in the ledger", answers={204: "Done", 404: NONE}
)
async def delete_task_run(call: Call) -> Answer:
    try:
        await call.execute(DeleteTaskRun(caller=call.caller, id=call.id()))
    except NotFound:
        # Here, as for reads of it, recorded servers call a task run a task.
        raise Refused(404, "Task not found") from None
    return NO_CONTENT
