"""The websocket `workers/connect` of a work pool: a 3.9 worker says that it is there, and hears of its pool's changes.

Runs are still asked for over HTTP. A connection that is refused is closed with a word by which the worker knows whether
to come back. Source: frames recorded between a worker and server 3.9.1.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import from_json
from starlette.routing import WebSocketRoute

from api.call import Services
from api.errors import UNAVAILABLE
from api.routes.websocket import POLICY_VIOLATION, Socket, websocket
from domain.commands.work_pools import CreateWorkPool, UpdateWorkPool
from domain.errors import ForeignShape, LedgerError, NameTaken, StoreUnavailable
from domain.ids import new_id
from domain.work_pool import WorkPoolSettings
from projections import work
from projections.documents import as_json

CHANNEL = "work_pool_worker_channel.v1"
CAPABILITIES = ("worker_heartbeat.v1", "work_pool_snapshot.v1")
PROTOCOL_ERROR = 1002

LOOK_SECONDS = 2.0
"""How often a connection looks whether its pool has changed."""

MOST_QUEUES = 10_000


class HelloPayload(BaseModel):
    consumer_id: UUID
    worker_name: str = Field(min_length=1)
    worker_type: str = Field(min_length=1)
    heartbeat_interval_seconds: int = Field(gt=0, lt=2**31)
    supported_channel_versions: list[str] = Field(min_length=1)
    requested_capabilities: list[str] = Field(min_length=1)
    work_queue_names: list[str] = Field(default_factory=list)
    create_pool_if_not_found: bool = False
    default_base_job_template: dict[str, Any] = Field(default_factory=dict)


class Hello(BaseModel):
    """The first frame of a worker: who it is, and what it can do."""

    type: Literal["worker.hello.v1"]
    payload: HelloPayload


class HeartbeatPayload(BaseModel):
    worker_name: str = Field(min_length=1)
    heartbeat_interval_seconds: int | None = Field(default=None, gt=0, lt=2**31)


class Heartbeat(BaseModel):
    """What a worker says from time to time."""

    type: Literal["worker.heartbeat.v1"]
    payload: HeartbeatPayload


class Unwelcome(Exception):
    """A worker that is not served, with the code and the word that it gets."""

    def __init__(self, word: str, code: int = POLICY_VIOLATION) -> None:
        super().__init__(word)
        self.word = word
        self.code = code


def route(services: Services) -> WebSocketRoute:
    return websocket("/work_pools/{work_pool_name}/workers/connect", services, serve_worker)


async def serve_worker(socket: Socket) -> None:
    """Serve one worker until it goes."""
    try:
        hello = await _hello(socket)
        channel = _Channel(socket, hello)
        await channel.open()
        watching = asyncio.create_task(channel.tell_changes())
        try:
            await channel.take_heartbeats()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    except Unwelcome as unwelcome:
        await socket.close(unwelcome.code, unwelcome.word)


async def _hello(socket: Socket) -> HelloPayload:
    try:
        hello = Hello.model_validate_json(await socket.receive_text()).payload
    except ValidationError:
        raise Unwelcome("protocol_error", PROTOCOL_ERROR) from None
    if CHANNEL not in hello.supported_channel_versions:
        raise Unwelcome("unsupported_version")
    return hello


class _Channel:
    """The connection of one worker to its pool; snapshots of the pool are counted from 1."""

    def __init__(self, socket: Socket, hello: HelloPayload) -> None:
        self._socket = socket
        self._hello = hello
        self._pool_name = socket.params["work_pool_name"]
        self._reads = socket.services.reads
        self._sequence = 0
        self._pool_id = hello.consumer_id
        self._told = b""

    async def open(self) -> None:
        """Make the pool, or give it the worker's template, where the worker wants that, and greet the worker."""
        document = await self._pool()
        if document is None:
            await self._make_pool()
        elif not from_json(document)["base_job_template"] and self._hello.default_base_job_template:
            settings = WorkPoolSettings(base_job_template=self._hello.default_base_job_template)
            await self._execute(UpdateWorkPool(caller=self._socket.caller, name=self._pool_name, changes=settings))
        found = await self._reads.run(work.find_pool, self._pool_name)
        if found is None:
            raise Unwelcome("authorization_failed")
        self._pool_id = found
        queues = await self._queues()
        await self._heard(self._hello.worker_name, self._hello.heartbeat_interval_seconds)
        document = await self._pool()
        if document is None:
            raise Unwelcome("authorization_failed")
        self._told = _changing(document)
        await self._send("worker.ready.v1", self._ready(queues, document))

    async def _make_pool(self) -> None:
        if not self._hello.create_pool_if_not_found:
            raise Unwelcome("authorization_failed")
        settings = WorkPoolSettings(base_job_template=self._hello.default_base_job_template)
        await self._execute(
            CreateWorkPool(
                caller=self._socket.caller,
                id=new_id(),
                name=self._pool_name,
                type=self._hello.worker_type,
                settings=settings,
            )
        )

    async def _execute(self, command: CreateWorkPool | UpdateWorkPool) -> None:
        try:
            await self._socket.services.queue.execute(command, 0)
        except NameTaken:
            return
        except (StoreUnavailable, ForeignShape):
            raise
        except LedgerError:
            raise Unwelcome("authorization_failed") from None

    async def _queues(self) -> list[dict[str, Any]]:
        """The queues that the worker asked for, by id and name, or all of its pool."""
        listed = await self._reads.run(work.read_queues, pool_id=self._pool_id, limit=MOST_QUEUES)
        queues = {queue["name"]: queue["id"] for queue in from_json(listed)}
        names = dict.fromkeys(self._hello.work_queue_names or queues)
        if not names.keys() <= queues.keys():
            raise Unwelcome("authorization_failed")
        return [{"id": queues[name], "name": name} for name in names]

    def _ready(self, queues: list[dict[str, Any]], document: bytes) -> bytes:
        requested = dict.fromkeys(self._hello.requested_capabilities)
        facts = {
            "consumer_id": self._hello.consumer_id,
            "worker_id": None,
            "selected_channel_version": CHANNEL,
            "effective_heartbeat_interval_seconds": self._hello.heartbeat_interval_seconds,
            "accepted_capabilities": CAPABILITIES,
            "rejected_capabilities": [name for name in requested if name not in CAPABILITIES],
            "effective_max_cleanup_concurrency": 0,
            "resolved_work_queues": queues,
        }
        return b'%s,"initial_snapshot":%s}' % (as_json(facts)[:-1], self._snapshot("initial", document))

    def _snapshot(self, reason: str, document: bytes) -> bytes:
        self._sequence += 1
        return b'{"snapshot_sequence":%d,"reason":"%s","work_pool":%s}' % (self._sequence, reason.encode(), document)

    async def take_heartbeats(self) -> None:
        """Take note of what the worker says until it goes. Raises Unwelcome for what is no heartbeat."""
        while True:
            frame = await self._socket.receive_text()
            try:
                said = Heartbeat.model_validate_json(frame).payload
            except ValidationError:
                raise Unwelcome("protocol_error", PROTOCOL_ERROR) from None
            await self._heard(said.worker_name, said.heartbeat_interval_seconds)

    async def tell_changes(self) -> None:
        """Tell the worker whenever its pool has changed, until it is cancelled; close when the pool is gone."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                document = await self._pool()
            except UNAVAILABLE:
                # The next heartbeat tells the worker, unless the database is there again by then.
                continue
            if document is None:
                await self._socket.close(POLICY_VIOLATION, "authorization_failed")
                return
            if _changing(document) != self._told:
                self._told = _changing(document)
                await self._send("work_pool.snapshot.v1", self._snapshot("work_pool_updated", document))

    async def _pool(self) -> bytes | None:
        return await self._reads.run(work.read_pool, self._pool_name)

    async def _heard(self, worker_name: str, interval: int | None) -> None:
        await self._reads.run(work.note_heartbeat, self._pool_id, worker_name, interval)

    async def _send(self, type: str, payload: bytes) -> None:
        head = as_json({"type": type, "id": new_id(), "sent_at": datetime.now(UTC)})
        await self._socket.send(b'%s,"payload":%s}' % (head[:-1], payload))


def _changing(document: bytes) -> bytes:
    """What of a pool's document a worker is told of when it changes: all that its settings say."""
    pool = from_json(document)
    return as_json({name: pool[name] for name in WorkPoolSettings.model_fields if name != "description"})
