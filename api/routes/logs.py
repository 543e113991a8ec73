"""Log lines: written in batches, read by run, and followed on the websocket `logs/out` while they are written."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from starlette.routing import WebSocketRoute

from api.answer import Answer
from api.call import Call, Services
from api.endpoint import Endpoints
from api.errors import Refused
from api.routes.following import PAGE, asked_for, follow
from api.routes.listing import FilterLogs, page_of
from api.routes.websocket import PROTOCOL_ERROR, Socket, websocket
from api.task_run_events import in_short
from projections import logs
from projections.feed import Horizon
from projections.filters import LogFilter

endpoints = Endpoints()
NO_SEARCH = "The text of log lines cannot be searched, for it is encrypted (FLOWLEDGER_PAYLOAD_KEYS)."
LINES: TypeAdapter[Any] = TypeAdapter(list[logs.LogCreate])


@endpoints.add("POST", "/logs/", "Write log lines", body=list[logs.LogCreate], answers={201: "They are stored"})
async def create_logs(call: Call) -> Answer:
    lines = await call.parse_as(LINES)
    await call.services.reads.run(logs.write_logs, lines, logs.ids_for(lines), call.services.ring())
    call.services.herald.tell()
    return Answer(b"null", 201)


@endpoints.add("POST", "/logs/filter", "List log lines", body=FilterLogs, answers={200: "The lines"})
async def read_logs(call: Call, body: FilterLogs) -> Answer:
    limit = page_of(call, body.limit)
    if call.services.keys is not None and body.logs is not None and body.logs.text is not None:
        raise Refused(422, NO_SEARCH)
    page = {"limit": limit, "offset": body.offset or 0}
    ring = call.services.ring()
    return Answer(await call.services.reads.run(logs.read_logs, logs=body.logs, sort=body.sort, ring=ring, **page))


def route(services: Services) -> WebSocketRoute:
    return websocket("/logs/out", services, follow_logs)


async def follow_logs(socket: Socket) -> None:
    """Send the lines that fit the filter of the first frame: those there are, then each that is written."""
    asked = await asked_for(socket, "filter")
    if asked is None:
        return
    try:
        wanted = LogFilter.model_validate(asked.get("filter"))
    except ValidationError as error:
        await socket.close(PROTOCOL_ERROR, f"Invalid filter: {in_short(error)}")
        return
    if socket.services.keys is not None and wanted.text is not None:
        await socket.close(PROTOCOL_ERROR, NO_SEARCH)
        return
    await follow(socket, _Lines(socket.services, wanted), lambda line: b'{"type":"log","log":%s}' % line)


class _Lines:
    """The lines that one client follows. `_last` is the last line of those there were, `_place` how far others got."""

    def __init__(self, services: Services, wanted: LogFilter) -> None:
        self._reads = services.reads
        self._ring = services.ring
        self._wanted = wanted
        self._began: int | None = None
        self._last: tuple[datetime, UUID] | None = None
        self._place: tuple[int, UUID] | None = None

    async def pages(self, horizon: Horizon) -> AsyncIterator[list[bytes]]:
        if self._began is None:
            self._began = horizon.transaction
        place = self._place
        while place is None:
            page, self._last = await self._reads.run(
                logs.read_old_logs, self._wanted, PAGE, self._last, self._began, self._ring()
            )
            if len(page) < PAGE:
                self._place = place = (self._began, UUID(int=0))
            yield page
        while place[0] < horizon.transaction:
            page, reached = await self._reads.run(
                logs.read_new_logs, self._wanted, PAGE, place, horizon.transaction, self._ring()
            )
            self._place = place = reached
            yield page
