"""Runs that schedules plan: each made once, gone with what planned them, and left alone once they have begun."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from domain.commands.command import Command, Made
from domain.commands.deployments import CreateDeployment, DeleteDeployment, References, UpdateDeployment
from domain.commands.flow_runs import DeleteFlowRun
from domain.commands.planning import PlannedRun, PlanRuns
from domain.commands.schedules import (
    AddSchedules,
    ChangeSchedule,
    GivenSchedule,
    PauseDeployment,
    RemoveSchedule,
)
from domain.deployment import Deployment, DeploymentSettings, ScheduleChanges
from domain.errors import SlugConflict, SlugsMissing, SlugTaken
from domain.flow_run import FlowRun
from domain.ids import new_id
from domain.ledger import Ledger
from domain.schedules import CronSchedule, IntervalSchedule
from domain.states import StateType
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from tests.checks import check_ledger
from tests.domain.conftest import CALLER, Clock, Desk, proposed

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
TIMES = [NOON + timedelta(hours=hours) for hours in range(5)]
HOURLY = IntervalSchedule(interval=timedelta(hours=1), anchor_date=NOON)
DAILY = CronSchedule(cron="0 12 * * *")


def given(slug: str | None = None, **settings: Any) -> GivenSchedule:
    replaces = settings.pop("replaces", None)
    return GivenSchedule(new_id(), ScheduleChanges(**{"schedule": HOURLY, "slug": slug, **settings}), replaces)


class Planner:
    """A deployment with one hourly schedule, and the runs planned for it."""

    def __init__(self, desk: Desk, *schedules: GivenSchedule) -> None:
        self.desk = desk
        self.schedules = schedules or (given(parameters={"x": 2}),)
        command = CreateDeployment(
            caller=CALLER,
            id=new_id(),
            flow_id=desk.flow_id,
            name=new_id().hex,
            settings=DeploymentSettings(parameters={"x": 1, "y": 1}, tags=["t"], parameter_openapi_schema={}),
            references=References(),
            schedules=self.schedules,
        )
        self.id = desk.make(command)

    @property
    def deployment(self) -> Deployment:
        found = self.desk.ledger.cached(self.id)
        assert isinstance(found, Deployment)
        return found

    def command(self, times: list[datetime], version: int | None = None) -> PlanRuns:
        schedule = self.schedules[0].id
        return PlanRuns(
            caller=CALLER,
            deployment_id=self.id,
            flow_id=self.desk.flow_id,
            version=version or self.deployment.version,
            planned=tuple(PlannedRun(new_id(), "planned", schedule, time) for time in times),
        )

    def plan(self, times: list[datetime], version: int | None = None) -> list[UUID]:
        """Plan runs; the ids of those that are there now, of all that were asked for here."""
        command = self.command(times, version)
        self.desk.ask(command)
        return [run.run_id for run in command.planned if self.is_there(run.run_id)]

    def is_there(self, id: UUID) -> bool:
        run = self.desk.ledger.cached(id)
        return isinstance(run, FlowRun) and not run.deleted


@pytest.fixture
def planner(desk: Desk) -> Planner:
    return Planner(desk)


def test_a_planned_run_is_what_its_schedule_and_its_deployment_say(desk: Desk, planner: Planner) -> None:
    (id,) = planner.plan(TIMES[:1])
    run = desk.run(id)
    assert isinstance(run, FlowRun)
    assert run.state is not None
    assert (run.state.type, run.state.name) == (StateType.SCHEDULED, "Scheduled")
    assert run.next_scheduled_start_time == run.expected_start_time == NOON
    assert (run.parameters, set(run.tags)) == ({"x": 2, "y": 1}, {"t", "auto-scheduled"})
    assert (run.deployment_id, run.schedule_id) == (planner.id, planner.schedules[0].id)


def test_each_time_gets_one_run_however_often_and_by_whomever_it_is_planned(
    desk: Desk, planner: Planner, conninfo: str, clock: Clock
) -> None:
    assert len(planner.plan(TIMES[:3])) == 3
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=clock) as other:
        commands: list[Command] = [planner.command(TIMES) for _ in range(3)]
        assert [outcome.error for outcome in other.execute(lambda: commands)] == [None] * 3
    assert planner.plan(TIMES) == []
    desk.ask(PauseDeployment(caller=CALLER, id=planner.id, paused=True))
    assert check_ledger(conninfo) == 1 + 2 + 2 * 5 + 1 + 5


def test_dates_of_a_deployment_that_has_changed_are_not_planned(desk: Desk, planner: Planner) -> None:
    version = planner.deployment.version
    desk.ask(AddSchedules(caller=CALLER, id=planner.id, given=(given(),)))
    assert planner.plan(TIMES, version) == []
    assert len(planner.plan(TIMES)) == 5


ENDS: dict[str, Callable[[Planner], Command]] = {
    "paused": lambda it: PauseDeployment(caller=CALLER, id=it.id, paused=True),
    "deleted": lambda it: DeleteDeployment(caller=CALLER, id=it.id),
    "given other parameters": lambda it: update(it, DeploymentSettings(parameters={"x": 3})),
    "given other schedules": lambda it: update(it, DeploymentSettings(), (given(schedule=DAILY),)),
    "rid of its schedule": lambda it: RemoveSchedule(caller=CALLER, id=it.id, schedule_id=it.schedules[0].id),
    "given a changed schedule": lambda it: change(it, ScheduleChanges(schedule=DAILY)),
    "given an inactive schedule": lambda it: change(it, ScheduleChanges(active=False)),
}


def update(planner: Planner, changes: DeploymentSettings, schedules: Any = None) -> UpdateDeployment:
    return UpdateDeployment(caller=CALLER, id=planner.id, changes=changes, references=References(), schedules=schedules)


def change(planner: Planner, changes: ScheduleChanges) -> ChangeSchedule:
    return ChangeSchedule(caller=CALLER, id=planner.id, schedule_id=planner.schedules[0].id, changes=changes)


@pytest.mark.parametrize("end", ENDS)
def test_what_only_waits_goes_and_what_has_begun_stays(desk: Desk, planner: Planner, conninfo: str, end: str) -> None:
    others = Planner(desk).plan(TIMES)
    begun, late, put_off, *waiting = planner.plan(TIMES)
    desk.propose("flow", begun, proposed("PENDING"))
    desk.propose("flow", late, proposed("SCHEDULED", "Late", scheduled_time=TIMES[1]))
    desk.propose("flow", put_off, proposed("PENDING"))
    desk.propose("flow", put_off, proposed("SCHEDULED", "AwaitingConcurrencySlot", scheduled_time=TIMES[4]))
    desk.ask(ENDS[end](planner))
    assert [planner.is_there(id) for id in (begun, put_off, late, *waiting)] == [True, True, False, False, False]
    assert all(planner.is_there(id) for id in others)
    check_ledger(conninfo)


@pytest.mark.parametrize(
    "nothing",
    [
        lambda it: update(it, DeploymentSettings(description="other", parameters={"x": 1, "y": 1})),
        lambda it: update(it, DeploymentSettings(), (given(parameters={"x": 2}),)),
        lambda it: change(it, ScheduleChanges(active=True)),
        lambda it: PauseDeployment(caller=CALLER, id=it.id, paused=False),
    ],
)
def test_planned_runs_stay_where_nothing_of_them_changes(
    desk: Desk, planner: Planner, nothing: Callable[[Planner], Command]
) -> None:
    planned = planner.plan(TIMES)
    desk.ask(nothing(planner))
    assert [id for id in planned if planner.is_there(id)] == planned
    assert list(planner.deployment.schedules) == [planner.schedules[0].id]


def test_a_planned_run_that_was_cancelled_is_not_planned_again_but_one_that_was_deleted_is(
    desk: Desk, planner: Planner
) -> None:
    cancelled, deleted = planner.plan(TIMES[:2])
    desk.propose("flow", cancelled, proposed("CANCELLED"))
    desk.ask(DeleteFlowRun(caller=CALLER, id=deleted))
    (again,) = planner.plan(TIMES[:2])
    assert desk.run(again).expected_start_time == TIMES[1]


def test_schedules_are_changed_by_their_slugs(desk: Desk) -> None:
    planner = Planner(desk, given("a"), given("b"))
    renamed = given("c", schedule=DAILY, replaces="a")
    desk.ask(update(planner, DeploymentSettings(), (renamed, given("d"))))
    first, second, third = planner.deployment.schedules.values()
    assert (first.id, first.settings.slug, first.settings.schedule) == (planner.schedules[0].id, "c", DAILY)
    assert (second.settings.slug, third.settings.slug) == ("b", "d")
    with pytest.raises(SlugsMissing):
        desk.ask(update(planner, DeploymentSettings(), (given(),)))
    with pytest.raises(SlugConflict):
        desk.ask(update(planner, DeploymentSettings(), (given("b", replaces="c"),)))
    with pytest.raises(SlugTaken):
        desk.ask(AddSchedules(caller=CALLER, id=planner.id, given=(given("b"),)))


def test_a_deployment_that_is_made_again_keeps_the_schedules_that_are_the_same(desk: Desk, planner: Planner) -> None:
    deployment = planner.deployment
    again = CreateDeployment(
        caller=CALLER,
        id=new_id(),
        flow_id=deployment.flow_id,
        name=deployment.name,
        settings=deployment.settings,
        references=References(),
        schedules=(given(parameters={"x": 2}), given(schedule=DAILY)),
    )
    planned = planner.plan(TIMES)
    answer = desk.ask(again)
    assert isinstance(answer, Made)
    assert not answer.created
    first, second = planner.deployment.schedules.values()
    assert (first.id, second.settings.schedule) == (planner.schedules[0].id, DAILY)
    assert all(planner.is_there(id) for id in planned)
