"""Task runs that clients report over the websocket: safe with the pong, right in whatever order they come."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import psycopg
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from projections.schema import LEDGER_LOCK
from tests.acceptance.conftest import Service
from tests.checks import check_ledger
from tests.support.event_client import (
    LIFE,
    Report,
    confirm,
    entered_by,
    events_in,
    reporting,
    reports_of_one_run,
    run_id_of,
    send,
)
from tests.support.server_process import wait_until
from tests.support.stored_events import Stored, of_run, read_events, state_names, times_entered

WAITS_FOR_LEDGER = """
SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""


@pytest.fixture(scope="module")
def flow_run_id(client: httpx.Client) -> str:
    """A flow run whose task runs are reported."""
    flow_id = client.post("flows/", json={"name": "reported"}).json()["id"]
    return str(client.post("flow_runs/", json={"flow_id": flow_id}).json()["id"])


def report_all(service: Service, reports: list[Report]) -> list[Stored]:
    """Send the reports over one connection and give the history of their task run once they are confirmed."""

    async def go() -> None:
        async with reporting(service.server) as connection:
            for report in reports:
                await send(connection, report)
            await confirm(connection)

    asyncio.run(go())
    return of_run(read_events(service.conninfo), run_id_of(reports[0]))


def test_reports_that_were_confirmed_are_in_the_ledger_and_can_be_read(
    service: Service, client: httpx.Client, flow_run_id: str
) -> None:
    reports = reports_of_one_run(flow_run_id)
    history = report_all(service, reports)
    assert [event.topic for event in history] == ["TaskRun.Created", *["TaskRun.StateReported"] * 3]
    assert state_names(history) == list(LIFE)
    assert {event.facts["actor"] for event in history} == {"prefect/3.9.1 (API 0.8.4)"}
    run = client.get(f"task_runs/{run_id_of(reports[0])}").json()
    assert (run["flow_run_id"], run["state_name"], run["run_count"]) == (flow_run_id, "Completed", 1)


def test_no_pong_is_sent_before_the_commit(service: Service, client: httpx.Client, flow_run_id: str) -> None:
    (report, *_) = reports_of_one_run(flow_run_id)

    async def go() -> None:
        with psycopg.connect(service.conninfo, autocommit=True) as other:
            async with reporting(service.server) as connection:
                other.execute("SELECT pg_advisory_lock(%s)", [LEDGER_LOCK])
                await send(connection, report)
                pong = await connection.ping()
                await asyncio.to_thread(wait_until, lambda: other.execute(WAITS_FOR_LEDGER).fetchone() != (0,))
                # An answer to a later request on the same event loop says that the ping has been looked at too.
                assert (await asyncio.to_thread(client.get, "health")).is_success
                assert not (await asyncio.wait([asyncio.ensure_future(pong)], timeout=0.2))[0]
                assert entered_by(report) not in times_entered(read_events(service.conninfo))
                other.execute("SELECT pg_advisory_unlock(%s)", [LEDGER_LOCK])
                await asyncio.wait_for(pong, 30)
                assert times_entered(read_events(service.conninfo))[entered_by(report)] == 1

    asyncio.run(go())


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0), (0, 2, 1), (2, 0, 1), (0, 1, 0, 2, 2, 1, 0)])
def test_reports_in_any_order_and_repeated_come_to_the_same(
    service: Service, client: httpx.Client, flow_run_id: str, order: tuple[int, ...]
) -> None:
    reports = reports_of_one_run(flow_run_id)
    history = report_all(service, [reports[index] for index in order])
    assert sorted(state_names(history)) == sorted(LIFE)
    run = client.get(f"task_runs/{run_id_of(reports[0])}").json()
    assert (run["state_id"], run["state_name"]) == (reports[2]["id"], "Completed")
    assert run["total_run_time"] == reports[2]["payload"]["task_run"]["total_run_time"]
    states = client.get("task_run_states/", params={"task_run_id": run["id"]}).json()
    assert [state["name"] for state in states] == list(LIFE)


@pytest.mark.parametrize("field", ["occurred", "payload/task_run/start_time", "payload/task_run/expected_start_time"])
def test_times_without_an_offset_are_in_utc(
    service: Service, client: httpx.Client, flow_run_id: str, field: str
) -> None:
    first, second, _ = reports_of_one_run(flow_run_id)
    # Without links between them the times decide, so that they have to be compared.
    first["follows"] = second["follows"] = None
    report_all(service, [json.loads(with_field(field, "2026-01-02T03:04:05")(first)), second])
    states = client.get("task_run_states/", params={"task_run_id": run_id_of(first)}).json()
    assert {state["name"] for state in states} == {"Pending", "Running"}
    assert client.get(f"task_runs/{run_id_of(first)}").json()["state_name"] == "Running"
    check_ledger(service.conninfo)


def test_reports_of_a_later_connection_repeat_nothing(service: Service, flow_run_id: str) -> None:
    reports = reports_of_one_run(flow_run_id)
    assert len(report_all(service, reports)) == len(report_all(service, reports)) == 4


def test_clients_of_2_20_send_their_events_without_a_handshake(service: Service, flow_run_id: str) -> None:
    reports = reports_of_one_run(flow_run_id)

    async def go() -> None:
        async with events_in(service.server) as connection:
            assert connection.subprotocol is None
            for report in reports:
                await send(connection, report)
            await confirm(connection)

    asyncio.run(go())
    assert state_names(of_run(read_events(service.conninfo), run_id_of(reports[0]))) == list(LIFE)


def test_a_client_that_does_not_say_who_it_is_is_sent_away(service: Service) -> None:
    async def go() -> None:
        async with events_in(service.server, subprotocols=["prefect"]) as connection:
            await connection.send(json.dumps({"type": "event"}))
            with pytest.raises(ConnectionClosed):
                await connection.recv()
            assert connection.close_code == 1008

    asyncio.run(go())


Spoil = Callable[[Report], str | bytes]


def with_field(path: str, value: Any) -> Spoil:
    """A report in which one field holds something else."""

    def spoil(report: Report) -> str:
        *parents, last = path.split("/")
        place: Any = report
        for name in parents:
            place = place[name]
        place[last] = value
        return json.dumps(report)

    return spoil


def of_flow_run(id: str) -> dict[str, str]:
    """The label that says which flow run a task run belongs to."""
    return {"prefect.resource.role": "flow-run", "prefect.resource.id": f"prefect.flow-run.{id}"}


BAD_FRAMES: dict[str, Spoil] = {
    "no json": lambda report: "{",
    "bytes": lambda report: json.dumps(report).encode(),
    "bytes that are no text": lambda report: b"\xff\xfe",
    "nothing": lambda report: "",
    "a list": lambda report: "[]",
    "null": lambda report: "null",
    "no event": lambda report: '{"id": 1}',
    "deep": lambda report: "[" * 100_000,
    "lone surrogate": lambda report: json.dumps(report).replace('"art-', '"\\ud800art-'),
    "not a task run": with_field("resource/prefect.resource.id", "prefect.task-run.one"),
    "no resource id": with_field("resource", {"prefect.orchestration": "client"}),
    "no payload": with_field("payload", {}),
    "no task run": with_field("payload/task_run", None),
    "unknown type of state": with_field("payload/validated_state/type", "SLEEPING"),
    "a time out of range": with_field("occurred", "9999-12-31T23:59:59-14:00"),
    "a flow run that does not exist": with_field("related", [of_flow_run("00000000-0000-0000-0000-000000000000")]),
    "one that follows itself": lambda report: json.dumps(report | {"follows": report["id"]}),
    "a number that is none": with_field("payload/validated_state/data", float("nan")),
    "a number too large": lambda report: json.dumps(report).replace('"run_count": 0', '"run_count": 1e999'),
}


@pytest.mark.parametrize("spoil", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_a_bad_frame_costs_nothing_but_itself(service: Service, flow_run_id: str, spoil: Spoil) -> None:
    bad, good = reports_of_one_run(flow_run_id), reports_of_one_run(flow_run_id)

    async def talk(connection: ClientConnection) -> None:
        await send(connection, good[0])
        await connection.send(spoil(bad[0]))
        await send(connection, good[1])
        await confirm(connection)

    with_connection(service, talk)
    assert state_names(of_run(read_events(service.conninfo), run_id_of(good[0]))) == list(LIFE[:2])
    check_ledger(service.conninfo)


def with_connection(service: Service, talk: Callable[[ClientConnection], Coroutine[Any, Any, None]]) -> None:
    async def go() -> None:
        async with reporting(service.server) as connection:
            await talk(connection)

    asyncio.run(go())


def test_a_nul_in_a_report_is_replaced_and_the_report_taken(
    service: Service, client: httpx.Client, flow_run_id: str
) -> None:
    (report, *_) = reports_of_one_run(flow_run_id)
    report["payload"]["validated_state"]["message"] = "before\0after"
    report_all(service, [report])
    run = client.get(f"task_runs/{run_id_of(report)}").json()
    assert run["state"]["message"] == "before\N{REPLACEMENT CHARACTER}after"


def test_an_event_that_is_no_report_is_taken_and_leaves_no_trace(service: Service, flow_run_id: str) -> None:
    (report, *_) = reports_of_one_run(flow_run_id)
    report |= {"event": "prefect.flow-run.heartbeat", "payload": {}}
    assert report_all(service, [report]) == []
