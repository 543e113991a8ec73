"""What clients ask of slots themselves: to hold some of named limits, to keep them, to give them back."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from domain import keys
from domain.commands import slots
from domain.commands.command import Command, LimitName, Slots
from domain.concurrency_limit import ConcurrencyLimit, Holder, LeaseRenewed, SlotsDenied, SlotsReturned
from domain.errors import MoreThanLimit, NoSlotDecay
from domain.keys import Key
from domain.session import Session

LIMITS_PER_LEASE = 1000


def in_short(limits: Iterable[ConcurrencyLimit]) -> tuple[LimitName, ...]:
    return tuple(LimitName(limit.id, limit.name, limit.limit) for limit in limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSlots(Command):
    """Hold so many slots of each of these limits, or of none; names of limits that do not exist are left out.

    `id` is the lease where there are `lease_seconds`, else the id of what is held. Raises MoreThanLimit when a limit
    has fewer slots, NoSlotDecay when a `rate` is asked of a limit whose slots do not come free by themselves.
    """

    id: UUID
    names: tuple[str, ...]
    slots: int
    rate: bool = False
    lease_seconds: float | None = None
    holder: Holder | None = None

    def natural_keys(self) -> Iterable[Key]:
        return [keys.limit_name(name) for name in self.names]

    def decide(self, session: Session) -> Slots:
        named = slots.limits_named(session, self.names)
        limits = [limit for limit in named if limit.active]
        if any(limit.limit < self.slots for limit in limits):
            raise MoreThanLimit
        lasting = [limit.name for limit in limits if not limit.decays]
        if self.rate and lasting:
            raise NoSlotDecay(lasting)
        full = [limit for limit in limits if slots.free_slots(session, limit, self.slots) < self.slots]
        if full:
            return self._deny(session, full)
        lease = None if self.lease_seconds is None else session.now + timedelta(seconds=self.lease_seconds)
        for limit in limits:
            slots.take(session, limit, self.id, self.slots, self.holder, lease)
        return Slots(in_short(named))

    def _deny(self, session: Session, full: list[ConcurrencyLimit]) -> Slots:
        """The very same refusal again, with nothing changed in between, is only counted: a poll is not news."""
        for limit in full:
            earlier = limit.denials.get((session.caller.actor, self.holder))
            if earlier is not None:
                session.repeats.append((limit.id, earlier.originator_version))
            else:
                session.record(limit, SlotsDenied, slots=self.slots, holder=self.holder)
        wait, name = max(
            (limit.wait_seconds(self.slots, session.now, slots.LONGEST_WAIT), limit.name) for limit in full
        )
        return Slots(in_short(full), granted=False, retry_after=wait, blocked_by=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnSlots(Command):
    """Give slots of named limits back: those of a holder, or so many of those that nobody is named for.

    `occupancy_seconds` is for how long they were in use, where the caller says so.
    """

    names: tuple[str, ...]
    slots: int = 1
    occupancy_seconds: float | None = None
    holder_id: UUID | None = None

    def natural_keys(self) -> Iterable[Key]:
        return [keys.limit_name(name) for name in self.names]

    def decide(self, session: Session) -> Slots:
        named = slots.limits_named(session, self.names)
        for limit in named:
            if self.holder_id is not None:
                self._release_holder(session, limit, self.holder_id)
            elif limit.active:
                session.record(limit, SlotsReturned, slots=self.slots, occupancy_seconds=self.occupancy_seconds)
        return Slots(in_short(named))

    def _release_holder(self, session: Session, limit: ConcurrencyLimit, holder_id: UUID) -> None:
        for id, holding in limit.holdings.items():
            if holding.holder is not None and holding.holder.id == holder_id:
                slots.end(session, limit, id, "returned")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOnLease(Command):
    """What is asked of all that is held under one lease."""

    lease_id: UUID

    def held(self, session: Session) -> list[ConcurrencyLimit]:
        """The limits of which slots are held under the lease; what has expired is ended."""
        found = session.ids_under(keys.lease(self.lease_id), LIMITS_PER_LEASE)
        session.prefetch(found.values())
        limits = [limit for id in found.values() if (limit := session.find(ConcurrencyLimit, id)) is not None]
        for limit in limits:
            slots.free_slots(session, limit, 0)
        return [limit for limit in limits if (limit.id, self.lease_id) not in session.ended]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewLease(CommandOnLease):
    """Keep what is held under a lease for another while; what is over already is not granted again."""

    seconds: float

    def decide(self, session: Session) -> Slots:
        limits = self.held(session)
        until = session.now + timedelta(seconds=self.seconds)
        for limit in limits:
            session.record(limit, LeaseRenewed, holding=self.lease_id, expires_at=until)
        return Slots(in_short(limits), granted=bool(limits))


@dataclass(frozen=True, slots=True, kw_only=True)
class EndLease(CommandOnLease):
    """Give back what is held under a lease; one that is over already is no error."""

    def decide(self, session: Session) -> None:
        for limit in self.held(session):
            slots.end(session, limit, self.lease_id, "returned")
