"""The schedules of deployments: read, added, changed, removed, paused; their runs planned, and asked for by runners."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, TypeAdapter
from pydantic_core import from_json

from api.answer import NO_CONTENT, Answer, answer
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused
from api.routes.listing import page_of
from api.schedule_bodies import MOST_RUNS, DeploymentScheduleCreate, DeploymentScheduleUpdate, PlanBody
from api.services.scheduler import Horizon, later, plan_deployment
from domain.commands.command import Answer as CommandAnswer
from domain.commands.command import Command, Made
from domain.commands.schedules import AddSchedules, ChangeSchedule, PauseDeployment, RemoveSchedule
from domain.deployment import Deployment
from domain.errors import NotFound
from domain.times import Time
from projections import planning, queries
from projections.filters import DeploymentFilter, FlowRunFilter
from projections.lists import Page
from projections.sorting import FlowRunSort

endpoints = Endpoints()
NONE = "There is none"
GIVEN: TypeAdapter[list[DeploymentScheduleCreate]] = TypeAdapter(list[DeploymentScheduleCreate])


class PollBody(BaseModel):
    """Whose runs a runner asks for, and those of until when."""

    deployment_ids: list[UUID]
    scheduled_before: Time | None = None
    limit: int | None = None


async def _change(call: Call, command: Command) -> CommandAnswer:
    """The answer to a command on a schedule; what follows from it is planned. Raises Refused (404)."""
    try:
        result = await call.execute(command)
    except NotFound as error:
        raise Refused(404, f"{error.kind} not found.") from None
    await plan_deployment(call, call.id())
    return result


async def _schedules(call: Call) -> list[dict[str, Any]]:
    """The schedules of the deployment that the path names. Raises Refused (404)."""
    found = await call.services.reads.run(queries.read_deployment, call.id())
    if found is None:
        raise Refused(404, f"{Deployment.kind} not found.")
    schedules: list[dict[str, Any]] = from_json(found)["schedules"]
    return schedules


@endpoints.add(
    "GET",
    "/deployments/{id}/schedules",
    "List the schedules of a deployment",
    answers={200: "The schedules", 404: NONE},
)
async def read_schedules(call: Call) -> Answer:
    return answer(await _schedules(call))


@endpoints.add(
    "POST",
    "/deployments/{id}/schedules",
    "Give a deployment more schedules",
    body=list[DeploymentScheduleCreate],
    answers={201: "The new schedules", 404: NONE, 409: "The slug of one is taken"},
)
async def create_schedules(call: Call) -> Answer:
    given = tuple(schedule.given() for schedule in await call.parse_as(GIVEN))
    result = await _change(call, AddSchedules(caller=call.caller, id=call.id(), given=given))
    if not isinstance(result, Made):
        raise TypeError("A creation is answered by what was made")
    schedules = from_json(result.document)["schedules"]
    new = {str(schedule.id) for schedule in given}
    # A request that came before has its schedules under the ids they got then: they were the last at that time.
    added = [schedule for schedule in schedules if schedule["id"] in new] or schedules[len(schedules) - len(given) :]
    return answer(added, 201)


@endpoints.add(
    "PATCH",
    "/deployments/{id}/schedules/{schedule_id}",
    "Change what the body names of a schedule; the runs that it planned are planned anew",
    body=DeploymentScheduleUpdate,
    answers={204: "Done", 404: NONE, 409: "The slug is taken"},
)
async def update_schedule(call: Call, body: DeploymentScheduleUpdate) -> Answer:
    command = ChangeSchedule(
        caller=call.caller, id=call.id(), schedule_id=call.id("schedule_id"), changes=body.changes()
    )
    await _change(call, command)
    return NO_CONTENT


@endpoints.add(
    "DELETE",
    "/deployments/{id}/schedules/{schedule_id}",
    "Take a schedule away, with the runs that it planned",
    answers={204: "Done", 404: NONE},
)
async def delete_schedule(call: Call) -> Answer:
    await _change(call, RemoveSchedule(caller=call.caller, id=call.id(), schedule_id=call.id("schedule_id")))
    return NO_CONTENT


async def _pause(call: Call, *, paused: bool) -> Answer:
    await call.execute(PauseDeployment(caller=call.caller, id=call.id(), paused=paused))
    await plan_deployment(call, call.id())
    return answer(None)


PAUSE = "Plan no runs of a deployment, and delete those that were planned"
RESUME = "Plan the runs of a deployment again"
DONE = {200: "Done", 404: NONE}


@endpoints.add("POST", "/deployments/{id}/pause_deployment", PAUSE, answers=DONE)
async def pause_deployment(call: Call) -> Answer:
    return await _pause(call, paused=True)


@endpoints.add("POST", "/deployments/{id}/resume_deployment", RESUME, answers=DONE)
async def resume_deployment(call: Call) -> Answer:
    return await _pause(call, paused=False)


@endpoints.add("POST", "/deployments/{id}/set_schedule_inactive", f"{PAUSE}, as 2.x clients ask", answers=DONE)
async def set_schedule_inactive(call: Call) -> Answer:
    return await _pause(call, paused=True)


@endpoints.add("POST", "/deployments/{id}/set_schedule_active", f"{RESUME}, as 2.x clients ask", answers=DONE)
async def set_schedule_active(call: Call) -> Answer:
    return await _pause(call, paused=False)


@endpoints.add(
    "POST",
    "/deployments/{id}/schedule",
    "Plan the runs that the active schedules of a deployment name, those of times past included",
    body=PlanBody,
    answers=DONE,
)
async def schedule_deployment(call: Call, body: PlanBody) -> Answer:
    if await call.services.reads.run(queries.read_deployment, call.id()) is None:
        raise NotFound(Deployment.kind, call.id())
    settings = call.services.settings
    horizon = Horizon.of(settings, body.start_time or datetime.now(UTC))
    given: dict[str, Any] = {"until": body.end_time, "least": body.min_runs}
    if body.min_time is not None:
        given["at_least_until"] = later(horizon.start, body.min_time)
    if body.max_runs is not None:
        given["most"] = min(max(body.max_runs, 0), MOST_RUNS)
    horizon = replace(horizon, **{field: value for field, value in given.items() if value is not None})
    await plan_deployment(call, call.id(), horizon)
    return answer(None)


@endpoints.add(
    "POST",
    "/deployments/get_scheduled_flow_runs",
    "List the runs of deployments that wait to be started; whoever asks is taken to be ready to start them",
    body=PollBody,
    answers={200: "The flow runs, the one due first at the beginning"},
)
async def read_scheduled_flow_runs(call: Call, body: PollBody) -> Answer:
    reads = call.services.reads
    # Asked of the runs, for that finds them fast, and of the deployments, for those must be there still.
    wanted: dict[str, Any] = {
        "state": {"type": {"any_": ["SCHEDULED"]}},
        "deployment_id": {"any_": body.deployment_ids},
    }
    if body.scheduled_before is not None:
        wanted["next_scheduled_start_time"] = {"before_": body.scheduled_before}
    listed = await reads.run(
        queries.read_listed,
        queries.LISTED_FLOW_RUNS,
        Page(page_of(call, body.limit)),
        FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
        deployments=DeploymentFilter.model_validate({"id": {"any_": body.deployment_ids}}),
        flow_runs=FlowRunFilter.model_validate(wanted),
    )
    await reads.run(planning.mark_polled, body.deployment_ids, datetime.now(UTC))
    return Answer(listed.documents)
