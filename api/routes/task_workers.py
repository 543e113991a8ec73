"""Task runs in the background: handed out on a websocket to who subscribed to their task, each to one; and who did."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.routing import WebSocketRoute

from api.answer import Answer
from api.call import Call, Services
from api.endpoint import Endpoints
from api.errors import UNAVAILABLE
from api.herald import LOOK_SECONDS
from api.routes.websocket import Gone, Socket, websocket
from api.task_run_events import in_short
from domain.commands.command import HandedOut
from domain.commands.hand_outs import HandBackTaskRun, HandOutTaskRun, TakeTaskRun
from domain.ids import new_id
from projections.background_runs import waiting_runs
from projections.connection import first_line
from projections.task_workers import forget_task_worker, read_task_workers, see_task_worker

endpoints = Endpoints()

NORMAL = 1000
VIOLATION = 4001
"""How a connection is closed whose client does not keep to the protocol. Source: server 3.9.1."""

HELD_SECONDS = 30.0
"""For how long a run is a subscriber's before it acknowledges it; after half of that it gets twice as long again.

A worker that is busy takes the next run but acknowledges it only when it has room. While it is connected, the run is
its own; the time is for a server that dies with it.
"""

HELD_AT_MOST = 600.0

AT_ONCE = 20
"""How many waiting runs are looked at together; others take some of them meanwhile."""

SEEN_EVERY = 10.0

MOST_FRAMES = 10
"""Most frames of a client that wait to be looked at; one is the answer to a run, and no more are asked for."""

GONE = "gone"
"""What counts as said by a client that went."""

log = structlog.get_logger(__name__)


class Subscription(BaseModel):
    """The first frame of a subscriber: who it is, and to which tasks it subscribes."""

    model_config = ConfigDict(frozen=True)

    type: str
    keys: list[str] = Field(min_length=1)
    client_id: str = Field(min_length=1)


class TaskWorkerFilter(BaseModel):
    task_keys: list[str]


class FilterTaskWorkers(BaseModel):
    task_worker_filter: TaskWorkerFilter | None = None


@endpoints.add(
    "POST",
    "/task_workers/filter",
    "List those who wait for task runs in the background",
    body=FilterTaskWorkers,
    answers={200: "They, and the keys of the tasks they subscribed to"},
)
async def filter_task_workers(call: Call, body: FilterTaskWorkers) -> Answer:
    keys = body.task_worker_filter.task_keys if body.task_worker_filter else None
    return Answer(await call.services.reads.run(read_task_workers, keys))


def route(services: Services) -> WebSocketRoute:
    return websocket("/task_runs/subscriptions/scheduled", services, serve_subscriber)


async def serve_subscriber(socket: Socket) -> None:
    """Hand waiting runs of the tasks that the client subscribes to out to it, one after the other, until it goes."""
    asked = await socket.receive_object()
    if asked.get("type") != "subscribe":
        await socket.close(VIOLATION, "Protocol violation: expected 'subscribe' message")
        return
    for field in ("keys", "client_id"):
        if not asked.get(field):
            await socket.close(VIOLATION, f"Protocol violation: expected '{field}' in subscribe message")
            return
    try:
        subscription = Subscription.model_validate(asked)
    except ValidationError as error:
        await socket.close(VIOLATION, f"Protocol violation: {in_short(error)}")
        return
    await _Subscriber(socket, subscription).serve()


class _Subscriber:
    """One subscriber on one connection. The ledger knows it by its name and that of the connection."""

    def __init__(self, socket: Socket, subscription: Subscription) -> None:
        self._socket = socket
        self._services = socket.services
        self._keys = subscription.keys
        self._identifier = subscription.client_id
        self._connection = new_id()
        self._name = f"{subscription.client_id}/{self._connection}"
        self._frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gone = False
        self._busy = False

    async def serve(self) -> None:
        """Serve until the client goes or says that it quits. Raises Gone."""
        reading = asyncio.create_task(self._read())
        seeing = asyncio.create_task(self._be_seen())
        serving = asyncio.create_task(self._hand_out_all())
        try:
            done, _ = await asyncio.wait({reading, serving}, return_when=asyncio.FIRST_COMPLETED)
            if serving not in done and self._busy:
                # What the client said before it went still counts, an acknowledgement above all.
                await asyncio.wait({serving})
                done = {serving}
            if serving in done:
                serving.result()
        finally:
            for task in (reading, seeing, serving):
                task.cancel()
            await asyncio.gather(reading, seeing, serving, return_exceptions=True)
            await self._go()

    async def _read(self) -> None:
        """Take what the client says, until it goes or says more than anybody asked for."""
        try:
            while self._frames.qsize() < MOST_FRAMES:
                self._frames.put_nowait(await self._socket.receive_object())
        except Gone:
            pass
        self._gone = True
        self._frames.put_nowait({"type": GONE})

    async def _be_seen(self) -> None:
        while True:
            try:
                await self._services.reads.run(see_task_worker, self._connection, self._identifier, self._keys)
            except UNAVAILABLE as error:
                log.debug("a subscriber is not seen", reason=first_line(error))
            await asyncio.sleep(SEEN_EVERY)

    async def _go(self) -> None:
        try:
            await self._services.reads.run(forget_task_worker, self._connection)
        except UNAVAILABLE as error:
            log.debug("a subscriber that went is still seen", reason=first_line(error))

    async def _hand_out_all(self) -> None:
        herald = self._services.herald
        herald.listen()
        while not herald.stopping and not self._gone:
            word = herald.next_word
            try:
                waiting = await self._services.reads.run(waiting_runs, self._keys, datetime.now(UTC), AT_ONCE)
                handed_out = 0
                for id in waiting:
                    match await self._hand_out(id):
                        case True:
                            handed_out += 1
                        case False:
                            return
                if handed_out:
                    continue
            except UNAVAILABLE as error:
                log.warning("no task runs are handed out for now", reason=first_line(error))
            await herald.wait(word, LOOK_SECONDS)

    async def _hand_out(self, id: UUID) -> bool | None:
        """Hand one run out and wait until it is acknowledged. False when the client leaves, None where another has it.

        Whatever goes wrong in between, the run is taken back.
        """
        self._busy = True
        try:
            return await self._hand_out_one(id)
        finally:
            self._busy = False

    async def _hand_out_one(self, id: UUID) -> bool | None:
        if self._gone:
            return False
        if not await self._hold(id, HELD_SECONDS):
            return None
        acknowledged = False
        try:
            document = await self._services.task_runs.read(id)
            if document is None:
                return None
            await self._socket.send(document)
            said = await self._answer(id)
            acknowledged = said == "ack"
            if acknowledged:
                command = TakeTaskRun(caller=self._socket.caller, id=id, subscriber=self._name)
                await self._services.queue.execute(command)
                return True
        finally:
            if not acknowledged:
                self._take_back(id)
        if said == GONE:
            return False
        if said == "quit":
            await self._socket.close(NORMAL, "")
        else:
            await self._socket.close(VIOLATION, "Protocol violation: expected 'ack' message")
        return False

    async def _hold(self, id: UUID, seconds: float) -> bool:
        """Make a run the subscriber's for some time; False where it is another's."""
        command = HandOutTaskRun(caller=self._socket.caller, id=id, subscriber=self._name, seconds=seconds)
        answer = await self._services.queue.execute(command)
        return isinstance(answer, HandedOut) and answer.granted

    async def _answer(self, id: UUID) -> Any:
        """What kind of frame the client answers a run with, however long that takes while the run is its own."""
        seconds = HELD_SECONDS
        while True:
            try:
                return (await asyncio.wait_for(self._frames.get(), seconds / 2)).get("type")
            except TimeoutError:
                seconds = min(2 * seconds, HELD_AT_MOST)
                if not await self._hold(id, seconds):
                    return None

    def _take_back(self, id: UUID) -> None:
        """Take a run back without waiting for it; where even that fails, the ledger's time for it runs out."""
        command = HandBackTaskRun(caller=self._socket.caller, id=id, subscriber=self._name)
        try:
            self._services.queue.submit(command).add_done_callback(_look)
        except UNAVAILABLE as error:
            log.debug("a task run is not taken back", reason=first_line(error))


def _look(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()
