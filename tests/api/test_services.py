"""Rounds of services, as of times that the tests say: each does what is due, nothing else, and nothing twice."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection
from pydantic_core import from_json

from api.reads import Reads
from api.services import scheduler, upkeep
from api.services.counter_folding import fold_counters
from api.services.roster import services_of
from api.services.service import Service, Tools
from api.services.shift import Shift
from api.settings import Settings
from domain.commands.deployments import CreateDeployment, References
from domain.commands.schedules import GivenSchedule, PauseDeployment
from domain.deployment import DeploymentSettings, ScheduleChanges
from domain.ids import new_id
from domain.schedules import IntervalSchedule, Schedule
from projections import service_states
from projections.artifacts import ArtifactCreate, write_artifact
from projections.client_events import ClientEvent, write_client_events
from projections.logs import LogCreate, ids_for, write_logs
from tests.checks import check_ledger
from tests.domain.conftest import CALLER, Clock, Desk, clock, desk, ledger, proposed
from tests.support.rounds import do_round, with_tools

__all__ = ["clock", "desk", "ledger"]

MINUTE = timedelta(minutes=1)
OFTEN = IntervalSchedule(interval=MINUTE, anchor_date=datetime(2026, 1, 1, tzinfo=UTC))


def deployment(desk: Desk, schedule: Schedule = OFTEN, **settings: Any) -> UUID:
    return desk.make(
        CreateDeployment(
            caller=CALLER,
            id=new_id(),
            flow_id=desk.flow_id,
            name=new_id().hex,
            settings=DeploymentSettings(**settings),
            references=References(),
            schedules=(GivenSchedule(new_id(), ScheduleChanges(schedule=schedule)),),
        )
    )


def planned_times(conninfo: str, deployment_id: UUID) -> list[datetime]:
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute(
            "SELECT expected_start_time FROM read.flow_runs WHERE deployment_id = %s ORDER BY 1", [deployment_id]
        )
        return [row[0] for row in rows]


def state_of(conninfo: str, run_id: UUID) -> tuple[str, str | None]:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            "SELECT doc::json -> 'state' FROM read.flow_run_documents WHERE id = %(id)s"
            " UNION ALL SELECT doc::json -> 'state' FROM read.task_run_documents WHERE id = %(id)s",
            {"id": run_id},
        ).fetchone()
        assert row is not None
        return row[0]["name"], row[0]["message"]


def test_runs_are_planned_as_far_as_the_settings_say(conninfo: str, desk: Desk, clock: Clock) -> None:
    often, paused = deployment(desk), deployment(desk, paused=True)
    seldom = deployment(desk, IntervalSchedule(interval=timedelta(days=40), anchor_date=clock.time + MINUTE))
    limits = {"scheduler_min_runs": 2, "scheduler_min_scheduled_seconds": 600, "service_batch_size": 1}
    assert do_round(conninfo, clock, scheduler.plan_runs, **limits) == "planned 13 runs"
    assert planned_times(conninfo, often) == [clock.time + n * MINUTE for n in range(11)]
    assert planned_times(conninfo, seldom) == [clock.time + MINUTE, clock.time + MINUTE + timedelta(days=40)]
    assert planned_times(conninfo, paused) == []


def test_rounds_go_on_where_the_last_one_ended(conninfo: str, desk: Desk, clock: Clock) -> None:
    id = deployment(desk)
    limits = {"scheduler_min_scheduled_seconds": 600}
    do_round(conninfo, clock, scheduler.plan_runs, **limits)
    assert do_round(conninfo, clock, scheduler.plan_runs, **limits) == "planned 0 runs"
    clock.move(minutes=3)
    assert do_round(conninfo, clock, scheduler.plan_runs, **limits) == "planned 3 runs"
    assert planned_times(conninfo, id) == [clock.time + n * MINUTE for n in range(-3, 11)]
    check_ledger(conninfo)


def test_schedulers_that_work_at_the_same_time_make_each_run_once(conninfo: str, desk: Desk, clock: Clock) -> None:
    ids = [deployment(desk) for _ in range(5)]

    async def use(tools: Tools) -> None:
        async with await AsyncConnection.connect(conninfo, autocommit=True) as connection:
            other = Tools(connection, tools.queue, tools.settings, tools.caller)
            await asyncio.gather(scheduler.plan_runs(tools, clock()), scheduler.plan_runs(other, clock()))

    with_tools(conninfo, clock, use)
    assert {tuple(planned_times(conninfo, id)) for id in ids} == {tuple(clock.time + n * MINUTE for n in range(61))}
    check_ledger(conninfo)


def test_what_was_calculated_before_a_deployment_was_paused_is_not_planned(
    conninfo: str, desk: Desk, clock: Clock
) -> None:
    id = deployment(desk)

    async def use(tools: Tools) -> None:
        execute = tools.queue.execute

        async def after_a_pause(command: Any, size: int = 0) -> Any:
            await execute(PauseDeployment(caller=CALLER, id=id, paused=True))
            return await execute(command, size)

        tools.queue.execute = after_a_pause  # type: ignore[method-assign]
        await scheduler.plan_runs(tools, clock())

    with_tools(conninfo, clock, use)
    assert planned_times(conninfo, id) == []


def test_a_run_is_late_some_time_after_it_should_have_begun_and_only_once(
    conninfo: str, desk: Desk, clock: Clock
) -> None:
    due = desk.flow_run(state=proposed("SCHEDULED", scheduled_time=clock.time))
    retried = desk.flow_run(state=proposed("SCHEDULED", "AwaitingRetry", scheduled_time=clock.time))
    later = desk.flow_run(state=proposed("SCHEDULED", scheduled_time=clock.time + timedelta(hours=1)))
    clock.move(seconds=14)
    assert do_round(conninfo, clock, upkeep.mark_late_runs) == "marked 0 runs late"
    clock.move(seconds=1)
    assert do_round(conninfo, clock, upkeep.mark_late_runs) == "marked 1 runs late"
    assert do_round(conninfo, clock, upkeep.mark_late_runs) == "marked 0 runs late"
    names = [state_of(conninfo, id)[0] for id in (due, retried, later)]
    assert names == ["Late", "AwaitingRetry", "Scheduled"]


def test_a_run_fails_when_nobody_resumes_it_in_time(conninfo: str, desk: Desk, clock: Clock) -> None:
    timeout = clock.time + MINUTE
    paused = desk.flow_run(state=proposed("PAUSED", pause_timeout=timeout))
    resumed = desk.flow_run(state=proposed("PAUSED", pause_timeout=timeout))
    desk.propose("flow", resumed, proposed("RUNNING"), force=True)
    assert do_round(conninfo, clock, upkeep.end_pauses) == "ended 0 pauses"
    clock.move(seconds=61)
    assert do_round(conninfo, clock, upkeep.end_pauses) == "ended 1 pauses"
    assert state_of(conninfo, paused) == ("Failed", "The flow was paused and never resumed.")
    assert state_of(conninfo, resumed)[0] == "Running"


def test_what_a_cancelled_run_left_behind_is_cancelled(conninfo: str, desk: Desk, clock: Clock) -> None:
    run, other = desk.flow_run(state=proposed("RUNNING")), desk.flow_run(state=proposed("RUNNING"))
    left, done = desk.task_run(run, state=proposed("RUNNING")), desk.task_run(run, state=proposed("COMPLETED"))
    elsewhere = desk.task_run(other, state=proposed("RUNNING"))
    places = [desk.task_run(run, state=proposed("PENDING")) for _ in range(2)]
    subflow = desk.flow_run(parent_task_run_id=places[0], state=proposed("RUNNING"))
    apart = desk.flow_run(
        parent_task_run_id=places[1], state=proposed("RUNNING"), deployment_id=deployment(desk, paused=True)
    )
    desk.propose("flow", run, proposed("CANCELLED"))
    assert do_round(conninfo, clock, upkeep.clean_up_cancelled) == "cancelled 4 runs"
    said = "The parent flow run was cancelled."
    assert [state_of(conninfo, id) for id in (left, subflow, apart)] == [
        ("Cancelled", said),
        ("Cancelled", said),
        ("Cancelling", said),
    ]
    assert [state_of(conninfo, id)[0] for id in (done, elsewhere, other)] == ["Completed", "Running", "Running"]
    assert do_round(conninfo, clock, upkeep.clean_up_cancelled) == "cancelled 0 runs"
    clock.move(seconds=301)
    assert do_round(conninfo, clock, upkeep.clean_up_cancelled) == "cancelled 1 runs"
    assert state_of(conninfo, apart)[0] == "Cancelled"
    check_ledger(conninfo)


def test_old_log_lines_are_deleted_and_no_others(conninfo: str, clock: Clock) -> None:
    ages = (0.5, 0.9, 1.1, 20, 30)
    lines = [
        LogCreate(name="n", level=20, message=str(age), timestamp=clock.time - timedelta(days=age)) for age in ages
    ]

    async def use(tools: Tools) -> list[str]:
        await write_logs(tools.connection, lines, ids_for(lines))
        assert await upkeep.delete_old_logs(tools, clock()) == "deleted 3 log lines"
        cursor = await tools.connection.execute("SELECT message FROM telemetry.logs ORDER BY timestamp DESC")
        return [row[0] for row in await cursor.fetchall()]

    assert with_tools(conninfo, clock, use, log_retention_days=1, service_batch_size=2) == ["0.5", "0.9"]


def test_old_artifacts_are_deleted_and_keys_of_which_none_is_left(conninfo: str, clock: Clock) -> None:
    made = [("old", 9), ("old", 8), ("both", 7), (None, 6), ("both", 0.5), ("new", 0.1)]

    async def use(tools: Tools) -> tuple[list[str | None], list[str]]:
        for key, age in made:
            id = new_id()
            await write_artifact(tools.connection, ArtifactCreate(key=key, data=key), id, new_id())
            await tools.connection.execute(
                "UPDATE telemetry.artifacts SET created = %s WHERE id = %s", [clock.time - timedelta(days=age), id]
            )
        assert await upkeep.delete_old_artifacts(tools, clock()) == "deleted 4 artifacts"
        left = await tools.connection.execute("SELECT key FROM telemetry.artifacts ORDER BY created")
        keys = await tools.connection.execute("SELECT key FROM telemetry.latest_artifacts ORDER BY key")
        return [row[0] for row in await left.fetchall()], [row[0] for row in await keys.fetchall()]

    settings = {"artifact_retention_days": 1, "service_batch_size": 3}
    assert with_tools(conninfo, clock, use, **settings) == (["both", "new"], ["both", "new"])


def test_old_events_of_clients_are_deleted(conninfo: str, clock: Clock) -> None:
    events = [
        ClientEvent(
            id=new_id(),
            occurred=clock.time - timedelta(days=age),
            event=str(age),
            resource={"prefect.resource.id": "x"},
        )
        for age in (0.5, 0.9, 1.1, 3, 7)
    ]

    async def use(tools: Tools) -> list[str]:
        await write_client_events(tools.connection, events)
        assert await upkeep.delete_old_events(tools, clock()) == "deleted 3 events"
        cursor = await tools.connection.execute("SELECT event FROM telemetry.client_events ORDER BY occurred DESC")
        return [row[0] for row in await cursor.fetchall()]

    assert with_tools(conninfo, clock, use, event_retention_days=1, service_batch_size=2) == ["0.5", "0.9"]


def test_counters_are_added_up(conninfo: str, desk: Desk, clock: Clock) -> None:
    desk.flow_run()
    assert do_round(conninfo, clock, fold_counters) == "added up counters"
    check_ledger(conninfo)


def test_only_one_process_does_the_rounds_of_a_service_until_it_lets_go(conninfo: str) -> None:
    async def use() -> None:
        connect = AsyncConnection.connect
        first = await connect(conninfo, autocommit=True)
        async with await connect(conninfo, autocommit=True) as second:
            assert not await service_states.is_held(second, "s")
            assert await service_states.hold(first, "s")
            assert await service_states.is_held(second, "s")
            assert not await service_states.hold(second, "s")
            assert await service_states.hold(second, "another")
            await first.close()
            async with asyncio.timeout(30):
                while not await service_states.hold(second, "s"):
                    continue

    asyncio.run(use())


def test_a_round_that_fails_is_told_of_and_the_next_one_is_done(conninfo: str, clock: Clock) -> None:
    rounds = iter([RuntimeError("no luck\nat all"), "done"])

    async def round(tools: Tools, now: datetime) -> str:
        outcome = next(rounds)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def use(tools: Tools) -> list[Any]:
        reads = Reads(conninfo, size=1, timeout=5.0, patience=2.0)
        shift = Shift([], conninfo, Settings(), tools.queue, reads)
        service = Service("luck", 1.0, round)
        states = []
        for lag in (0.0, 2.5):
            await shift.do_round(service, tools.connection, lag_seconds=lag, clock=clock)
            states.extend(from_json(await service_states.read_services(tools.connection)))
            clock.move(seconds=1)
        return states

    failed, done = with_tools(conninfo, clock, use)
    assert (failed["last_error"], failed["last_success"], failed["did"]) == ("RuntimeError: no luck", None, None)
    assert (done["did"], done["lag_seconds"], done["last_failure"]) == ("done", 2.5, failed["last_started"])
    assert done["last_success"] == done["last_started"] == "2026-11-01T12:00:01Z"


@pytest.mark.parametrize("settings", [{"services_enabled": False}, {}])
def test_services_run_where_the_settings_say_so(settings: dict[str, bool]) -> None:
    assert bool(services_of(Settings(**settings))) is settings.get("services_enabled", True)
