"""What may be asked of concurrency limits: made, changed, reset and deleted by their id or their name."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from domain import keys
from domain.commands import slots
from domain.commands.command import Command, CommandOnOne, Deleted, Made
from domain.concurrency_limit import (
    ConcurrencyLimit,
    Holder,
    LimitChanges,
    LimitCreated,
    LimitDeleted,
    LimitUpdated,
)
from domain.errors import NameTaken, NoSuchLimit
from domain.keys import Key
from domain.session import Session


def create_limit(session: Session, id: UUID, facts: LimitChanges) -> ConcurrencyLimit:
    """Say that a limit came to be. Raises NameTaken when its name is."""
    name = facts.name or ""
    if session.id_of(keys.limit_name(name)) is not None:
        raise NameTaken(ConcurrencyLimit.kind, name)
    limit = session.create(ConcurrencyLimit, id)
    session.claim(keys.limit_name(name), id)
    session.record(limit, LimitCreated, **facts.model_dump(exclude_none=True))
    return limit


def change_limit(session: Session, limit: ConcurrencyLimit, changes: LimitChanges) -> None:
    """Say what changed of a limit; where nothing was meant nothing happens. Raises NameTaken when its new name is."""
    meant = changes.model_dump(exclude_none=True)
    if not meant:
        return
    if changes.name is not None and changes.name != limit.name:
        if session.id_of(keys.limit_name(changes.name)) is not None:
            raise NameTaken(ConcurrencyLimit.kind, changes.name)
        session.release(keys.limit_name(limit.name))
        session.claim(keys.limit_name(changes.name), limit.id)
    if changes.active_slots is not None:
        release_leases(session, limit)
    session.record(limit, LimitUpdated, changes=changes)


def delete_limit(session: Session, limit: ConcurrencyLimit) -> None:
    """Say that a limit was deleted, with all that is held of it."""
    release_leases(session, limit)
    session.release(keys.limit_name(limit.name))
    session.record(limit, LimitDeleted)


def release_leases(session: Session, limit: ConcurrencyLimit) -> None:
    """Free the keys of all leases on a limit."""
    for id, holding in limit.holdings.items():
        if holding.leased:
            session.release(keys.lease_on(id, limit.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateLimit(Command):
    """Make a limit. Raises NameTaken when there is one of that name; then `replaces` would change that one instead."""

    id: UUID
    facts: LimitChanges
    replaces: bool = False

    def natural_keys(self) -> Iterable[Key]:
        return (keys.limit_name(self.facts.name or ""),)

    def decide(self, session: Session) -> Made:
        existing = session.find(ConcurrencyLimit, session.id_of(keys.limit_name(self.facts.name or "")))
        if existing is None or not self.replaces:
            return Made(create_limit(session, self.id, self.facts).id, created=True)
        if existing.limit != self.facts.limit:
            change_limit(session, existing, LimitChanges(limit=self.facts.limit))
        return Made(existing.id, created=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOnLimit(Command):
    """What is asked of one limit, which is named by its id or by its name. Raises NoSuchLimit where there is none."""

    limit: UUID | str

    def ids(self) -> Iterable[UUID | None]:
        return (self.limit,) if isinstance(self.limit, UUID) else ()

    def natural_keys(self) -> Iterable[Key]:
        return (keys.limit_name(self.limit),) if isinstance(self.limit, str) else ()

    def find(self, session: Session) -> ConcurrencyLimit:
        id = self.limit if isinstance(self.limit, UUID) else session.id_of(keys.limit_name(self.limit))
        limit = session.find(ConcurrencyLimit, id)
        if limit is None:
            raise NoSuchLimit(self.limit)
        return limit


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateLimit(CommandOnLimit):
    """Change what the caller set of a limit, and nothing else."""

    changes: LimitChanges

    def decide(self, session: Session) -> None:
        change_limit(session, self.find(session), self.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteLimit(CommandOnLimit):
    """Delete a limit; its history stays readable by its id."""

    def decide(self, session: Session) -> Deleted:
        delete_limit(session, self.find(session))
        return Deleted(finished=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetLimit(CommandOnLimit):
    """Take all slots of a limit back, and give one each to these task runs."""

    task_runs: tuple[UUID, ...] = ()

    def decide(self, session: Session) -> None:
        limit = self.find(session)
        for id in limit.holdings:
            if id not in self.task_runs:
                slots.end(session, limit, id, "reset")
        for id in dict.fromkeys(self.task_runs):
            slots.take(session, limit, id, 1, Holder(type="task_run", id=id))


@dataclass(frozen=True, slots=True, kw_only=True)
class TidyLimit(CommandOnOne):
    """End whatever no longer holds slots of a limit; said to any limit that someone looks at."""

    def decide(self, session: Session) -> None:
        limit = session.find(ConcurrencyLimit, self.id)
        if limit is not None:
            slots.free_slots(session, limit)
