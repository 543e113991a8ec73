"""The feed of the ledger: every event once, in order, as pages and as a stream that may break off at any time."""

import asyncio
import contextlib
import os
import random
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance.conftest import Service
from tests.support.event_stream import PATH, STREAM, streaming
from tests.support.load import Acknowledged, drive_runs
from tests.support.server_process import ServerProcess, postmaster_pid, serving, wait_until
from tests.support.stored_events import count_events, read_events

SETTINGS = {"live_feed_patience_seconds": 1, "live_feed_readers": 5}


def pages(client: httpx.Client, after: int = 0, **query: Any) -> Iterator[dict[str, Any]]:
    """All events behind a position, page by page."""
    while True:
        answer = client.get(PATH, params={"after": after, **query})
        assert answer.status_code == 200, answer.text
        yield from answer.json()["events"]
        if answer.json()["next_after"] is None:
            return
        assert answer.json()["next_after"] > after
        after = answer.json()["next_after"]


def head(client: httpx.Client) -> int:
    return int(client.get("ledger/head").json()["position"])


def new_flow(client: httpx.Client) -> str:
    return str(client.post("flows/", json={"name": f"fed {uuid4()}"}).json()["id"])


def new_run(client: httpx.Client, flow_id: str, *states: str, **facts: Any) -> str:
    id: str = client.post("flow_runs/", json={"flow_id": flow_id, **facts}).json()["id"]
    for type in states:
        client.post(f"flow_runs/{id}/set_state", json={"state": {"type": type}})
    return id


def topics(events: Any) -> list[str]:
    return [event["topic"] for event in events]


def readers(client: httpx.Client) -> float:
    name = "flowledger_live_feed_readers"
    return sum(float(line.split()[-1]) for line in client.get("metrics").text.splitlines() if line.startswith(name))


@pytest.mark.parametrize("limit", [1, 7, 200])
def test_pages_hold_every_event_once_in_order(service: Service, client: httpx.Client, limit: int) -> None:
    new_run(client, new_flow(client), "RUNNING", "COMPLETED", "PENDING")
    read, stored = list(pages(client, limit=limit)), read_events(service.conninfo)
    assert [event["position"] for event in read] == list(range(1, head(client) + 1))
    assert [(event["topic"], event["id"]) for event in read] == [(event.topic, str(event.id)) for event in stored]
    assert [event["facts"] for event in read] == [event.facts for event in stored]


def test_an_event_of_the_feed_is_what_the_history_of_its_run_says(client: httpx.Client) -> None:
    behind = head(client)
    run = new_run(client, new_flow(client), "RUNNING", "PENDING", "COMPLETED")
    history = client.get(f"flow_runs/{run}/events").json()["events"]
    fed = list(pages(client, behind, flow_run_id=run))
    assert len(fed) == len(history) == 5
    for event, told in zip(fed, history, strict=True):
        for transition in (event["transition"], told["transition"]):
            if transition is not None:
                transition.pop("repeats", None)
                transition.pop("last_repeated_at", None)
        assert {name: event[name] for name in told} == told
        assert (event["id"], event["flow_run_id"]) == (run, run)


def test_events_can_be_had_of_a_run_with_its_task_runs_of_a_flow_of_a_topic_and_of_runs_with_tags(
    client: httpx.Client,
) -> None:
    behind = head(client)
    flow, other = new_flow(client), new_flow(client)
    run = new_run(client, flow, "RUNNING", tags=["blue", "warm"])
    task_of_run = {"flow_run_id": run, "task_key": "key", "dynamic_key": "0", "tags": ["blue"]}
    task = client.post("task_runs/", json=task_of_run).json()["id"]
    deployment = client.post("deployments/", json={"name": "fed", "flow_id": flow}).json()["id"]
    new_run(client, other, tags=["warm"])
    client.patch(f"flow_runs/{run}", json={"tags": ["cold"]})
    client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "COMPLETED"}})
    client.delete(f"flow_runs/{run}")

    def asked(**query: Any) -> list[tuple[str, str]]:
        return [(event["topic"], event["id"]) for event in pages(client, behind, **query)]

    of_run = [
        ("FlowRun.Created", run),
        ("FlowRun.StateSet", run),
        ("FlowRun.StateSet", run),
        ("TaskRun.Created", task),
        ("TaskRun.StateSet", task),
        ("FlowRun.Updated", run),
        ("FlowRun.StateSet", run),
        ("FlowRun.Deleted", run),
        ("TaskRun.Deleted", task),
    ]
    assert sorted(asked(flow_run_id=run)) == sorted(of_run)
    assert asked(task_run_id=task) == [event for event in of_run if event[1] == task]
    assert sorted(asked(flow_id=flow)) == sorted([("Flow.Created", flow), ("Deployment.Created", deployment), *of_run])
    assert asked(topic=["FlowRun.Deleted", "TaskRun.Deleted"]) == [event for event in asked() if "Deleted" in event[0]]
    assert asked(tag="warm", flow_id=flow) == asked(tag=["warm", "blue"]) == of_run[:3]
    assert asked(tag="cold") == of_run[5:8]
    assert asked(tag=["cold", "blue"]) == []


@pytest.mark.parametrize(
    "query",
    [
        {"after": "-1"},
        {"after": "first"},
        {"after": "9" * 5000},
        {"limit": "0.5"},
        {"limit": "201"},
        {"topic": "FlowRun.Flown"},
        {"topic": "\0"},
        {"flow_run_id": "7"},
        {"task_run_id": ""},
        {"flow_id": "none"},
    ],
)
def test_a_question_that_makes_no_sense_is_refused(client: httpx.Client, query: dict[str, str]) -> None:
    for headers in ({}, STREAM):
        if "limit" in query and headers:
            continue
        answer = client.get(PATH, params=query, headers=headers)
        assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("headers", [{}, STREAM])
def test_a_position_that_the_ledger_has_not_reached_is_told_apart(
    client: httpx.Client, headers: dict[str, str]
) -> None:
    answer = client.get(PATH, params={"after": head(client) + 1}, headers=headers)
    assert answer.status_code == 409
    assert "ends at position" in answer.json()["detail"]


def test_a_stream_gives_what_there_is_and_then_what_comes(service: Service, client: httpx.Client) -> None:
    behind = head(client)
    flow = new_flow(client)

    async def follow() -> list[str]:
        async with streaming(service.server, after=behind) as stream:
            first = await stream.take(1)
            run = await asyncio.to_thread(new_run, client, flow, "RUNNING")
            more = await stream.take(3)
            assert {event["id"] for event in more} == {run}
            assert stream.last_id == str(behind + 4)
            return topics([*first, *more])

    assert asyncio.run(follow()) == ["Flow.Created", "FlowRun.Created", "FlowRun.StateSet", "FlowRun.StateSet"]


def test_a_reader_that_comes_back_goes_on_behind_its_last_event(service: Service, client: httpx.Client) -> None:
    behind = head(client)
    new_run(client, new_flow(client), "RUNNING", "COMPLETED")

    async def follow() -> list[int]:
        async with streaming(service.server, after=behind) as stream:
            first = await stream.take(2)
        # The address still says where the first connection began.
        async with streaming(service.server, stream.last_id, after=behind) as again:
            rest = await again.take(3)
        return [event["position"] for event in [*first, *rest]]

    assert asyncio.run(follow()) == list(range(behind + 1, behind + 6))


def test_a_stream_has_only_what_fits(service: Service, client: httpx.Client) -> None:
    behind = head(client)
    flow = new_flow(client)

    async def follow() -> list[str]:
        async with streaming(service.server, after=behind, topic="FlowRun.StateSet", tag="wanted") as stream:
            await asyncio.to_thread(new_run, client, flow, "RUNNING", tags=["other"])
            run = await asyncio.to_thread(new_run, client, flow, "RUNNING", tags=["wanted"])
            events = await stream.take(2)
            assert {event["id"] for event in events} == {run}
            return topics(events)

    assert asyncio.run(follow()) == ["FlowRun.StateSet", "FlowRun.StateSet"]


def test_what_was_read_in_fifty_pieces_during_a_load_is_every_event_once_in_order(service: Service) -> None:
    wanted, chance = 10_000, random.Random(7)  # noqa: S311
    with service.server.client() as client:
        flow, behind = new_flow(client), head(client)

    def is_enough(known: Acknowledged) -> bool:
        # A run is created, and enters three states.
        return len(known.created) + len(known.entered) >= wanted

    async def follow(load: asyncio.Task[Acknowledged]) -> list[int]:
        positions: list[int] = []
        last_id: str | None = None
        # Each piece ends wherever its reader happens to be: in the midst of a chunk, and of an event.
        for end in [*sorted(chance.sample(range(1, wanted), 50)), wanted]:
            async with streaming(service.server, last_id, after=behind) as stream:
                positions += [event["position"] for event in await stream.take(end - len(positions))]
                last_id = stream.last_id
        await load
        left = count_events(service.conninfo) - positions[-1]
        async with streaming(service.server, last_id, after=behind) as stream:
            return positions + [event["position"] for event in await stream.take(left)]

    async def both() -> list[int]:
        return await follow(asyncio.create_task(drive_runs(service.server, flow, connections=16, until=is_enough)))

    positions = asyncio.run(both())
    assert positions == list(range(behind + 1, count_events(service.conninfo) + 1))
    assert len(positions) >= wanted


def test_a_reader_that_takes_nothing_is_cut_off_and_may_come_back(service: Service, client: httpx.Client) -> None:
    behind = head(client)
    flow = new_flow(client)
    # More than the buffers between the two hold.
    for _ in range(40):
        client.post("flow_runs/", json={"flow_id": flow, "parameters": {"much": "x" * 500_000}})
    last = head(client)
    with socket.create_connection(service.server.address) as idle:
        idle.sendall(
            f"GET /api/{PATH}?after={behind} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        wait_until(lambda: readers(client) == 1)
        wait_until(lambda: readers(client) == 0)
        received = b""
        try:
            while piece := idle.recv(1 << 20):
                received += piece
        except ConnectionResetError:
            pass
    whole = [block for block in received.split(b"\n\n") if b"data: {" in block]
    got = [int(block.rpartition(b"id: ")[2].split(b"\n")[0]) for block in whole[:-1]]
    assert got == list(range(behind + 1, behind + 1 + len(got)))
    assert len(got) < last - behind

    async def come_back() -> list[int]:
        async with streaming(service.server, str(got[-1] if got else behind)) as stream:
            return [event["position"] for event in await stream.take(last - behind - len(got))]

    assert got + asyncio.run(come_back()) == list(range(behind + 1, last + 1))


def test_no_more_readers_are_let_in_than_are_allowed(service: Service, client: httpx.Client) -> None:
    async def crowd() -> int:
        async with asyncio.TaskGroup() as group, asyncio.timeout(60):
            left = asyncio.Event()

            async def one(ready: asyncio.Event) -> None:
                async with streaming(service.server) as stream:
                    await stream.take(1)
                    ready.set()
                    await left.wait()

            there = [asyncio.Event() for _ in range(5)]
            for ready in there:
                group.create_task(one(ready))
            for ready in there:
                await ready.wait()
            answer = await asyncio.to_thread(client.get, PATH, headers=STREAM)
            left.set()
            assert "5 readers" in answer.json()["detail"]
            return answer.status_code

    assert asyncio.run(crowd()) == 503
    wait_until(lambda: readers(client) == 0)


def test_streams_end_in_good_order_when_the_server_stops(tmp_path: Path, log: Path, conninfo: str) -> None:
    with serving(log, database_url=conninfo) as server:
        with server.client() as client:
            new_flow(client)

        async def follow() -> list[str]:
            async with streaming(server) as stream:
                first = await stream.take(1)
                server.process.terminate()
                # An end that is cut short raises.
                return topics([*first, *[event async for event in stream.events]])

        assert asyncio.run(follow()) == ["Flow.Created"]
        assert server.process.wait(60) == 0
    assert "without completing response" not in log.read_text()


def test_a_stream_ends_with_the_ledger_that_it_is_of(log: Path, conninfo: str) -> None:
    with serving(log, database_url=conninfo, allow_clear=True) as server:

        async def follow(client: httpx.Client) -> list[str]:
            async with streaming(server) as stream:
                first = await stream.take(1)
                await asyncio.to_thread(client.post, "admin/database/clear", json={"confirm": True})
                await asyncio.to_thread(new_flow, client)
                return topics([*first, *[event async for event in stream.events]])

        with server.client() as client:
            new_flow(client)
            assert asyncio.run(follow(client)) == ["Flow.Created"]


def test_streams_go_on_when_the_database_has_been_away(tmp_path: Path, log: Path) -> None:
    data_dir = tmp_path / "data"

    async def follow(server: ServerProcess, client: httpx.Client) -> list[str]:
        async with streaming(server) as stream:
            first = await stream.take(1)
            os.kill(postmaster_pid(data_dir), signal.SIGKILL)
            while (await asyncio.to_thread(client.post, "flows/", json={"name": "afterwards"})).status_code != 201:
                pass
            return topics([*first, *await stream.take(1)])

    with serving(log, data_dir=data_dir) as server, server.client() as client:
        new_flow(client)
        assert asyncio.run(follow(server, client)) == ["Flow.Created", "Flow.Created"]


def test_five_hundred_idle_readers_cost_less_than_a_hundred_mebibytes(log: Path, conninfo: str) -> None:
    request = f"GET /api/{PATH} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n".encode()
    with serving(log, database_url=conninfo) as server, server.client() as client, contextlib.ExitStack() as stack:
        for _ in range(100):
            new_flow(client)
        before = resident_bytes(server)
        for _ in range(500):
            reader = stack.enter_context(socket.create_connection(server.address))
            reader.sendall(request)
        wait_until(lambda: readers(client) == 500)
        new_flow(client)
        assert resident_bytes(server) - before < 100 * 1024 * 1024


def resident_bytes(server: ServerProcess) -> int:
    """How much memory a server takes."""
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
