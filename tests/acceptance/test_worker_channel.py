"""The websocket of workers: the frames of a recorded worker are answered as server 3.9.1 answered them."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from domain.ids import new_id
from tests.acceptance.conftest import Service
from tests.support.samples import differences

RECORDED = Path(__file__).parents[1] / "data" / "samples" / "3.9.1" / "worker_channel.json"
FRAMES: list[dict[str, Any]] = json.loads(RECORDED.read_text())
"""All frames of one worker's connection in order: `dir` says who sent each, the client or the server."""

HELLO = next(frame["data"] for frame in FRAMES if frame["data"]["type"] == "worker.hello.v1")


@pytest.fixture
def pool(client: httpx.Client) -> str:
    """The name of a new work pool that has no template yet."""
    name = f"pool-{new_id().hex}"
    assert client.post("work_pools/", json={"name": name, "type": "process"}).status_code == 201
    return name


@asynccontextmanager
async def channel(service: Service, pool: str) -> AsyncIterator[ClientConnection]:
    url = f"{service.server.api.replace('http://', 'ws://')}/work_pools/{pool}/workers/connect"
    subprotocols = [Subprotocol("prefect")]
    async with connect(url, user_agent_header="prefect/3.9.1 (API 0.8.4)", subprotocols=subprotocols) as connection:
        await connection.send(json.dumps({"type": "auth", "token": None}))
        assert json.loads(await connection.recv()) == {"type": "auth_success"}
        yield connection


def hello(**payload: Any) -> str:
    frame = copy.deepcopy(HELLO)
    frame["payload"].update(payload)
    return json.dumps(frame)


def test_a_recorded_connection_goes_as_it_went(service: Service, client: httpx.Client, pool: str) -> None:
    async def go() -> None:
        changes = iter([{"is_paused": True}, {"is_paused": False}])
        async with channel(service, pool) as connection:
            for frame in FRAMES[2:]:
                if frame["dir"] == "c2s":
                    await connection.send(json.dumps(frame["data"]))
                    continue
                if frame["data"]["type"] == "work_pool.snapshot.v1":
                    change = await asyncio.to_thread(client.patch, f"work_pools/{pool}", json=next(changes))
                    assert change.status_code == 204
                answered = json.loads(await connection.recv())
                assert differences(frame["data"], answered) == []
                check_snapshot(frame["data"]["payload"], answered["payload"])

    asyncio.run(go())
    (worker,) = client.post(f"work_pools/{pool}/workers/filter", json={}).json()
    assert (worker["name"], worker["status"]) == (HELLO["payload"]["worker_name"], "ONLINE")
    template = client.get(f"work_pools/{pool}").json()["base_job_template"]
    assert template == HELLO["payload"]["default_base_job_template"]


def check_snapshot(recorded: dict[str, Any], answered: dict[str, Any]) -> None:
    recorded, answered = (payload.get("initial_snapshot", payload) for payload in (recorded, answered))
    for field in ("snapshot_sequence", "reason"):
        assert answered[field] == recorded[field]
    for field in ("is_paused", "status", "base_job_template"):
        assert answered["work_pool"][field] == recorded["work_pool"][field]


def test_a_worker_may_bring_its_pool_along(service: Service, client: httpx.Client) -> None:
    name = f"pool-{new_id().hex}"

    async def go() -> Any:
        async with channel(service, name) as connection:
            await connection.send(hello())
            return json.loads(await connection.recv())

    ready = asyncio.run(go())
    assert ready["payload"]["initial_snapshot"]["work_pool"]["type"] == "process"
    assert [queue["name"] for queue in ready["payload"]["resolved_work_queues"]] == ["default"]
    assert client.get(f"work_pools/{name}").json()["status"] == "READY"


@pytest.mark.parametrize(
    ("pool_name", "frame", "code", "reason"),
    [
        ("nowhere", hello(create_pool_if_not_found=False), 1008, "authorization_failed"),
        ("prefect-reserved", hello(), 1008, "authorization_failed"),
        (None, hello(work_queue_names=["nope"]), 1008, "authorization_failed"),
        (None, hello(supported_channel_versions=["v9"]), 1008, "unsupported_version"),
        (None, hello(heartbeat_interval_seconds=0), 1002, "protocol_error"),
        (None, json.dumps({"type": "worker.heartbeat.v1", "payload": {"worker_name": "w"}}), 1002, "protocol_error"),
        (None, "no json", 1002, "protocol_error"),
    ],
)
def test_a_worker_that_is_not_served_is_told_why(
    service: Service, pool: str, pool_name: str | None, frame: str, code: int, reason: str
) -> None:
    async def go() -> None:
        async with channel(service, pool_name or pool) as connection:
            await connection.send(frame)
            with pytest.raises(ConnectionClosed):
                await connection.recv()
            assert (connection.close_code, connection.close_reason) == (code, reason)

    asyncio.run(go())


def test_a_worker_whose_pool_is_deleted_is_sent_away(service: Service, client: httpx.Client, pool: str) -> None:
    async def go() -> None:
        async with channel(service, pool) as connection:
            await connection.send(hello())
            await connection.recv()
            assert (await asyncio.to_thread(client.delete, f"work_pools/{pool}")).status_code == 204
            with pytest.raises(ConnectionClosed):
                await connection.recv()
            assert connection.close_code == 1008

    asyncio.run(go())
