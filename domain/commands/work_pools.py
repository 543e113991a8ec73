"""What may be asked of work pools."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from domain import keys
from domain.commands.command import Command, Deleted, Made
from domain.commands.work_queues import pool_named, queues_of, record_pool, record_queue_deletion
from domain.errors import ReservedWorkPool
from domain.keys import Key
from domain.session import Session
from domain.work_pool import WorkPoolDeleted, WorkPoolSettings, WorkPoolUpdated

RESERVED = "prefect"
"""How reserved names begin, in any case. Source: server 3.9.1."""

FREE_IF_RESERVED = frozenset({"is_paused", "concurrency_limit"})
"""What can be changed even of a pool with a reserved name."""

QUEUES_PER_DELETION = 500
"""How many queues one transaction deletes with their pool; more take more commands."""


def is_reserved(name: str) -> bool:
    return name.lower().startswith(RESERVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOnPool(Command):
    """What is asked of the work pool of that name. Raises UnknownWorkPool where there is none."""

    name: str

    def natural_keys(self) -> Iterable[Key]:
        return (keys.work_pool_name(self.name),)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateWorkPool(CommandOnPool):
    """Make a work pool with its default queue. Raises ReservedWorkPool and NameTaken."""

    id: UUID
    type: str
    settings: WorkPoolSettings

    def decide(self, session: Session) -> Made:
        if is_reserved(self.name):
            raise ReservedWorkPool
        record_pool(session, self.id, self.name, self.type, self.settings)
        return Made(self.id, created=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateWorkPool(CommandOnPool):
    """Change the settings that are set, and no others. Raises ReservedWorkPool."""

    changes: WorkPoolSettings

    def decide(self, session: Session) -> None:
        if is_reserved(self.name) and self.changes.model_fields_set - FREE_IF_RESERVED:
            raise ReservedWorkPool(" and can only be updated to set concurrency limits or pause")
        pool = pool_named(session, self.name)
        if self.changes.model_fields_set:
            session.record(pool, WorkPoolUpdated, changes=self.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteWorkPool(CommandOnPool):
    """Delete a work pool and its queues, so many at a time, the pool itself last. Raises ReservedWorkPool.

    Deployments and runs that were in one of its queues keep its name and belong to none.
    """

    def decide(self, session: Session) -> Deleted:
        if is_reserved(self.name):
            raise ReservedWorkPool(" and can not be deleted")
        pool = pool_named(session, self.name)
        queues = sorted(queues_of(session, pool.id), key=lambda queue: queue.id == pool.default_queue_id)
        for queue in queues[:QUEUES_PER_DELETION]:
            record_queue_deletion(session, queue)
        if len(queues) > QUEUES_PER_DELETION:
            return Deleted(finished=False)
        session.release(keys.work_pool_name(pool.name))
        session.record(pool, WorkPoolDeleted)
        return Deleted(finished=True)
