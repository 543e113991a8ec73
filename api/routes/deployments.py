"""Deployments: made, read, changed, deleted; runs made of them; lists and counts."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from api.answer import NO_CONTENT, Answer
from api.bodies import first_state
from api.call import Call
from api.deployment_bodies import DeploymentCreate, DeploymentFlowRunCreate, DeploymentUpdate
from api.endpoint import Endpoints
from api.errors import Refused
from api.job_variables import check_variables
from api.parameter_schemas import Misfit, UnusableSchema, check_parameters
from api.routes.answers import found, made
from api.routes.audit import read_past
from api.routes.listing import CountDeployments, FilterDeployments, PaginateDeployments, listed, number, paginated
from api.services.scheduler import plan_deployment
from domain.commands.command import Answer as CommandAnswer
from domain.commands.command import Made
from domain.commands.deployments import (
    CreateDeployment,
    CreateFlowRunOfDeployment,
    DeleteDeployment,
    UpdateDeployment,
)
from domain.commands.job_variables import CommandOnJobs, Stamp
from domain.deployment import Deployment
from domain.errors import JobVariablesUnchecked, NotFound, ParametersUnchecked
from domain.ids import new_id
from projections import queries

endpoints = Endpoints()
NONE = "There is none"
CONFLICT = "It names what does not exist, or parameters that do not fit the schema"


async def execute_checked(
    call: Call, command: Callable[[int | None], CommandOnJobs], *, doing: str, all_there: bool
) -> CommandAnswer:
    """The answer to a command that may ask for its parameters and job variables to be checked first, until what was
    checked is current.

    `command` makes it for the version of the deployment that was checked; `doing` is what the caller is about to do,
    and `all_there` says whether required parameters must be there. Raises Refused (409, 422).
    """
    checked: int | None = None
    fits: Stamp | None = None
    while True:
        try:
            return await call.execute(replace(command(checked), fits=fits))
        except JobVariablesUnchecked as unfit:
            await check_variables(unfit, doing)
            fits = unfit.stamp
        except ParametersUnchecked as unchecked:
            if unchecked.schema is None:
                # The wording is the server's, also where a run is to be made.
                raise Refused(
                    409,
                    "Error updating deployment: Cannot update parameters because parameter schema enforcement is"
                    " enabled and the deployment does not have a valid parameter schema.",
                ) from None
            try:
                await asyncio.to_thread(check_parameters, unchecked.parameters, unchecked.schema, all_there=all_there)
            except Misfit as misfit:
                raise Refused(409, f"Error {doing}: {misfit}") from None
            except UnusableSchema as unusable:
                raise Refused(422, str(unusable)) from None
            checked = unchecked.version


@endpoints.add(
    "POST",
    "/deployments/",
    "Make a deployment, or change the one of that flow and name",
    body=DeploymentCreate,
    answers={
        201: "The new deployment",
        200: "The deployment that was there, changed",
        404: "Its work pool or concurrency limit does not exist",
        409: "Its flow does not exist, or two of its schedules have the same slug",
    },
)
async def create_deployment(call: Call, body: DeploymentCreate) -> Answer:
    command = CreateDeployment(
        caller=call.caller,
        id=new_id(),
        flow_id=body.flow_id,
        name=body.name,
        settings=body.settings(),
        references=body.references(),
        schedules=body.given_schedules() or (),
    )
    result = await execute_checked(call, lambda checked: command, doing="creating deployment", all_there=False)
    if isinstance(result, Made):
        await plan_deployment(call, result.id)
    return made(result)


@endpoints.add(
    "GET",
    "/deployments/{id}",
    "Read a deployment; with `as_of`, as it was after the event of that version or at that time",
    answers={200: "The deployment", 404: NONE},
    options=("as_of",),
)
async def read_deployment(call: Call) -> Answer:
    id, as_of = call.id(), call.query("as_of")
    if as_of is not None:
        return await read_past(call, Deployment, id, as_of)
    return found(await call.services.reads.run(queries.read_deployment, id), Deployment.kind)


@endpoints.add(
    "GET",
    "/deployments/name/{flow_name}/{deployment_name}",
    "Read a deployment by its flow's name and its own",
    answers={200: "The deployment", 404: NONE},
)
async def read_deployment_by_name(call: Call) -> Answer:
    names = call.text("flow_name"), call.text("deployment_name")
    return found(await call.services.reads.run(queries.read_deployment_by_name, *names), Deployment.kind)


@endpoints.add(
    "PATCH",
    "/deployments/{id}",
    "Change what the body names of a deployment",
    body=DeploymentUpdate,
    answers={204: "Done", 404: "There is none, or no such work pool or concurrency limit", 409: CONFLICT},
)
async def update_deployment(call: Call, body: DeploymentUpdate) -> Answer:
    schedules = body.given_schedules()
    id, changes, references = call.id(), body.settings(), body.references()

    def command(checked: int | None) -> CommandOnJobs:
        return UpdateDeployment(
            caller=call.caller,
            id=id,
            changes=changes,
            references=references,
            schedules=schedules,
            checked_version=checked,
        )

    try:
        await execute_checked(call, command, doing="updating deployment", all_there=False)
    except NotFound as error:
        raise Refused(404, f"{error.kind} not found{'.' if error.kind == Deployment.kind else ''}") from None
    await plan_deployment(call, id)
    return NO_CONTENT


@endpoints.add(
    "DELETE",
    "/deployments/{id}",
    "Delete a deployment; its runs stay, but for those that were only planned",
    answers={204: "Done", 404: NONE},
)
async def delete_deployment(call: Call) -> Answer:
    await call.execute(DeleteDeployment(caller=call.caller, id=call.id()))
    return NO_CONTENT


@endpoints.add(
    "POST",
    "/deployments/{id}/create_flow_run",
    "Make a run of a deployment, or find the one made under the same idempotency key",
    body=DeploymentFlowRunCreate,
    answers={
        201: "The new flow run",
        200: "The flow run that was there",
        400: "It is to go to a work queue, and the deployment has none",
        404: NONE,
        409: CONFLICT,
    },
)
async def create_flow_run_of_deployment(call: Call, body: DeploymentFlowRunCreate) -> Answer:
    return made(await make_run(call, body))


async def make_run(call: Call, body: DeploymentFlowRunCreate) -> CommandAnswer:
    """Make one run of the deployment that the path names. Raises Refused (409, 422) and what the command raises."""
    id, run_id, asked = call.id(), new_id(), body.asked()
    state = body.state.proposed(call.dialect) if body.state else first_state(call.dialect)

    def command(checked: int | None) -> CommandOnJobs:
        return CreateFlowRunOfDeployment(
            caller=call.caller, id=id, run_id=run_id, asked=asked, state=state, checked_version=checked
        )

    return await execute_checked(call, command, doing="creating flow run", all_there=True)


@endpoints.add(
    "POST", "/deployments/filter", "List deployments", body=FilterDeployments, answers={200: "The deployments"}
)
async def read_deployments(call: Call, body: FilterDeployments) -> Answer:
    return await listed(call, queries.LISTED_DEPLOYMENTS, body)


@endpoints.add("POST", "/deployments/count", "Count deployments", body=CountDeployments, answers={200: "Their number"})
async def count_deployments(call: Call, body: CountDeployments) -> Answer:
    return await number(call, queries.LISTED_DEPLOYMENTS, body)


@endpoints.add(
    "POST", "/deployments/paginate", "List deployments by pages", body=PaginateDeployments, answers={200: "One page"}
)
async def paginate_deployments(call: Call, body: PaginateDeployments) -> Answer:
    return await paginated(call, queries.LISTED_DEPLOYMENTS, body)
