"""A task run in the background is handed to one subscriber, and to another only when that one is gone."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.commands.command import Command, HandedOut
from domain.commands.hand_outs import HandBackTaskRun, HandOutTaskRun, TakeTaskRun
from domain.commands.task_runs import DeleteTaskRun
from domain.task_run import TaskRun
from tests.checks import check_ledger
from tests.domain.conftest import CALLER, Clock, Desk, proposed


@pytest.fixture
def run(desk: Desk, clock: Clock) -> UUID:
    return desk.task_run(None, state=proposed("SCHEDULED", deferred=True))


def hand_out(desk: Desk, run: UUID, subscriber: str, seconds: float = 30) -> bool:
    answer = desk.ask(HandOutTaskRun(caller=CALLER, id=run, subscriber=subscriber, seconds=seconds))
    assert isinstance(answer, HandedOut)
    return answer.granted


def waiting(conninfo: str) -> list[UUID]:
    """The runs that wait for somebody, as readers see them."""
    with psycopg.connect(conninfo) as connection:
        return [id for (id,) in connection.execute("SELECT task_run_id FROM read.background_runs")]


def test_of_two_subscribers_one_gets_a_run(desk: Desk, run: UUID) -> None:
    assert hand_out(desk, run, "a")
    assert not hand_out(desk, run, "b")


def test_a_run_that_was_acknowledged_is_handed_out_no_more(desk: Desk, run: UUID, clock: Clock, conninfo: str) -> None:
    hand_out(desk, run, "a")
    assert waiting(conninfo) == [run]
    desk.ask(TakeTaskRun(caller=CALLER, id=run, subscriber="a"))
    assert waiting(conninfo) == []
    clock.move(days=1)
    assert not hand_out(desk, run, "a")
    assert not hand_out(desk, run, "b")
    check_ledger(conninfo)


def test_a_run_that_was_handed_back_goes_to_another_at_once(desk: Desk, run: UUID) -> None:
    hand_out(desk, run, "a")
    desk.ask(HandBackTaskRun(caller=CALLER, id=run, subscriber="a"))
    assert hand_out(desk, run, "b")


def test_a_run_whose_server_died_goes_to_another_when_its_time_is_over(desk: Desk, run: UUID, clock: Clock) -> None:
    hand_out(desk, run, "a", 30)
    clock.move(seconds=29.9)
    assert not hand_out(desk, run, "b")
    clock.move(seconds=0.1)
    assert hand_out(desk, run, "b")


def test_who_has_a_run_may_have_it_for_longer(desk: Desk, run: UUID, clock: Clock) -> None:
    hand_out(desk, run, "a", 30)
    clock.move(seconds=20)
    assert hand_out(desk, run, "a", 30)
    clock.move(seconds=20)
    assert not hand_out(desk, run, "b")


def test_who_comes_too_late_with_an_acknowledgement_or_a_return_changes_nothing(
    desk: Desk, run: UUID, clock: Clock
) -> None:
    hand_out(desk, run, "a", 30)
    clock.move(seconds=30)
    hand_out(desk, run, "b", 30)
    for command in (TakeTaskRun, HandBackTaskRun):
        desk.ask(command(caller=CALLER, id=run, subscriber="a"))
    assert not hand_out(desk, run, "c")
    desk.ask(TakeTaskRun(caller=CALLER, id=run, subscriber="b"))
    clock.move(days=1)
    assert not hand_out(desk, run, "c")


def test_a_run_is_not_handed_out_before_its_time(desk: Desk, clock: Clock) -> None:
    at = clock.time + timedelta(seconds=60)
    run = desk.task_run(None, state=proposed("SCHEDULED", deferred=True, scheduled_time=at))
    assert not hand_out(desk, run, "a")
    clock.move(seconds=60)
    assert hand_out(desk, run, "a")


def test_a_run_that_is_scheduled_again_is_handed_out_again(desk: Desk, run: UUID) -> None:
    hand_out(desk, run, "a")
    desk.ask(TakeTaskRun(caller=CALLER, id=run, subscriber="a"))
    desk.propose("task", run, proposed("RUNNING", deferred=True), force=True)
    desk.propose("task", run, proposed("SCHEDULED", deferred=True), force=True)
    assert hand_out(desk, run, "b")


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETED"])
def test_a_run_that_does_not_wait_is_not_handed_out(desk: Desk, state: str) -> None:
    assert not hand_out(desk, desk.task_run(None, state=proposed(state, deferred=True)), "a")


def test_a_run_that_its_own_client_waits_for_is_not_handed_out(desk: Desk) -> None:
    flow_run = desk.flow_run()
    assert not hand_out(desk, desk.task_run(flow_run, state=proposed("SCHEDULED", deferred=True)), "a")
    assert not hand_out(desk, desk.task_run(None, state=proposed("SCHEDULED", "AwaitingRetry")), "a")


def test_a_run_that_was_deleted_or_never_was_is_not_handed_out(desk: Desk, run: UUID, conninfo: str) -> None:
    desk.ask(DeleteTaskRun(caller=CALLER, id=run))
    assert not hand_out(desk, run, "a")
    assert not hand_out(desk, UUID(int=1), "a")
    assert waiting(conninfo) == []


steps = st.tuples(st.sampled_from(["ob", "ta", "re", "mo"]), st.sampled_from("abc"), st.integers(0, 40))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(course=st.lists(steps, max_size=20))
def test_at_any_time_a_run_is_with_one_subscriber_at_most(
    desk: Desk, clock: Clock, course: list[tuple[str, str, int]]
) -> None:
    run = desk.task_run(None, state=proposed("SCHEDULED", deferred=True))
    holder, until, taken = None, clock.time, False
    for what, who, seconds in course:
        if what == "mo":
            clock.move(seconds=seconds)
        over = until <= clock.time
        if what == "ob":
            granted = hand_out(desk, run, who, 30)
            assert granted is (not taken and (holder in (None, who) or over))
            if granted:
                holder = who
                until = ending(desk, run)
        if what == "ta" and holder == who:
            taken = True
        if what == "re" and holder == who and not taken:
            holder = None
        if what in ("ta", "re"):
            command: Any = TakeTaskRun if what == "ta" else HandBackTaskRun
            asked: Command = command(caller=CALLER, id=run, subscriber=who)
            desk.ask(asked)


def ending(desk: Desk, run: UUID) -> Any:
    aggregate = desk.run(run)
    assert isinstance(aggregate, TaskRun)
    assert aggregate.hand_out is not None
    return aggregate.hand_out.expires_at
