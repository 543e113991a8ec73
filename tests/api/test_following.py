"""Following the log: deeds and position go together, poison is set aside, and the past says what is due."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection

from api.notifications.queueing import Queueing
from api.services.following import ATTEMPTS, Following, pause_behind
from domain.commands.flow_runs import UpdateFlowRun
from domain.commands.notification_policies import (
    CreateNotificationPolicy,
    DeleteNotificationPolicy,
    UpdateNotificationPolicy,
)
from domain.flow_run import FlowRunChanges
from domain.ids import new_id
from domain.notification_policy import PolicyTerms, SealedUrl
from domain.run_policy import FlowRunPolicy
from projections.followers import Entry, Window
from projections.service_states import keep, read_services
from tests.domain.conftest import CALLER, Clock, Desk, clock, desk, ledger, proposed
from tests.support.rounds import do_round

__all__ = ["clock", "desk", "ledger"]

URL = SealedUrl(sealed="sealed", shown="https://example.com/********")


class Book:
    """A follower that writes every position it takes into a table, and fails on those it is told to."""

    name = "book"

    def __init__(self, fails: Callable[[int], Exception | None] = lambda position: None) -> None:
        self.fails = fails
        self.width = 100

    async def look_ahead(self, connection: AsyncConnection, after: int, head: int) -> Window:
        return Window(after, min(after + self.width, head), ("FlowRun.Created", "FlowRun.StateSet"))

    async def take(self, connection: AsyncConnection, entry: Entry, now: datetime) -> None:
        await connection.execute("INSERT INTO book VALUES (%s)", [entry.position])
        failure = self.fails(entry.position)
        if failure is not None:
            raise failure

    def forget(self) -> None:
        pass

    def told(self) -> None:
        pass


@pytest.fixture
def book(conninfo: str, desk: Desk, clock: Clock) -> Book:
    """One that has begun, on a ledger that has one flow."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("CREATE TABLE book (position bigint)")
    book = Book()
    assert do_round(conninfo, clock, Following(book)) == "began at position 1"
    return book


def rows(conninfo: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(conninfo) as connection:
        return connection.execute(query.encode()).fetchall()


def written(conninfo: str) -> list[int]:
    return [row[0] for row in rows(conninfo, "SELECT position FROM book")]


def place(conninfo: str) -> tuple[int, int]:
    ((position, attempts),) = rows(conninfo, "SELECT position, attempts FROM telemetry.followers")
    return position, attempts


def test_a_new_follower_begins_at_the_head(conninfo: str, desk: Desk, clock: Clock, book: Book) -> None:
    desk.flow_run()
    assert written(conninfo) == []
    do_round(conninfo, clock, Following(book))
    assert (written(conninfo), place(conninfo)) == ([2, 3], (3, 0))


@pytest.mark.parametrize("width", [1, 2, 100])
def test_every_wanted_event_is_taken_once_in_order(
    conninfo: str, desk: Desk, clock: Clock, book: Book, width: int
) -> None:
    book.width = width
    for _ in range(4):
        desk.flow_run()
        desk.flow(new_id().hex)
        do_round(conninfo, clock, Following(book))
    assert written(conninfo) == [2, 3, 5, 6, 8, 9, 11, 12]
    assert place(conninfo) == (13, 0)


def test_nothing_is_missed_or_waited_for_where_events_were_archived(
    conninfo: str, desk: Desk, clock: Clock, book: Book
) -> None:
    for _ in range(3):
        desk.flow_run()
    with psycopg.connect(conninfo) as connection:
        connection.execute("DELETE FROM ledger.events WHERE position IN (2, 3, 5)")
    do_round(conninfo, clock, Following(book))
    assert (written(conninfo), place(conninfo)) == ([4, 6, 7], (7, 0))


def test_what_was_done_is_undone_with_the_position(conninfo: str, desk: Desk, clock: Clock, book: Book) -> None:
    desk.flow_run()
    book.fails = lambda position: psycopg.OperationalError("gone") if position == 3 else None
    with pytest.raises(psycopg.OperationalError):
        do_round(conninfo, clock, Following(book))
    assert (written(conninfo), place(conninfo)) == ([], (1, 0))


def test_a_database_that_is_away_is_no_poison(conninfo: str, desk: Desk, clock: Clock, book: Book) -> None:
    desk.flow_run()
    book.fails = lambda position: psycopg.OperationalError("gone")
    for _ in range(ATTEMPTS + 1):
        with pytest.raises(psycopg.OperationalError):
            do_round(conninfo, clock, Following(book))
    book.fails = lambda position: None
    do_round(conninfo, clock, Following(book))
    assert written(conninfo) == [2, 3]


def test_an_event_that_is_poison_is_tried_ever_less_often_and_then_set_aside(
    conninfo: str, desk: Desk, clock: Clock, book: Book
) -> None:
    for _ in range(2):
        desk.flow_run()
    book.fails = lambda position: ValueError("poison") if position == 4 else None
    following = Following(book)
    began = clock.time
    for attempt in range(1, ATTEMPTS):
        do_round(conninfo, clock, following)
        assert (written(conninfo), place(conninfo)) == ([2, 3], (3, attempt))
        clock.time += pause_behind(attempt) - timedelta(microseconds=1)
        do_round(conninfo, clock, following)
        assert place(conninfo) == (3, attempt)
        clock.time += timedelta(microseconds=1)
    do_round(conninfo, clock, following)
    assert (written(conninfo), place(conninfo)) == ([2, 3, 5], (5, 0))
    aside = rows(conninfo, "SELECT follower, position, error, times, first_tried, last_tried FROM telemetry.set_aside")
    assert aside == [("book", 4, "ValueError: poison", ATTEMPTS, began, clock.time)]


def test_what_was_set_aside_and_how_far_a_follower_is_behind_is_shown(
    conninfo: str, desk: Desk, clock: Clock, book: Book
) -> None:
    desk.flow_run()
    book.fails = lambda position: ValueError("poison")
    for attempt in range(1, ATTEMPTS + 1):
        do_round(conninfo, clock, Following(book))
        clock.time += pause_behind(attempt)

    async def shown() -> Any:
        async with await AsyncConnection.connect(conninfo, autocommit=True) as connection:
            told: dict[str, Any] = {"process": "p", "lag_seconds": 0.0, "did": "", "error": None}
            await keep(connection, name="book", started=clock.time, ended=clock.time, **told)
            return await read_services(connection)

    (service,) = psycopg.types.json.json.loads(asyncio.run(shown()))
    follower = service["follower"]
    assert (follower["position"], follower["behind"], follower["attempts"]) == (2, 1, 1)
    assert follower["behind_seconds"] >= 0
    assert [(one["position"], one["times"]) for one in follower["last_set_aside"]] == [(2, ATTEMPTS)]
    assert follower["set_aside"] == 1


def test_a_ledger_that_was_emptied_is_followed_from_its_head(
    conninfo: str, desk: Desk, clock: Clock, book: Book
) -> None:
    following = Following(book)
    do_round(conninfo, clock, following)
    desk.ledger.clear()
    desk.flow_id = desk.flow("another")
    assert do_round(conninfo, clock, following) == "began at position 1"
    desk.flow_run()
    do_round(conninfo, clock, following)
    assert written(conninfo) == [2, 3]


def policy(desk: Desk, **terms: Any) -> UUID:
    given = PolicyTerms(url=URL, signing_secret="sealed", **terms)  # noqa: S106
    return desk.make(CreateNotificationPolicy(caller=CALLER, id=new_id(), terms=given))


def change(desk: Desk, id: UUID, **changes: Any) -> None:
    desk.ask(UpdateNotificationPolicy(caller=CALLER, id=id, changes=PolicyTerms(**changes)))


def queued(conninfo: str) -> list[tuple[Any, ...]]:
    return rows(conninfo, "SELECT policy_id, flow_run_id, state_name FROM telemetry.notifications ORDER BY position")


@pytest.fixture
def queueing(conninfo: str, desk: Desk, clock: Clock) -> Following:
    following = Following(Queueing(lambda: None))
    do_round(conninfo, clock, following)
    return following


def test_a_state_that_a_policy_names_is_told_of_once(
    conninfo: str, desk: Desk, clock: Clock, queueing: Following
) -> None:
    id = policy(desk, state_names=["Failed"])
    run = desk.flow_run()
    desk.propose("flow", run, proposed("RUNNING"))
    desk.propose("flow", run, proposed("FAILED"))
    for _ in range(2):
        do_round(conninfo, clock, queueing)
    assert queued(conninfo) == [(id, run, "Failed")]


def test_the_state_that_a_run_is_made_with_is_told_of(
    conninfo: str, desk: Desk, clock: Clock, queueing: Following
) -> None:
    id = policy(desk)
    run = desk.flow_run(state=proposed("SCHEDULED", scheduled_time=clock.time))
    do_round(conninfo, clock, queueing)
    assert queued(conninfo) == [(id, run, "Scheduled")]


def test_the_state_that_a_rule_put_in_the_place_of_another_is_told_of(
    conninfo: str, desk: Desk, clock: Clock, queueing: Following
) -> None:
    id = policy(desk, state_names=["Failed", "AwaitingRetry"])
    run = desk.flow_run(empirical_policy=FlowRunPolicy(retries=1))
    desk.propose("flow", run, proposed("RUNNING"))
    desk.propose("flow", run, proposed("FAILED"))
    do_round(conninfo, clock, queueing)
    assert queued(conninfo) == [(id, run, "AwaitingRetry")]


def test_a_proposal_that_was_refused_is_not_told_of(
    conninfo: str, desk: Desk, clock: Clock, queueing: Following
) -> None:
    run = desk.flow_run(state=proposed("COMPLETED", data={"type": "reference"}))
    policy(desk)
    assert desk.propose("flow", run, proposed("RUNNING")).status == "REJECT"
    do_round(conninfo, clock, queueing)
    assert queued(conninfo) == []


def test_policies_count_as_they_stood_when_the_state_was_set(
    conninfo: str, desk: Desk, clock: Clock, queueing: Following
) -> None:
    changed, ended, begun, paused = (policy(desk, state_names=["Failed"]) for _ in range(4))
    change(desk, begun, is_active=False)
    first = desk.flow_run(state=proposed("FAILED"))
    change(desk, changed, state_names=["Crashed"])
    change(desk, paused, is_active=False)
    change(desk, begun, is_active=True)
    desk.ask(DeleteNotificationPolicy(caller=CALLER, id=ended))
    second = desk.flow_run(state=proposed("FAILED"))
    do_round(conninfo, clock, queueing)
    told = queued(conninfo)
    assert {id for id, run, _ in told if run == first} == {changed, ended, paused}
    assert {id for id, run, _ in told if run == second} == {begun}


@pytest.mark.parametrize("fresh", [False, True], ids=["in memory", "by a process that takes over"])
def test_policies_are_known_to_who_goes_on(
    conninfo: str, desk: Desk, clock: Clock, queueing: Following, fresh: bool
) -> None:
    id = policy(desk, state_names=["Failed"])
    do_round(conninfo, clock, queueing)
    change(desk, id, tags=["b"])
    do_round(conninfo, clock, queueing)
    desk.flow_run(state=proposed("FAILED"), tags=["a"])
    run = desk.flow_run(state=proposed("FAILED"), tags=["a", "b"])
    do_round(conninfo, clock, Following(Queueing(lambda: None)) if fresh else queueing)
    assert queued(conninfo) == [(id, run, "Failed")]


def test_a_run_counts_with_the_tags_it_had(conninfo: str, desk: Desk, clock: Clock, queueing: Following) -> None:
    id = policy(desk, state_names=["Failed"], tags=["a"])
    run = desk.flow_run(state=proposed("FAILED"), tags=["a"])
    other = desk.flow_run(state=proposed("FAILED"), tags=["b"])
    desk.ask(UpdateFlowRun(caller=CALLER, id=run, changes=FlowRunChanges(tags=["b"])))
    desk.ask(UpdateFlowRun(caller=CALLER, id=other, changes=FlowRunChanges(tags=["a"])))
    do_round(conninfo, clock, queueing)
    assert queued(conninfo) == [(id, run, "Failed")]


def test_who_may_have_something_to_deliver_is_told(conninfo: str, desk: Desk, clock: Clock) -> None:
    told: list[None] = []
    following = Following(Queueing(lambda: told.append(None)))
    do_round(conninfo, clock, following)
    policy(desk, state_names=["Failed"])
    desk.flow_run()
    do_round(conninfo, clock, following)
    assert told == []
    desk.flow_run(state=proposed("FAILED"))
    do_round(conninfo, clock, following)
    assert told == [None]


def test_an_event_of_a_policy_that_cannot_be_read_stops_nobody_for_good(
    conninfo: str, desk: Desk, clock: Clock, queueing: Following
) -> None:
    good = policy(desk, state_names=["Failed"])
    poison = policy(desk, state_names=["Failed"])
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "UPDATE ledger.events SET state = '{\"class_version\":99,' || substr(state, 2) WHERE originator_id = %s",
            [poison],
        )
    run = desk.flow_run(state=proposed("FAILED"))
    for attempt in range(1, ATTEMPTS + 1):
        do_round(conninfo, clock, queueing)
        clock.time += pause_behind(attempt)
    assert queued(conninfo) == [(good, run, "Failed")]
    assert len(rows(conninfo, "SELECT FROM telemetry.set_aside")) == 1
