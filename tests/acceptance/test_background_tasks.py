"""Task runs in the background: each goes to one of those who subscribed, over all server processes, whoever dies."""

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from api.embedded_postgres import EmbeddedPostgres
from tests.acceptance.conftest import Service
from tests.checks import check_ledger
from tests.support.samples import differences
from tests.support.server_process import ServerProcess, serving, wait_until
from tests.support.socket_client import asking, greeted, told
from tests.support.stored_events import of_run, read_events

PATH = "/task_runs/subscriptions/scheduled"
FRAMES = Path(__file__).parents[1] / "data" / "samples" / "3.9.1" / "WS_api_task_runs_subscriptions_scheduled.json"
ACK = json.dumps({"type": "ack"})


def schedule(client: httpx.Client, task_key: str, number: int = 0, **details: Any) -> str:
    """The id of a new task run that waits for somebody to run it."""
    state = {"type": "SCHEDULED", "state_details": {"deferred": True, **details}}
    body = {"name": "t", "task_key": task_key, "dynamic_key": f"{task_key}-{number}", "state": state}
    answer = client.post("task_runs/", json=body)
    assert answer.status_code == 201
    id: str = answer.json()["id"]
    return id


def subscribing(server: ServerProcess, *keys: str, client_id: str = "host-1") -> Any:
    return asking(server, PATH, type="subscribe", keys=list(keys), client_id=client_id)


async def take(connection: ClientConnection) -> str:
    """The id of the next run, which is acknowledged."""
    run = await told(connection)
    await connection.send(ACK)
    id: str = run["id"]
    return id


def taken(conninfo: str, run: str) -> int:
    """How often a run was acknowledged, as the ledger knows."""
    return sum(event.topic == "TaskRun.Taken" for event in of_run(read_events(conninfo), run))


def test_a_run_is_handed_out_in_the_frame_that_was_recorded(service: Service, client: httpx.Client) -> None:
    frames = [
        frame["data"] for frame in json.loads(FRAMES.read_text()) if frame.get("dir") == "s2c" and "data" in frame
    ]
    recorded = next(frame for frame in frames if "task_key" in frame)

    async def go() -> Any:
        async with subscribing(service.server, "recorded") as connection:
            run = await asyncio.to_thread(schedule, client, "recorded", 0, task_parameters_id=recorded["id"])
            frame = await told(connection)
            assert frame["id"] == run
            return frame

    frame = asyncio.run(go())
    assert differences(recorded, frame) == []


def test_runs_are_handed_out_in_the_order_of_their_time_and_only_those_of_the_tasks_that_were_named(
    service: Service, client: httpx.Client
) -> None:
    now = datetime.now(UTC)
    runs = [schedule(client, "in-order", n, scheduled_time=(now - timedelta(seconds=n)).isoformat()) for n in range(4)]
    schedule(client, "another")
    later = (now + timedelta(hours=1)).isoformat()
    not_yet = schedule(client, "in-order", 9, scheduled_time=later)

    async def go() -> list[str]:
        async with subscribing(service.server, "in-order", "not-there") as connection:
            return [await take(connection) for _ in runs]

    assert asyncio.run(go()) == runs[::-1]
    wait_until(lambda: all(taken(service.conninfo, run) for run in runs))
    assert taken(service.conninfo, not_yet) == 0
    check_ledger(service.conninfo)


def test_a_run_that_was_not_acknowledged_goes_to_another_when_its_subscriber_goes(
    service: Service, client: httpx.Client
) -> None:
    run = schedule(client, "left")

    async def go() -> None:
        async with subscribing(service.server, "left") as first:
            assert (await told(first))["id"] == run
        async with subscribing(service.server, "left") as second:
            assert await take(second) == run

    asyncio.run(go())
    wait_until(lambda: taken(service.conninfo, run) == 1)


def test_who_answers_with_something_else_is_turned_away_and_loses_the_run(
    service: Service, client: httpx.Client
) -> None:
    run = schedule(client, "refused")

    async def go() -> list[int]:
        codes = []
        for said in ("quit", "nonsense"):
            async with subscribing(service.server, "refused") as connection:
                assert (await told(connection))["id"] == run
                await connection.send(json.dumps({"type": said}))
                with pytest.raises(ConnectionClosed) as closed:
                    await told(connection)
                assert closed.value.rcvd is not None
                codes.append(closed.value.rcvd.code)
        async with subscribing(service.server, "refused") as connection:
            assert await take(connection) == run
        return codes

    assert asyncio.run(go()) == [1000, 4001]


@pytest.mark.parametrize(
    ("first", "missing"),
    [
        ({}, "'subscribe' message"),
        ({"type": "subscribe", "client_id": "c"}, "'keys'"),
        ({"type": "subscribe", "keys": [], "client_id": "c"}, "'keys'"),
        ({"type": "subscribe", "keys": ["k"]}, "'client_id'"),
        ({"type": "subscribe", "keys": 1, "client_id": "c"}, "keys"),
    ],
)
def test_a_subscription_that_lacks_something_is_refused(service: Service, first: dict[str, Any], missing: str) -> None:
    async def go() -> None:
        async with greeted(service.server, PATH) as connection:
            await connection.send(json.dumps(first))
            with pytest.raises(ConnectionClosed) as closed:
                await told(connection)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4001
            assert missing in closed.value.rcvd.reason

    asyncio.run(go())


def test_those_who_subscribed_are_shown_until_they_go(service: Service, client: httpx.Client) -> None:
    def workers(*keys: str) -> list[str]:
        body = {"task_worker_filter": {"task_keys": list(keys)}} if keys else {}
        found = client.post("task_workers/filter", json=body).json()
        assert all(worker.keys() == {"identifier", "task_keys", "timestamp"} for worker in found)
        return [worker["identifier"] for worker in found]

    async def go() -> None:
        async with (
            subscribing(service.server, "shown-a", "shown-b", client_id="one"),
            subscribing(service.server, "shown-b", client_id="two"),
        ):
            await asyncio.to_thread(wait_until, lambda: workers("shown-b") == ["one", "two"])
            assert workers("shown-a", "asked-for-by-nobody") == ["one"]
            assert set(workers()) >= {"one", "two"}

    asyncio.run(go())
    wait_until(lambda: workers("shown-b") == [])


def test_every_run_is_acknowledged_once_while_subscribers_die_and_two_processes_serve(
    log: Path, tmp_path: Path
) -> None:
    """Of eight subscribers four go with a run in hands, each after it has taken some; the others take the rest."""
    acknowledged: Counter[str] = Counter()

    async def work(server: ServerProcess, leaves_after: int | None, done: asyncio.Event) -> None:
        async with subscribing(server, "hard") as connection:
            count = 0
            with suppress(ConnectionClosed):
                while not done.is_set():
                    run = (await told(connection))["id"]
                    if count == leaves_after:
                        # As a worker that is killed: without a word.
                        connection.transport.abort()
                        return
                    await connection.send(ACK)
                    acknowledged[run] += 1
                    count += 1
                    if sum(acknowledged.values()) == len(runs):
                        done.set()

    async def go(server: ServerProcess) -> None:
        done = asyncio.Event()
        workers = [asyncio.create_task(work(server, 2 if n % 2 else None, done)) for n in range(8)]
        async with asyncio.timeout(60):
            await done.wait()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    with serving(log, data_dir=tmp_path / "data", workers=2) as server:
        with server.client() as client:
            runs = [schedule(client, "hard", number) for number in range(60)]
        asyncio.run(go(server))
        conninfo = EmbeddedPostgres(tmp_path / "data").conninfo
        assert acknowledged == Counter(runs)
        wait_until(lambda: [taken(conninfo, run) for run in runs] == [1] * len(runs))
        check_ledger(conninfo)
    assert "Traceback" not in log.read_text()


def test_runs_that_wait_outlive_the_server(log: Path, tmp_path: Path) -> None:
    with serving(log, data_dir=tmp_path / "data") as server, server.client() as client:
        run = schedule(client, "kept")
        server.kill()

    async def go(server: ServerProcess) -> str:
        async with AsyncExitStack() as stack:
            return await take(await stack.enter_async_context(subscribing(server, "kept")))

    with serving(log, data_dir=tmp_path / "data") as server:
        assert asyncio.run(go(server)) == run
