"""Taking slots of concurrency limits and giving them back, within whatever command does it.

A slot cannot leak: whoever looks at a limit first ends the leases that have run out and, where too few slots are left,
the holdings of those who are gone. A run gives back what it holds with the event by which it leaves its held states.
"""

from collections.abc import Container, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from domain import keys
from domain.concurrency_limit import ConcurrencyLimit, Holder, LeaseRenewed, SlotsReleased, SlotsTaken
from domain.orchestration.rule import LimitFacts
from domain.run import Run, StateSet
from domain.session import Session
from domain.states import State, StateType

LONGEST_WAIT = 30.0
"""Seconds after which a limit without decay is worth asking again at the latest. Source: servers 2.7.12 to 3.9.1."""


def limits_named(session: Session, names: Iterable[str]) -> list[ConcurrencyLimit]:
    """The limits of these names that there are, each once, in the order of the names."""
    ids = [id for name in dict.fromkeys(names) if (id := session.id_of(keys.limit_name(name))) is not None]
    session.prefetch(ids)
    return [limit for id in ids if (limit := session.find(ConcurrencyLimit, id)) is not None]


def facts_of(session: Session, limit: ConcurrencyLimit) -> LimitFacts:
    """What a rule gets to know of a limit."""
    free = free_slots(session, limit)
    wait = limit.wait_seconds(1, session.now, LONGEST_WAIT)
    holdings = frozenset(id for id in limit.holdings if (limit.id, id) not in session.ended)
    return LimitFacts(limit.id, limit.name, limit.limit, free, wait, holdings)


def free_slots(session: Session, limit: ConcurrencyLimit, wanted: int = 1) -> float:
    """How many slots are free once all is ended that holds none any more; below zero where a limit was lowered."""
    for id in limit.expired(session.now):
        end(session, limit, id, "expired")
    if _free(session, limit) < wanted:
        _end_orphans(session, limit)
    return _free(session, limit)


def _free(session: Session, limit: ConcurrencyLimit) -> float:
    """The slots that are free once the events of this session have happened."""
    freed = session.slots_freed.get(limit.id, 0)
    return min(limit.limit - limit.in_use(session.now) + freed, limit.limit)


def take(
    session: Session,
    limit: ConcurrencyLimit,
    holding: UUID,
    slots: int,
    holder: Holder | None,
    expires_at: datetime | None = None,
) -> None:
    """Let someone hold slots of a limit; who holds them already holds them still, unless that was just ended."""
    if holding in limit.holdings and (limit.id, holding) not in session.ended:
        return
    session.record(limit, SlotsTaken, holding=holding, slots=slots, holder=holder, expires_at=expires_at)
    if expires_at is not None:
        session.claim(keys.lease_on(holding, limit.id), limit.id)


def end(session: Session, limit: ConcurrencyLimit, id: UUID, reason: str) -> None:
    """Say that a holding is over, once."""
    holding = limit.holdings.get(id)
    if holding is None or (limit.id, id) in session.ended:
        return
    session.ended.add((limit.id, id))
    session.record(limit, SlotsReleased, holding=id, reason=reason)
    if holding.leased:
        session.release(keys.lease_on(id, limit.id))
    # A lease that ran out is not counted any more, but in a limit with decay its slots fill the bucket still.
    if limit.decays or holding.expires_at is None or holding.expires_at > session.now:
        session.slots_freed[limit.id] = session.slots_freed.get(limit.id, 0) + holding.slots


def record_transition(
    session: Session,
    run: Run,
    kind: type[StateSet],
    facts: dict[str, Any],
    *,
    holds_in: Container[StateType],
    holder: Holder,
    expires_at: datetime | None = None,
) -> None:
    """Record that a run entered a state, together with what that does to the slots it holds.

    `facts` are those of the event; `slots` in them are what a rule lets the run hold from now on, under a lease where
    `expires_at` says so. In states other than `holds_in` it holds none.
    """
    state: State = facts["state"]
    granted: dict[UUID, UUID] = facts.pop("slots", None) or {}
    if state.type not in holds_in:
        granted = {}
        if run.slots:
            facts["slots"] = {}
    elif granted:
        facts["slots"] = granted
    session.record(run, kind, **facts)
    if "slots" in facts:
        give_back(session, {limit: id for limit, id in run.slots.items() if granted.get(limit) != id})
    for limit_id, holding in granted.items():
        take(session, session.get(ConcurrencyLimit, limit_id), holding, 1, holder, expires_at)


def extend(session: Session, held: Mapping[UUID, UUID], expires_at: datetime | None) -> None:
    """Let what a run holds last until another time, or until it is given back."""
    for limit_id, id in held.items():
        limit = session.find(ConcurrencyLimit, limit_id)
        if limit is not None and id in limit.holdings and id not in limit.expired(session.now):
            session.record(limit, LeaseRenewed, holding=id, expires_at=expires_at)


def give_back(session: Session, held: Mapping[UUID, UUID]) -> None:
    """End what a run holds, by the ids of limits and holdings."""
    for limit_id, holding in held.items():
        limit = session.find(ConcurrencyLimit, limit_id)
        if limit is not None:
            end(session, limit, holding, "returned")


def _end_orphans(session: Session, limit: ConcurrencyLimit) -> None:
    """End the holdings of those who were deleted, or have ended since they took their slots."""
    held = {id: holding for id, holding in limit.holdings.items() if holding.holder is not None}
    session.prefetch([holding.holder.id for holding in held.values() if holding.holder is not None])
    for id, holding in held.items():
        if holding.holder is not None and _gone(session, holding.holder.id, holding.since):
            end(session, limit, id, "holder ended")


def _gone(session: Session, id: UUID | None, since: datetime) -> bool:
    """Whether an aggregate was deleted or, being a run, ended after that time, by itself or with what it runs in.

    One that is not known is not gone: clients report their task runs later than they take slots for them.
    """
    aggregate = None if id is None else session.peek(id)
    if aggregate is None:
        return False
    if aggregate.deleted:
        return True
    if not isinstance(aggregate, Run):
        return False
    state = aggregate.state
    ended = state is not None and state.is_terminal and state.timestamp > since
    return ended or _gone(session, aggregate.runs_in, since)
