"""The feed of events: listed by filters and pages, counted, followed on the websocket `events/out`, and written to."""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.routing import WebSocketRoute

from api.answer import NO_CONTENT, Answer, answer
from api.call import Call, Services
from api.endpoint import Endpoints
from api.errors import Refused
from api.reads import Reads
from api.routes.following import PAGE, asked_for, follow
from api.routes.websocket import PROTOCOL_ERROR, Socket, websocket
from api.task_run_events import BAD_EVENT, in_short, report_of
from domain.times import Time
from projections.client_events import ClientEvent
from projections.event_counts import Countable, TimeUnit, TooManyStretches, count_events_by
from projections.feed import Cursor, Horizon, count_events, read_events, read_new_events
from projections.filters.events import EventFilter, EventOrder

endpoints = Endpoints()
EVENTS: TypeAdapter[list[ClientEvent]] = TypeAdapter(list[ClientEvent])

LONGEST_PAGE = 50
"""Most events of one page. Source: server 3.9.1."""


class FilterEvents(BaseModel):
    filter: EventFilter | None = None
    limit: int = Field(default=LONGEST_PAGE, ge=0, le=LONGEST_PAGE)


class CountEvents(BaseModel):
    filter: EventFilter
    time_unit: TimeUnit = TimeUnit.DAY
    time_interval: float = Field(default=1.0, ge=0.01, le=1e6)


class PageToken(BaseModel):
    """What a page of events goes on with: of which events, how many there were, and the place of the last one told."""

    model_config = ConfigDict(extra="forbid")

    filter: EventFilter
    limit: int = Field(ge=1, le=LONGEST_PAGE)
    total: int
    occurred: Time
    id: UUID

    def encoded(self) -> str:
        return base64.urlsafe_b64encode(self.model_dump_json().encode()).decode()

    @classmethod
    def decoded(cls, text: str) -> "PageToken":
        """The token of a text. Raises ValueError for what is none."""
        try:
            return cls.model_validate_json(base64.urlsafe_b64decode(text))
        except (binascii.Error, ValidationError) as error:
            raise ValueError("This is no token of a page") from error


@endpoints.add(
    "POST", "/events/filter", "List events", body=FilterEvents, answers={200: "A page of events, and where the next is"}
)
async def filter_events(call: Call, body: FilterEvents) -> Answer:
    wanted = body.filter or EventFilter()
    return Answer(await call.services.reads.run(_first_page, wanted, body.limit, call.base_url))


@endpoints.add(
    "GET",
    "/events/filter/next",
    "Go on with a list of events",
    query=("page-token",),
    answers={200: "A page of events, and where the next is", 403: "This is no token of a page"},
)
async def next_events(call: Call) -> Answer:
    try:
        token = PageToken.decoded(call.query("page-token") or "")
    except ValueError:
        raise Refused(403, "Forbidden") from None
    return Answer(await call.services.reads.run(_next_page, token, call.base_url))


@endpoints.add(
    "POST",
    "/events/count-by/{countable}",
    "Count events by the day or time they occurred, by their names or their resources",
    body=CountEvents,
    answers={200: "The counts", 422: "There would be too many"},
)
async def count_by(call: Call, body: CountEvents) -> Answer:
    try:
        countable = Countable(call.text("countable"))
    except ValueError:
        raise Refused(422, f"Events are counted by {', '.join(Countable)}.") from None
    try:
        counts = await call.services.reads.run(
            count_events_by, body.filter, countable, body.time_unit, body.time_interval, datetime.now(UTC)
        )
    except TooManyStretches as error:
        raise Refused(422, str(error)) from None
    return answer(counts)


@endpoints.add(
    "POST", "/events", "Write events, reports of task runs among them", body=list[ClientEvent], answers={204: "Done"}
)
async def create_events(call: Call) -> Answer:
    events: list[ClientEvent] = await call.parse_as(EVENTS)
    written: list[asyncio.Future[Any]] = []
    for event in events:
        try:
            command = report_of(event, call.caller)
        except BAD_EVENT as error:
            raise Refused(422, f"The event {event.id} is no report of a task run: {in_short(error)}") from None
        if command is None:
            written.append(call.services.client_events.submit(event))
        else:
            written.append(call.services.queue.submit(command, call.size // len(events)))
    for outcome in await asyncio.gather(*written, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
    return NO_CONTENT


async def _first_page(connection: AsyncConnection, wanted: EventFilter, limit: int, base_url: str) -> bytes:
    total = await count_events(connection, wanted)
    return await _page(connection, wanted, limit, total, base_url, None)


async def _next_page(connection: AsyncConnection, token: PageToken, base_url: str) -> bytes:
    return await _page(connection, token.filter, token.limit, token.total, base_url, (token.occurred, token.id))


async def _page(
    connection: AsyncConnection,
    wanted: EventFilter,
    limit: int,
    total: int,
    base_url: str,
    after: tuple[datetime, UUID] | None,
) -> bytes:
    # One more than the page holds tells whether there is another page.
    found = await read_events(connection, wanted, limit + 1, after=after)
    page, address = found[:limit], b"null"
    if page and len(found) > limit:
        last = page[-1]
        token = PageToken(filter=wanted, limit=limit, total=total, occurred=last.occurred, id=last.id)
        address = f'"{base_url}/api/events/filter/next?page-token={token.encoded()}"'.encode()
    documents = b",".join(one.document for one in page)
    return b'{"events":[%s],"total":%d,"next_page":%s}' % (documents, total, address)


def route(services: Services) -> WebSocketRoute:
    return websocket("/events/out", services, follow_events)


async def follow_events(socket: Socket) -> None:
    """Send the events that fit the filter of the first frame: those there are, then each that comes to be."""
    asked = await asked_for(socket, "filter")
    if asked is None:
        return
    try:
        wanted = EventFilter.model_validate(asked.get("filter"))
    except ValidationError as error:
        await socket.close(PROTOCOL_ERROR, f"Invalid filter: {in_short(error)}")
        return
    followed = _Events(socket.services.reads, wanted, from_now_on=asked.get("backfill") is False)
    await follow(socket, followed, lambda event: b'{"type":"event","event":%s}' % event)


class _Events:
    """The events that one client follows: the place of the last of those there were, then how far new ones got."""

    def __init__(self, reads: Reads, wanted: EventFilter, *, from_now_on: bool) -> None:
        self._reads = reads
        self._wanted = wanted.model_copy(update={"order": EventOrder.ASC})
        self._from_now_on = from_now_on
        self._began: Horizon | None = None
        self._last: tuple[datetime, UUID] | None = None
        self._cursor: Cursor | None = None

    async def pages(self, horizon: Horizon) -> AsyncIterator[list[bytes]]:
        if self._began is None:
            self._began = horizon
            if self._from_now_on:
                self._cursor = Cursor.at(horizon)
        cursor = self._cursor
        while cursor is None:
            found = await self._reads.run(read_events, self._wanted, PAGE, after=self._last, before=self._began)
            if found:
                self._last = found[-1].occurred, found[-1].id
            if len(found) < PAGE:
                self._cursor = cursor = Cursor.at(self._began)
            yield [one.document for one in found]
        while not cursor.reached(horizon):
            page, reached = await self._reads.run(read_new_events, self._wanted, cursor, horizon, PAGE)
            self._cursor = cursor = reached
            yield page
