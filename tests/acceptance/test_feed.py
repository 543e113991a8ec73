"""The feed of events over HTTP and on its websocket: each event once, what there is and then what comes."""

import asyncio
import json
import os
import random
import signal
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from tests.acceptance.conftest import Service
from tests.support.event_client import confirm, reporting, reports_of_one_run, send
from tests.support.http_connection import HttpConnection
from tests.support.samples import differences
from tests.support.server_process import ServerProcess, postmaster_pid, serving
from tests.support.socket_client import ALWAYS, asking, following_events, greeted, told, told_events

FRAMES = Path(__file__).parents[1] / "data" / "samples" / "3.9.1" / "WS_api_events_out.json"


def run_through(client: httpx.Client, *types: str) -> str:
    """The id of a new flow run that went through states, PENDING first."""
    flow = client.post("flows/", json={"name": "fed"}).json()["id"]
    run: str = client.post("flow_runs/", json={"flow_id": flow}).json()["id"]
    for type in types:
        answer = client.post(f"flow_runs/{run}/set_state", json={"state": {"type": type}, "force": True})
        assert answer.status_code == 201
    return run


def own_event(name: str = "my.event", resource: str = "my.thing", **more: Any) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": name,
        "resource": {"prefect.resource.id": resource},
        "payload": {"some": "payload"},
        **more,
    }


def of(run: str) -> dict[str, Any]:
    return {"resource": {"id": [f"prefect.flow-run.{run}"]}}


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["event"].rpartition(".")[2] for event in events]


def filtered(client: httpx.Client, limit: int = 50, **filter: Any) -> dict[str, Any]:
    answer = client.post("events/filter", json={"filter": {"occurred": ALWAYS, **filter}, "limit": limit})
    assert answer.status_code == 200
    page: dict[str, Any] = answer.json()
    return page


def test_events_are_listed_page_by_page_newest_first(client: httpx.Client) -> None:
    run = run_through(client, "RUNNING", "COMPLETED")
    page = filtered(client, 2, **of(run))
    assert (names(page["events"]), page["total"]) == (["Completed", "Running"], 3)
    rest = client.get(page["next_page"]).json()
    assert (names(rest["events"]), rest["total"], rest["next_page"]) == (["Pending"], 3, None)


@pytest.mark.parametrize("token", ["", "x", "e30=", "%00", "é"])
def test_what_is_no_token_of_a_page_is_refused(client: httpx.Client, token: str) -> None:
    answer = client.get("events/filter/next", params={"page-token": token})
    assert (answer.status_code, answer.json()) == (403, {"detail": "Forbidden"})


def test_events_are_counted(client: httpx.Client) -> None:
    run = run_through(client, "RUNNING")
    since = {"since": datetime.now(UTC).isoformat(), "until": datetime.now(UTC).isoformat()}
    (count,) = client.post(
        "events/count-by/resource", json={"filter": {"occurred": {}, **of(run)}, "time_unit": "week"}
    ).json()
    assert (count["value"], count["count"]) == (f"prefect.flow-run.{run}", 2)
    assert count.keys() == {"value", "label", "count", "start_time", "end_time"}
    day = client.post("events/count-by/day", json={"filter": {"occurred": since}}).json()
    assert [one["count"] for one in day] == [0]
    many = client.post("events/count-by/time", json={"filter": {"occurred": {}}, "time_unit": "second"})
    assert many.status_code == 422
    assert "too many" in many.json()["detail"]
    assert client.post("events/count-by/moon", json={"filter": {}}).status_code == 422


def test_events_can_be_sent_without_a_websocket_also_those_that_report_task_runs(client: httpx.Client) -> None:
    run = run_through(client)
    event, reports = own_event(), reports_of_one_run(run)
    assert client.post("events", json=[event, *reports, event]).status_code == 204
    assert client.post("events", json=[event]).status_code == 204
    (found,) = filtered(client, id={"id": [event["id"]]})["events"]
    assert found == {
        **event,
        "occurred": found["occurred"],
        "related": [],
        "follows": None,
        "received": found["received"],
    }
    related = {"id": [f"prefect.flow-run.{run}"], "role": ["flow-run"]}
    assert names(filtered(client, related=related)["events"]) == ["Completed", "Running", "Pending"]


@pytest.mark.parametrize(
    "bad",
    [
        {"resource": {}},
        {"resource": {"prefect.resource.id": "x" * 3000}},
        {"event": "é" * 2000},
        {"id": "no"},
        {"payload": []},
        {"event": "nul\0"},
        {
            "event": "prefect.task-run.Running",
            "resource": {"prefect.resource.id": "x", "prefect.orchestration": "client"},
        },
    ],
    ids=lambda bad: f"{bad}"[:30],
)
def test_a_bad_event_is_refused_and_nothing_is_written(client: httpx.Client, bad: dict[str, Any]) -> None:
    before = filtered(client)["total"]
    answer = client.post("events", json=[own_event() | bad])
    assert answer.status_code == 422, answer.text
    assert filtered(client)["total"] == before


def test_an_event_that_was_confirmed_on_the_websocket_is_in_the_feed(service: Service, client: httpx.Client) -> None:
    event = own_event(payload={"text": "before\0after", "much": 1})

    async def go() -> None:
        async with reporting(service.server) as connection:
            await send(connection, event)
            await send(connection, event)
            await connection.send("no event")
            await confirm(connection)

    asyncio.run(go())
    (found,) = filtered(client, id={"id": [event["id"]]})["events"]
    assert found["payload"] == {"text": "before\N{REPLACEMENT CHARACTER}after", "much": 1}


def test_a_follower_gets_what_there_was_and_then_what_comes_in_recorded_frames(
    service: Service, client: httpx.Client
) -> None:
    run = run_through(client, "RUNNING")

    async def go() -> list[dict[str, Any]]:
        async with following_events(service.server, **of(run)) as connection:
            events = await told_events(connection, 2)
            for name in ("Cancelling", "Cancelled"):
                state = {"state": {"type": name.upper(), "name": name}, "force": True}
                await asyncio.to_thread(client.post, f"flow_runs/{run}/set_state", json=state)
                events += await told_events(connection, 1)
            return events

    events = asyncio.run(go())
    assert names(events) == ["Pending", "Running", "Cancelling", "Cancelled"]
    recorded = [frame["data"] for frame in json.loads(FRAMES.read_text()) if "data" in frame]
    shape = next(frame["event"] for frame in recorded if frame["type"] == "event")
    shape["related"] = shape["related"][:1]
    assert differences(shape, events[-1]) == []
    assert [event["follows"] for event in events] == [None, *(event["id"] for event in events[:-1])]


def test_a_follower_may_do_without_what_there_was(service: Service, client: httpx.Client) -> None:
    run_through(client, "RUNNING")
    event = own_event("my.signal")

    async def go() -> None:
        asked = {"type": "filter", "filter": {"occurred": ALWAYS}, "backfill": False}
        async with asking(service.server, "/events/out", **asked) as connection:
            while True:
                # Until the follower is known to follow, what is sent may still be before its time.
                await asyncio.to_thread(client.post, "events", json=[event | {"id": str(uuid4())}])
                try:
                    frame = json.loads(await asyncio.wait_for(connection.recv(), 1))
                except TimeoutError:
                    continue
                assert frame["event"]["event"] == "my.signal"
                return

    asyncio.run(go())


@pytest.mark.parametrize(
    "first",
    [
        *("", "[]", "null", '{"type":"auth"}', '{"type":"filter"}', '{"type":"filter","filter":{"nope":1}}'),
        '{"type":"filter","filter":{"%s":1}}' % ("\N{LATIN SMALL LETTER E WITH ACUTE}" * 200),
        "{" * 9999,
    ],
)
@pytest.mark.parametrize("path", ["/events/out", "/logs/out"])
def test_who_does_not_begin_with_a_filter_is_turned_away(service: Service, path: str, first: str) -> None:
    async def go() -> None:
        async with greeted(service.server, path) as connection:
            await connection.send(first)
            with pytest.raises(ConnectionClosed) as closed:
                await told(connection)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1002

    asyncio.run(go())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("occurred", "event", "resource", "related", "any_resource", "id", "text", "order", "level", "flow_run_id")
wild_frames = (
    st.text(max_size=50)
    | json_values.map(json.dumps)
    | st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=3).map(
        lambda filter: json.dumps({"type": "filter", "filter": filter, "keys": ["k"], "client_id": "c"})
    )
    | json_values.map(lambda keys: json.dumps({"type": "subscribe", "keys": keys, "client_id": keys}))
)


@settings(max_examples=40, deadline=None)
@given(frames=st.lists(wild_frames, max_size=3))
def test_no_frame_makes_the_server_fail(service: Service, frames: list[str]) -> None:
    async def go() -> None:
        for path in ("/events/out", "/logs/out", "/task_runs/subscriptions/scheduled", "/events/in"):
            async with greeted(service.server, path) as connection:
                try:
                    for frame in frames:
                        await connection.send(frame)
                except ConnectionClosed:
                    continue

    asyncio.run(go())
    log = service.server.log.read_text()
    assert "Traceback" not in log
    assert '"level": "error"' not in log


async def write(server: ServerProcess, runs: int) -> None:
    """Lead runs through their lives, and send an event between."""
    async with HttpConnection(server) as connection:
        _, flow = await connection.post("/flows/", {"name": "fed"})
        for _ in range(runs):
            _, run = await connection.post("/flow_runs/", {"flow_id": flow["id"]})
            for type in ("RUNNING", "COMPLETED"):
                await connection.post(f"/flow_runs/{run['id']}/set_state", {"state": {"type": type}})
            await connection.post("/events", [own_event(resource=f"prefect.flow-run.{run['id']}")])


async def follow_by_parts(server: ServerProcess, expected: int) -> list[list[dict[str, Any]]]:
    """What arrives on connections of which each is left after some events, but for the last, which gets all."""
    parts: list[list[dict[str, Any]]] = []
    for number in (*(random.Random(1).randrange(1, expected) for _ in range(6)), expected):  # noqa: S311
        async with following_events(server) as connection:
            parts.append(await told_events(connection, number))
    return parts


def test_every_event_arrives_once_and_in_order_while_writers_write_and_the_follower_comes_and_goes(
    log: Path, tmp_path: Path
) -> None:
    writers, runs = 4, 20

    async def go(server: ServerProcess) -> list[list[dict[str, Any]]]:
        following = asyncio.create_task(follow_by_parts(server, writers * runs * 4))
        await asyncio.gather(*(write(server, runs) for _ in range(writers)))
        return await following

    with serving(log, data_dir=tmp_path / "data", workers=2) as server:
        parts = asyncio.run(go(server))
        with server.client() as client:
            assert filtered(client)["total"] == writers * runs * 4
    for part in parts:
        ids = [event["id"] for event in part]
        assert len(ids) == len(set(ids))
        states: dict[str, list[str]] = defaultdict(list)
        for event in part:
            if event["event"].startswith("prefect."):
                states[event["resource"]["prefect.resource.id"]].append(names([event])[0])
        assert all(list(life) == ["Pending", "Running", "Completed"][: len(life)] for life in states.values())
    assert {event["event"] for event in parts[-1]} >= {"my.event", "prefect.flow-run.Completed"}


def test_a_follower_goes_on_after_the_database_died(log: Path, tmp_path: Path) -> None:

    async def go(server: ServerProcess) -> list[dict[str, Any]]:
        with server.client() as client:
            run = run_through(client, "RUNNING")
            async with following_events(server, **of(run)) as connection:
                events = await told_events(connection, 2)
                os.kill(postmaster_pid(tmp_path / "data"), signal.SIGKILL)
                state = {"state": {"type": "COMPLETED"}}
                while (
                    await asyncio.to_thread(client.post, f"flow_runs/{run}/set_state", json=state)
                ).status_code > 299:
                    pass
                return events + await told_events(connection, 1)

    with serving(log, data_dir=tmp_path / "data") as server:
        assert names(asyncio.run(go(server))) == ["Pending", "Running", "Completed"]


def test_log_lines_are_followed_from_those_there_are_on(service: Service, client: httpx.Client) -> None:
    run, other = str(uuid4()), str(uuid4())

    def line(message: str, of_run: str = run) -> dict[str, Any]:
        at = datetime.now(UTC).isoformat()
        return {"name": "n", "level": 20, "message": message, "timestamp": at, "flow_run_id": of_run}

    async def go() -> list[dict[str, Any]]:
        asked = {"type": "filter", "filter": {"operator": "and_", "level": None, "flow_run_id": {"any_": [run]}}}
        async with asking(service.server, "/logs/out", **asked) as connection:
            frames = [await told(connection) for _ in range(2)]
            for message in ("third", "fourth"):
                lines = [line(message), line("of another", other)]
                await asyncio.to_thread(client.post, "logs/", json=lines)
                frames.append(await told(connection))
            return frames

    client.post("logs/", json=[line("first"), line("second"), line("of another", other)])
    frames = asyncio.run(go())
    assert [frame["log"]["message"] for frame in frames] == ["first", "second", "third", "fourth"]
    assert {frame["type"] for frame in frames} == {"log"}
    listed = client.post("logs/filter", json={"logs": {"flow_run_id": {"any_": [run]}}}).json()
    assert [frame["log"] for frame in frames] == listed
