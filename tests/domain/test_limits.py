"""Slots of a concurrency limit: taken, kept, given back, and never lost."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.persistence import StoredEvent

from domain.commands.command import Slots
from domain.commands.flow_runs import DeleteFlowRun
from domain.commands.limits import CreateLimit, DeleteLimit, ResetLimit, TidyLimit, UpdateLimit
from domain.commands.slot_requests import EndLease, RenewLease, ReturnSlots, TakeSlots
from domain.commands.task_runs import DeleteTaskRun
from domain.concurrency_limit import ConcurrencyLimit, Holder, LimitChanges, LimitSnapshot, SlotsDenied
from domain.errors import MoreThanLimit, NameTaken, NoSlotDecay
from domain.events import EventMapper
from domain.ids import new_id
from domain.ledger import Ledger, replay
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from tests.checks import check_ledger
from tests.domain.conftest import CALLER, Desk, create_task_run, proposed

RUNNING = proposed("RUNNING")


def limit(desk: Desk, name: str, slots: int, **facts: Any) -> UUID:
    return desk.make(CreateLimit(caller=CALLER, id=new_id(), facts=LimitChanges(name=name, limit=slots, **facts)))


def take(desk: Desk, *names: str, slots: int = 1, **facts: Any) -> tuple[UUID, Slots]:
    id = new_id()
    answer = desk.ask(TakeSlots(caller=CALLER, id=id, names=names, slots=slots, **facts))
    assert isinstance(answer, Slots)
    return id, answer


def holdings(desk: Desk, id: UUID) -> set[UUID]:
    found = desk.ledger.cached(id)
    assert isinstance(found, ConcurrencyLimit)
    return set(found.holdings)


def events_of(conninfo: str, id: UUID) -> Sequence[StoredEvent]:
    return PostgresLedgerRecorder(LedgerConnection(conninfo)).select_events(id)


def topics(conninfo: str, id: UUID) -> list[str]:
    return [event.topic.partition(".")[2] for event in events_of(conninfo, id)]


def test_a_lease_that_ran_out_is_ended_by_an_event_at_the_next_look(desk: Desk, conninfo: str) -> None:
    id = limit(desk, "l", 1)
    lease, _ = take(desk, "l", lease_seconds=60)
    desk.clock.move(seconds=59)
    assert not take(desk, "l")[1].granted
    desk.clock.move(seconds=1)
    other, answer = take(desk, "l")
    assert answer.granted
    assert holdings(desk, id) == {other}
    assert topics(conninfo, id) == ["Created", "SlotsTaken", "SlotsDenied", "SlotsReleased", "SlotsTaken"]
    assert not desk.ask(RenewLease(caller=CALLER, lease_id=lease, seconds=60)).granted


def test_a_look_alone_ends_a_lease_that_ran_out(desk: Desk) -> None:
    id = limit(desk, "l", 1)
    take(desk, "l", lease_seconds=60)
    desk.clock.move(seconds=60)
    desk.ask(TidyLimit(caller=CALLER, id=id))
    assert holdings(desk, id) == set()


def test_a_renewed_lease_lasts_and_an_ended_one_is_over(desk: Desk) -> None:
    id = limit(desk, "l", 1)
    lease, _ = take(desk, "l", lease_seconds=60)
    desk.clock.move(seconds=50)
    assert desk.ask(RenewLease(caller=CALLER, lease_id=lease, seconds=60)).granted
    desk.clock.move(seconds=50)
    assert not take(desk, "l")[1].granted
    for _ in range(2):
        desk.ask(EndLease(caller=CALLER, lease_id=lease))
    assert holdings(desk, id) == set()
    assert not desk.ask(RenewLease(caller=CALLER, lease_id=lease, seconds=60)).granted


def test_of_several_limits_all_slots_are_taken_or_none(desk: Desk) -> None:
    one, two = limit(desk, "one", 2), limit(desk, "two", 1)
    take(desk, "two")
    _, answer = take(desk, "one", "two", "nobody knows")
    assert not answer.granted
    assert answer.blocked_by == "two"
    assert holdings(desk, one) == set()
    assert len(holdings(desk, two)) == 1


@pytest.mark.parametrize("gone", ["task run deleted", "flow run deleted", "flow run crashed", "task run ended"])
def test_who_is_gone_holds_nothing(desk: Desk, gone: str) -> None:
    id = limit(desk, "tag:t", 1)
    flow_run = desk.flow_run()
    desk.propose("flow", flow_run, RUNNING)
    task_run = desk.task_run(flow_run)
    _, answer = take(desk, "tag:t", holder=Holder(type="task_run", id=task_run), lease_seconds=3600)
    assert answer.granted
    desk.clock.move(seconds=1)
    match gone:
        case "task run deleted":
            desk.ask(DeleteTaskRun(caller=CALLER, id=task_run))
        case "flow run deleted":
            desk.ask(DeleteFlowRun(caller=CALLER, id=flow_run))
        case "flow run crashed":
            desk.propose("flow", flow_run, proposed("CRASHED"))
        case _:
            desk.propose("task", task_run, proposed("FAILED"), force=True)
    other, answer = take(desk, "tag:t")
    assert answer.granted
    assert holdings(desk, id) == {other}


def test_a_run_in_progress_keeps_its_slots_however_often_others_ask(desk: Desk) -> None:
    limit(desk, "tag:t", 1)
    flow_run = desk.flow_run()
    desk.propose("flow", flow_run, RUNNING)
    take(desk, "tag:t", holder=Holder(type="task_run", id=desk.task_run(flow_run)))
    take(desk, "tag:unknown to the ledger")
    assert not any(take(desk, "tag:t")[1].granted for _ in range(3))


def test_slots_that_decay_come_free_by_themselves(desk: Desk) -> None:
    limit(desk, "rate", 2, slot_decay_per_second=2.0)
    assert [take(desk, "rate", rate=True)[1].granted for _ in range(3)] == [True, True, False]
    _, refused = take(desk, "rate", rate=True)
    assert refused.retry_after == pytest.approx(0.5)
    desk.clock.move(seconds=0.5)
    assert [take(desk, "rate", rate=True)[1].granted for _ in range(2)] == [True, False]


def test_what_can_never_be_granted_is_an_error(desk: Desk) -> None:
    limit(desk, "l", 1)
    with pytest.raises(MoreThanLimit):
        take(desk, "l", slots=2)
    with pytest.raises(NoSlotDecay, match="l"):
        take(desk, "l", rate=True)
    with pytest.raises(NameTaken, match="l"):
        limit(desk, "l", 3)


def test_slots_without_a_lease_are_given_back_by_number(desk: Desk) -> None:
    id = limit(desk, "l", 3)
    take(desk, "l", slots=2)
    last, _ = take(desk, "l")
    desk.ask(ReturnSlots(caller=CALLER, names=("l",), slots=2, occupancy_seconds=1.5))
    assert holdings(desk, id) == {last}
    desk.ask(ReturnSlots(caller=CALLER, names=("l",), slots=5))
    assert holdings(desk, id) == set()


def test_a_lowered_limit_lets_nobody_in_until_enough_have_left(desk: Desk) -> None:
    limit(desk, "l", 3)
    leases = [take(desk, "l", lease_seconds=600)[0] for _ in range(3)]
    desk.ask(UpdateLimit(caller=CALLER, limit="l", changes=LimitChanges(limit=2)))
    desk.ask(EndLease(caller=CALLER, lease_id=leases[0]))
    assert not take(desk, "l")[1].granted
    desk.ask(EndLease(caller=CALLER, lease_id=leases[1]))
    assert take(desk, "l")[1].granted


def test_a_reset_takes_all_slots_back_and_gives_some_anew(desk: Desk) -> None:
    id, task_run = limit(desk, "tag:t", 2), new_id()
    take(desk, "tag:t")
    desk.ask(ResetLimit(caller=CALLER, limit="tag:t", task_runs=(task_run,)))
    assert holdings(desk, id) == {task_run}


def test_a_deleted_limit_limits_nothing_and_frees_its_name(desk: Desk) -> None:
    limit(desk, "l", 1)
    lease, _ = take(desk, "l", lease_seconds=600)
    desk.ask(DeleteLimit(caller=CALLER, limit="l"))
    assert take(desk, "l")[1] == Slots(())
    assert not desk.ask(RenewLease(caller=CALLER, lease_id=lease, seconds=60)).granted
    limit(desk, "l", 1)


def test_the_very_same_denial_is_recorded_once(desk: Desk, conninfo: str) -> None:
    id = limit(desk, "l", 1)
    take(desk, "l")
    for _ in range(5):
        take(desk, "l")
    assert topics(conninfo, id).count(SlotsDenied.TOPIC.partition(".")[2]) == 1


def test_a_limit_is_the_same_from_its_snapshot_as_from_its_beginning(desk: Desk, conninfo: str) -> None:
    id = limit(desk, "l", 5)
    kept = [take(desk, "l", lease_seconds=86_400)[0] for _ in range(3)]
    for _ in range(170):
        lease, _ = take(desk, "l", lease_seconds=600)
        desk.clock.move(seconds=1)
        desk.ask(EndLease(caller=CALLER, lease_id=lease))
    stored = events_of(conninfo, id)
    assert len(stored) > 300
    whole = replay(EventMapper(), id, stored)
    recorder = PostgresLedgerRecorder(LedgerConnection(conninfo))
    with recorder.transaction() as transaction:
        short = transaction.streams([id])[id]
    assert len(short) < 100
    again = replay(EventMapper(), id, short)
    fields = (*LimitSnapshot.model_fields, "version", "created", "updated")
    assert {field: getattr(again, field) for field in fields} == {field: getattr(whole, field) for field in fields}
    with Ledger(recorder, clock=desk.clock) as other:
        outcome = other.execute(lambda: [EndLease(caller=CALLER, lease_id=kept[0])])[0]
        assert outcome.error is None
    check_ledger(conninfo)


def test_a_task_run_holds_slots_of_all_its_tags_only_while_it_runs(desk: Desk) -> None:
    ids = [limit(desk, f"tag:{tag}", 1) for tag in "ab"]
    flow_run = desk.flow_run()
    desk.propose("flow", flow_run, RUNNING)
    one, two = (_tagged(desk, flow_run, tags) for tags in (["a", "b"], ["b"]))
    assert desk.propose("task", one, proposed("RUNNING")).status == "ACCEPT"
    assert desk.run(one).slots == {id: one for id in ids}
    assert desk.propose("task", two, proposed("RUNNING")).status == "WAIT"
    desk.propose("task", one, proposed("FAILED"))
    assert all(not holdings(desk, id) for id in ids)
    assert desk.run(one).slots == {}
    assert desk.propose("task", two, proposed("RUNNING")).status == "ACCEPT"


def _tagged(desk: Desk, flow_run: UUID, tags: list[str]) -> UUID:
    command = create_task_run(flow_run)
    object.__setattr__(command, "facts", command.facts.model_copy(update={"tags": tags}))
    return desk.make(command)
