"""The feed of the ledger: its events by position, as pages, or as server-sent events that go on while it grows.

Nothing is kept for a reader but how far it has got. What is new is read once for all readers of a process; a reader
that is further behind reads for itself, window by window, as fast as it takes them. One that takes nothing for a while
is cut off, and goes on where it was by naming the last position that it has.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from uuid import UUID

import structlog
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus, SendTimeoutError
from starlette.types import Send

from api.answer import Answer
from api.call import LAST_NUMBER, Call, whole_number
from api.endpoint import Endpoints
from api.errors import UNAVAILABLE, InvalidRequest, Refused
from api.herald import LOOK_SECONDS
from api.ledger_tail import LedgerTail
from api.reads import Reads
from api.routes.listing import page_of
from api.serving.http_protocol import CUT
from domain.events import EVENT_TYPES
from projections.connection import first_line
from projections.head import read_head
from projections.ledger_feed import EVENTS_AT_ONCE, Entry, Wanted, Window, read_window

endpoints = Endpoints()

PING_SECONDS = 15.0
"""How often a reader is told how far the ledger was looked at for it, so that it is not taken for gone."""

CHUNK = 64 * 1024
"""Bytes of events that are sent in one go."""

log = structlog.get_logger(__name__)

# Streams end by themselves when the server stops, and then in good order.
AppStatus.enable_automatic_graceful_drain = False


@endpoints.add(
    "GET",
    "/ledger/events",
    "Every event of the ledger behind a position, in order: a page, or, for callers that accept `text/event-stream`,"
    " a stream that goes on, resumed by `Last-Event-ID`. `topic` and `tag` may be given more than once: any of the"
    " topics, all of the tags",
    answers={
        200: "The events. `next_after` is what `after` must be for the next page, which may follow an empty one too;"
        " null at the end. In a stream the id of each event is its position",
        409: "The ledger ends before that position: it is another one, or was emptied",
        503: "As many readers as may follow the ledger do so already",
    },
    options=("after", "limit", "topic", "flow_run_id", "task_run_id", "flow_id", "tag"),
)
async def read_ledger_events(call: Call) -> Answer:
    wanted = _wanted(call)
    if "text/event-stream" in (call.header(b"accept") or ""):
        resumed = call.header(b"last-event-id")
        if resumed:
            return await _stream(call, wanted, whole_number(resumed, LAST_NUMBER, ["header", "Last-Event-ID"]))
        return await _stream(call, wanted, call.query_number("after") or 0)
    after = call.query_number("after") or 0
    limit = page_of(call, call.query_number("limit"))
    window = await call.services.reads.run(read_window, after, wanted, limit, call.services.mapper())
    _refuse_beyond(after, window.head)
    body = b'{"events":[%s],"next_after":%s,"head":%d}' % (
        b",".join(entry.document for entry in window.entries),
        b"%d" % window.reached if window.reached < window.head else b"null",
        window.head,
    )
    return Answer(body)


async def _stream(call: Call, wanted: Wanted, after: int) -> Answer:
    services = call.services
    if services.tail.readers >= services.settings.live_feed_readers:
        raise Refused(503, f"{services.tail.readers} readers follow the ledger already; try again later.")
    head = await services.reads.run(read_head)
    _refuse_beyond(after, head.position)
    reader = Reader(services.reads, services.tail, wanted, after, head.ledger_id)
    return _EventStream(call, reader, services.settings.live_feed_patience_seconds)


class Reader:
    """One reader of the stream. All wanted events up to its `position` were handed over to be sent."""

    def __init__(self, reads: Reads, tail: LedgerTail, wanted: Wanted, position: int, ledger_id: UUID) -> None:
        self._reads = reads
        self._tail = tail
        self._wanted = wanted
        self._ledger_id = ledger_id
        self.position = position

    async def chunks(self) -> AsyncIterator[bytes]:
        """What is to be sent, until the server stops or the ledger is another one."""
        async with self._tail.followed():
            while not self._tail.stopping:
                change = self._tail.next_change
                window = await self._next()
                if window is None:
                    await self._tail.wait(change, LOOK_SECONDS)
                    continue
                if window.ledger_id != self._ledger_id or window.head < self.position:
                    return
                for position, chunk in _chunked(window.entries, self._wanted):
                    yield chunk
                    self.position = position
                if window.reached > self.position:
                    self.position = window.reached
                elif window.reached == window.head:
                    await self._tail.wait(change)

    async def _next(self) -> Window | None:
        """What comes next: from the tail where that goes back so far, else from the database, if that is there."""
        window = self._tail.since(self.position)
        if window is not None:
            return window
        try:
            return await self._reads.run(read_window, self.position, self._wanted, EVENTS_AT_ONCE, self._tail.mapper())
        except UNAVAILABLE as error:
            log.warning("the ledger cannot be read for a reader for now", reason=first_line(error))
            return None

    def ping(self) -> ServerSentEvent:
        """A line that is no event and yet tells the reader how far it is."""
        return ServerSentEvent(comment="", id=str(self.position))


class _EventStream(Answer):
    """An answer that goes on until the reader leaves or is cut off."""

    timed = False

    def __init__(self, call: Call, reader: Reader, patience: float) -> None:
        super().__init__(None)
        self._call = call
        self._reader = reader
        self._patience = patience

    async def send(self, send: Send, *, compressed: bool = False) -> None:
        scope, receive = self._call.scope, self._call.receive
        response = EventSourceResponse(
            self._reader.chunks(),
            sep="\n",
            ping=PING_SECONDS,
            ping_message_factory=self._reader.ping,
            send_timeout=self._patience,
        )
        try:
            await response(scope, receive, send)
        except SendTimeoutError:
            log.warning("a reader of the ledger that does not read is cut off", position=self._reader.position)
            scope["extensions"][CUT]()
            while (await receive())["type"] != "http.disconnect":
                pass


def _chunked(entries: Iterable[Entry], wanted: Wanted) -> Iterator[tuple[int, bytes]]:
    """The wanted events as they are sent, many in one piece, each piece with the position of its last."""
    pieces: list[bytes] = []
    size = position = 0
    for entry in entries:
        if not wanted.fits(entry.topic, entry.subject):
            continue
        piece = b"id: %d\ndata: %s\n\n" % (entry.position, entry.document)
        if pieces and size + len(piece) > CHUNK:
            yield position, b"".join(pieces)
            pieces, size = [], 0
        pieces.append(piece)
        size += len(piece)
        position = entry.position
    if pieces:
        yield position, b"".join(pieces)


def _wanted(call: Call) -> Wanted:
    topics = frozenset(call.queries("topic"))
    unknown = sorted(topics - EVENT_TYPES.keys())
    if unknown:
        message = f"There are no events of the topic {unknown[0]!r}"
        detail = {"type": "value_error", "loc": ["query", "topic"], "msg": message, "input": unknown[0]}
        raise InvalidRequest([detail], None)
    return Wanted(
        topics=topics or None,
        flow_run_id=_id(call, "flow_run_id"),
        task_run_id=_id(call, "task_run_id"),
        flow_id=_id(call, "flow_id"),
        tags=frozenset(call.queries("tag")),
    )


def _id(call: Call, name: str) -> UUID | None:
    return None if call.query(name) is None else call.query_id(name)


def _refuse_beyond(after: int, head: int) -> None:
    if after > head:
        raise Refused(409, f"The ledger ends at position {head}, before {after}: it is not the one that was read.")
