"""Log lines: written in batches, read by run."""

from typing import Any

from pydantic import TypeAdapter

from api.answer import Answer
from api.call import Call
from api.endpoint import Endpoints
from api.routes.listing import FilterLogs, page_of
from projections import logs

endpoints = Endpoints()
LINES: TypeAdapter[Any] = TypeAdapter(list[logs.LogCreate])


@endpoints.add("POST", "/logs/", "Write log lines", body=list[logs.LogCreate], answers={201: "They are stored"})
async def create_logs(call: Call) -> Answer:
    lines = await call.parse_as(LINES)
    await call.services.reads.run(logs.write_logs, lines, logs.ids_for(lines))
    return Answer(b"null", 201)


@endpoints.add("POST", "/logs/filter", "List log lines", body=FilterLogs, answers={200: "The lines"})
async def read_logs(call: Call, body: FilterLogs) -> Answer:
    limit = page_of(call, body.limit)
    return Answer(
        await call.services.reads.run(
            logs.read_logs, logs=body.logs, sort=body.sort, limit=limit, offset=body.offset or 0
        )
    )
