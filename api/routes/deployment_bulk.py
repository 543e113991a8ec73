"""Several things of deployments at a time: runs made of one, and deployments that fit a filter deleted."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field, TypeAdapter

from api.answer import Answer
from api.call import Call
from api.deployment_bodies import DeploymentFlowRunCreate
from api.endpoint import Endpoints
from api.errors import UNAVAILABLE, Refused
from api.routes.bulk import AT_ONCE
from api.routes.deployments import make_run
from domain.commands.command import Made
from domain.commands.deployments import DeleteDeployment
from domain.deployment import Deployment
from domain.errors import LedgerError, NotFound
from projections import queries
from projections.documents import as_json
from projections.filters import DeploymentFilter

endpoints = Endpoints()
MOST_RUNS = 100
"""How many runs one request makes of a deployment. Source: server 3.9.1."""

ASKED: TypeAdapter[list[DeploymentFlowRunCreate]] = TypeAdapter(list[DeploymentFlowRunCreate])


class BulkDeleteDeployments(BaseModel):
    deployments: DeploymentFilter | None = None
    limit: int = Field(default=AT_ONCE, ge=1, le=AT_ONCE)


@endpoints.add(
    "POST",
    "/deployments/{id}/create_flow_run/bulk",
    "Make runs of a deployment, each as if it were asked for alone",
    body=list[DeploymentFlowRunCreate],
    answers={200: "What became of each, in order", 400: "They are too many", 404: "There is none"},
)
async def create_flow_runs_of_deployment(call: Call) -> Answer:
    asked = await call.parse_as(ASKED)
    if len(asked) > MOST_RUNS:
        raise Refused(400, f"Cannot create more than {MOST_RUNS} flow runs at once.")
    if await call.services.reads.run(queries.read_deployment, call.id()) is None:
        raise NotFound(Deployment.kind, call.id())
    return Answer(as_json({"results": [await _made(call, body) for body in asked]}))


async def _made(call: Call, body: DeploymentFlowRunCreate) -> dict[str, Any]:
    try:
        run = await make_run(call, body)
    except UNAVAILABLE:
        raise
    except (Refused, LedgerError) as error:
        return {"flow_run_id": None, "status": "FAILED", "error": str(error)}
    if not isinstance(run, Made):
        raise TypeError("A creation is answered by what was made")
    return {"flow_run_id": run.id, "status": "CREATED", "error": None}


@endpoints.add(
    "POST",
    "/deployments/bulk_delete",
    "Delete deployments that fit, each as if it were deleted alone",
    body=BulkDeleteDeployments,
    answers={200: "The ids of those that were deleted"},
)
async def delete_deployments(call: Call, body: BulkDeleteDeployments) -> Answer:
    meant = await call.services.reads.run(
        queries.read_ids, queries.LISTED_DEPLOYMENTS, limit=body.limit, deployments=body.deployments
    )
    deleted: list[UUID] = []
    for id in meant:
        with suppress(NotFound):
            await call.execute(DeleteDeployment(caller=call.caller, id=id))
            deleted.append(id)
    return Answer(as_json({"deleted": deleted}))
