"""Flow runs that fit a filter, so many at a time: given a state, or deleted."""

import asyncio
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from api.answer import Answer
from api.bodies import StateBody
from api.call import Call
from api.endpoint import Endpoints
from domain.commands.command import Deleted, OrchestrationResult
from domain.commands.flow_runs import DeleteFlowRun, SetFlowRunState
from domain.errors import NotFound
from projections import queries
from projections.documents import as_json
from projections.filters import FlowRunFilter

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
    async def delete(id: UUID) -> UUID | None:
        command = DeleteFlowRun(caller=call.caller, id=id)
        try:
            while True:
                result = await call.execute(command)
                if isinstance(result, Deleted) and result.finished:
                    return id
        except NotFound:
            return None

    outcomes = await asyncio.gather(*(delete(id) for id in await _meant(call, body)))
    return Answer(as_json({"deleted": [id for id in outcomes if id is not None]}))
