"""Flow runs and flows that fit a filter, so many at a time: given a state, or deleted with all that hangs on them."""

import asyncio
from contextlib import suppress
from typing import Any, Unpack
from uuid import UUID

from pydantic import BaseModel, Field

from api.answer import NO_CONTENT, Answer
from api.bodies import StateBody
from api.call import Call
from api.endpoint import Endpoints
from domain.commands.command import Deleted, OrchestrationResult
from domain.commands.deployments import DeleteDeployment
from domain.commands.flow_runs import DeleteFlowRun, SetFlowRunState
from domain.commands.flows import DeleteFlow
from domain.errors import NotFound
from domain.flow import Flow
from projections import queries
from projections.documents import as_json
from projections.filters import FlowFilter, FlowRunFilter
from projections.filters.criteria import AnyOrNotAnyId
from projections.filters.related import Filters

endpoints = Endpoints()
AT_ONCE = 50
"""How many flow runs one request may be about. Source: server 3.9.1."""


class Bulk(BaseModel):
    """The newest flow runs that fit."""

    flow_runs: FlowRunFilter | None = None
    limit: int = Field(default=AT_ONCE, ge=1, le=AT_ONCE)


class BulkDelete(Bulk):
    pass


class BulkSetState(Bulk):
    state: StateBody
    force: bool = False


async def _meant(call: Call, body: Bulk) -> list[UUID]:
    return await call.services.reads.run(
        queries.read_ids, queries.LISTED_FLOW_RUNS, limit=body.limit, flow_runs=body.flow_runs
    )


@endpoints.add(
    "POST",
    "/flow_runs/bulk_set_state",
    "Propose a state for flow runs that fit",
    body=BulkSetState,
    answers={200: "What became of the proposal for each of them"},
)
async def set_flow_run_states(call: Call, body: BulkSetState) -> Answer:
    async def propose(id: UUID) -> dict[str, Any]:
        state = body.state.proposed(call.dialect)
        command = SetFlowRunState(caller=call.caller, id=id, state=state, force=body.force)
        try:
            result = await call.execute(command)
        except NotFound as error:
            details = {"type": "abort_details", "reason": str(error)}
            return {"flow_run_id": id, "status": "ABORT", "state": None, "details": details}
        if not isinstance(result, OrchestrationResult):
            raise TypeError("A proposal is answered by a verdict")
        return {"flow_run_id": id, "status": result.status, "state": result.state, "details": result.details}

    results = await asyncio.gather(*(propose(id) for id in await _meant(call, body)))
    return Answer(as_json({"results": results}))


@endpoints.add(
    "POST",
    "/flow_runs/bulk_delete",
    "Delete flow runs that fit, with their task runs; their history stays in the ledger",
    body=BulkDelete,
    answers={200: "The ids of those that were deleted"},
)
async def delete_flow_runs(call: Call, body: BulkDelete) -> Answer:
    return Answer(as_json({"deleted": await _delete_runs(call, await _meant(call, body))}))


async def _delete_runs(call: Call, ids: list[UUID]) -> list[UUID]:
    """Delete flow runs with their task runs; the ids of those that were there."""

    async def delete(id: UUID) -> UUID | None:
        command = DeleteFlowRun(caller=call.caller, id=id)
        try:
            while True:
                result = await call.execute(command)
                if isinstance(result, Deleted) and result.finished:
                    return id
        except NotFound:
            return None

    return [id for id in await asyncio.gather(*map(delete, ids)) if id is not None]


class BulkDeleteFlows(BaseModel):
    """The first flows that fit, in the order of their names."""

    flows: FlowFilter | None = None
    limit: int = Field(default=AT_ONCE, ge=1, le=AT_ONCE)


@endpoints.add(
    "DELETE",
    "/flows/{id}",
    "Delete a flow with its deployments and runs; their history stays in the ledger",
    answers={204: "Done", 404: "There is none"},
)
async def delete_flow(call: Call) -> Answer:
    if not await _delete_flow(call, call.id()):
        raise NotFound(Flow.kind, call.id())
    return NO_CONTENT


@endpoints.add(
    "POST",
    "/flows/bulk_delete",
    "Delete flows that fit, with their deployments and runs; their history stays in the ledger",
    body=BulkDeleteFlows,
    answers={200: "The ids of those that were deleted"},
)
async def delete_flows(call: Call, body: BulkDeleteFlows) -> Answer:
    meant = await call.services.reads.run(queries.read_ids, queries.LISTED_FLOWS, limit=body.limit, flows=body.flows)
    return Answer(as_json({"deleted": [id for id in meant if await _delete_flow(call, id)]}))


async def _delete_flow(call: Call, id: UUID) -> bool:
    """Delete a flow and all that hangs on it; whether it was there.

    What hangs on it goes first, so that a deletion that was interrupted can be asked for again, and once more
    afterwards, for more may have come meanwhile; nothing can once the flow is gone.
    """
    if await call.services.reads.run(queries.read_flow, id) is None:
        return False
    await _delete_what_hangs_on(call, id)
    try:
        await call.execute(DeleteFlow(caller=call.caller, id=id))
    except NotFound:
        return False
    await _delete_what_hangs_on(call, id)
    return True


async def _delete_what_hangs_on(call: Call, flow_id: UUID) -> None:
    flow = FlowFilter(id=AnyOrNotAnyId(any_=[flow_id]))
    while ids := await _ids(call, queries.LISTED_DEPLOYMENTS, flows=flow):
        for id in ids:
            with suppress(NotFound):
                await call.execute(DeleteDeployment(caller=call.caller, id=id))
    while ids := await _ids(call, queries.LISTED_FLOW_RUNS, flows=flow):
        await _delete_runs(call, ids)


async def _ids(call: Call, kind: queries.Kind, **filters: Unpack[Filters]) -> list[UUID]:
    return await call.services.reads.run(queries.read_ids, kind, limit=AT_ONCE, **filters)
