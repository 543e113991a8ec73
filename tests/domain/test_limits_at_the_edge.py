"""Slots where one thing ends and another begins: the same holder again, limits of nothing, what memory forgot."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest

from domain.commands.command import Slots
from domain.commands.limits import DeleteLimit, ResetLimit, UpdateLimit
from domain.commands.slot_requests import EndLease, RenewLease, ReturnSlots, TakeSlots
from domain.concurrency_limit import Holder, LimitChanges
from domain.errors import MoreThanLimit, NoSuchLimit
from domain.ids import new_id
from domain.ledger import Ledger
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from tests.checks import check_ledger
from tests.domain.conftest import CALLER, Desk, create_task_run, proposed
from tests.domain.test_limits import events_of, holdings, limit, take, topics


def take_for(desk: Desk, task_run: UUID, *names: str) -> Slots:
    """The answer to a client that asks for slots for a task run, as often as it tries."""
    holder = Holder(type="task_run", id=task_run)
    answer = desk.ask(TakeSlots(caller=CALLER, id=task_run, names=names, slots=1, holder=holder))
    assert isinstance(answer, Slots)
    return answer


def test_who_ended_and_begins_again_takes_its_slot_anew(desk: Desk, conninfo: str) -> None:
    id = limit(desk, "tag:t", 1)
    task_run = desk.task_run(None)
    assert take_for(desk, task_run, "tag:t").granted
    desk.clock.move(seconds=1)
    desk.propose("task", task_run, proposed("FAILED"), force=True)
    desk.clock.move(seconds=1)
    assert take_for(desk, task_run, "tag:t").granted
    assert holdings(desk, id) == {task_run}
    assert topics(conninfo, id) == ["Created", "SlotsTaken", "SlotsReleased", "SlotsTaken"]
    desk.propose("task", task_run, proposed("RUNNING"), force=True)
    assert not take(desk, "tag:t")[1].granted
    check_ledger(conninfo)


def test_a_deleted_limit_stays_deleted_also_where_its_last_event_was_its_hundredth(desk: Desk, conninfo: str) -> None:
    id = limit(desk, "l", 1)
    for number in range(98):
        desk.ask(UpdateLimit(caller=CALLER, limit=id, changes=LimitChanges(limit=number)))
    desk.ask(DeleteLimit(caller=CALLER, limit=id))
    assert len(events_of(conninfo, id)) == 100
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=desk.clock) as other:
        changes = LimitChanges(limit=5)
        error = other.execute(lambda: [UpdateLimit(caller=CALLER, limit=id, changes=changes)])[0].error
    assert isinstance(error, NoSuchLimit)
    check_ledger(conninfo)


def test_a_limit_of_nothing_lets_nobody_in(desk: Desk) -> None:
    id = limit(desk, "l", 0)
    with pytest.raises(MoreThanLimit):
        take(desk, "l")
    desk.ask(UpdateLimit(caller=CALLER, limit="l", changes=LimitChanges(limit=1)))
    assert take(desk, "l")[1].granted
    desk.ask(UpdateLimit(caller=CALLER, limit="l", changes=LimitChanges(limit=0)))
    assert len(holdings(desk, id)) == 1
    with pytest.raises(MoreThanLimit):
        take(desk, "l")


@pytest.mark.parametrize("dialect", ["orion", "prefect-2", "prefect-3", "strict"])
def test_a_task_run_under_a_limit_of_nothing_is_aborted(desk: Desk, dialect: str) -> None:
    limit(desk, "tag:t", 0)
    flow_run = desk.flow_run()
    desk.propose("flow", flow_run, proposed("RUNNING"))
    desk.dialect = dialect
    task_run = tagged(desk, flow_run, "t")
    assert desk.propose("task", task_run, proposed("RUNNING")).status == "ABORT"
    desk.ask(UpdateLimit(caller=CALLER, limit="tag:t", changes=LimitChanges(active=False)))
    assert desk.propose("task", task_run, proposed("RUNNING")).status == "ACCEPT"


def test_a_desk_that_forgot_everything_decides_as_before(desk: Desk, conninfo: str) -> None:
    id = limit(desk, "l", 2)
    lease, _ = take(desk, "l", lease_seconds=86_400)
    for _ in range(175):
        other, _ = take(desk, "l", lease_seconds=600)
        desk.ask(EndLease(caller=CALLER, lease_id=other))
    assert len(events_of(conninfo, id)) > 350
    forgetful = Desk(
        Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), cache_size=0, clock=desk.clock), desk.clock
    )
    last, answer = take(forgetful, "l", lease_seconds=60)
    assert answer.granted
    assert not take(forgetful, "l")[1].granted
    assert granted(forgetful.ask(RenewLease(caller=CALLER, lease_id=lease, seconds=90)))
    desk.clock.move(seconds=60)
    _, answer = take(forgetful, "l")
    assert answer.granted
    assert not granted(forgetful.ask(RenewLease(caller=CALLER, lease_id=last, seconds=90)))
    forgetful.ask(ReturnSlots(caller=CALLER, names=("l",), slots=1))
    assert granted(desk.ask(RenewLease(caller=CALLER, lease_id=lease, seconds=90)))
    assert holdings(desk, id) == {lease}
    forgetful.ledger.close()
    check_ledger(conninfo)


def granted(answer: Any) -> bool:
    assert isinstance(answer, Slots)
    return answer.granted


def test_a_denial_that_is_repeated_is_counted_and_one_after_a_change_is_news(desk: Desk, conninfo: str) -> None:
    id = limit(desk, "l", 1)
    lease, _ = take(desk, "l", lease_seconds=600)
    for _ in range(4):
        assert not take(desk, "l")[1].granted
    assert repeats(conninfo, id) == [3]
    desk.ask(RenewLease(caller=CALLER, lease_id=lease, seconds=600))
    assert not take(desk, "l")[1].granted
    assert topics(conninfo, id).count("SlotsDenied") == 2
    assert repeats(conninfo, id) == [3]


def repeats(conninfo: str, id: UUID) -> list[int]:
    """How often each refusal of one stream was repeated, oldest first."""
    statement = "SELECT times FROM telemetry.repeated_refusals WHERE originator_id = %s ORDER BY originator_version"
    with psycopg.connect(conninfo) as connection:
        return [row[0] for row in connection.execute(statement, [id])]


def test_a_task_run_that_holds_its_slot_already_holds_it_once(desk: Desk) -> None:
    id, task_run = limit(desk, "tag:t", 2), new_id()
    for _ in range(2):
        assert take_for(desk, task_run, "tag:t", "tag:t").granted
    assert holdings(desk, id) == {task_run}
    desk.ask(ReturnSlots(caller=CALLER, names=("tag:t", "tag:t"), holder_id=task_run))
    assert holdings(desk, id) == set()


def test_a_reset_keeps_who_is_named_and_holds_already(desk: Desk, conninfo: str) -> None:
    id, kept, new = limit(desk, "tag:t", 2), new_id(), new_id()
    take_for(desk, kept, "tag:t")
    take(desk, "tag:t", lease_seconds=600)
    desk.ask(ResetLimit(caller=CALLER, limit="tag:t", task_runs=(kept, new, new)))
    assert holdings(desk, id) == {kept, new}
    check_ledger(conninfo)


def tagged(desk: Desk, flow_run: UUID, *tags: str) -> UUID:
    command = create_task_run(flow_run)
    facts = command.facts.model_copy(update={"tags": list(tags)})
    return desk.make(replace(command, facts=facts))
