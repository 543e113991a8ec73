"""What may be asked of work queues, and how others come by one: by the names of a pool and of a queue."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID, uuid5

from domain import keys
from domain.commands.command import Command, Deleted, Made
from domain.errors import DefaultQueue, NameTaken, NoSuchWorkQueue, UnknownWorkPool
from domain.keys import Key
from domain.session import Session
from domain.work_pool import AGENT_POOL, AGENT_TYPE, WorkPool, WorkPoolCreated, WorkPoolSettings
from domain.work_queue import (
    WorkQueue,
    WorkQueueCreated,
    WorkQueueDeleted,
    WorkQueueSettings,
    WorkQueueUpdated,
)

DEFAULT_QUEUE = "default"
ABOUT_DEFAULT = "The work pool's default queue."
"""What the default queue of every pool is described by. Source: server 3.9.1."""

MOST_QUEUES = 10_000
"""How many queues of a pool count when priorities are settled."""


def pool_named(session: Session, name: str) -> WorkPool:
    """The work pool of that name. Raises UnknownWorkPool."""
    pool = session.find(WorkPool, session.id_of(keys.work_pool_name(name)))
    if pool is None:
        raise UnknownWorkPool(name)
    return pool


def queue_named(session: Session, pool_name: str, name: str) -> WorkQueue:
    """The queue of that name in the pool of that name. Raises UnknownWorkPool and NoSuchWorkQueue."""
    pool = pool_named(session, pool_name)
    queue = session.find(WorkQueue, session.id_of(keys.work_queue_name(pool.id, name)))
    if queue is None:
        raise NoSuchWorkQueue(f"{pool_name}/{name}")
    return queue


def queues_of(session: Session, pool_id: UUID) -> list[WorkQueue]:
    """The queues of a pool in the order in which they are served."""
    ids = session.ids_under(keys.work_queues_of(pool_id), MOST_QUEUES).values()
    session.prefetch(ids)
    found = (session.find(WorkQueue, id) for id in ids)
    return sorted((queue for queue in found if queue is not None), key=lambda queue: queue.settings.priority)


def record_pool(
    session: Session,
    id: UUID,
    name: str,
    type: str,
    settings: WorkPoolSettings,
    another: tuple[UUID, WorkQueueSettings] | None = None,
) -> UUID:
    """Say that a work pool came to be with its default queue, whose id is given, and perhaps another one.

    Raises NameTaken.
    """
    if session.id_of(keys.work_pool_name(name)) is not None:
        raise NameTaken(WorkPool.kind, name)
    pool = session.create(WorkPool, id)
    default_id = unused_id(session, id, DEFAULT_QUEUE)
    session.claim(keys.work_pool_name(name), id)
    session.record(pool, WorkPoolCreated, name=name, type=type, default_queue_id=default_id, settings=settings)
    priority = 2 if another is not None and another[1].priority == 1 else 1
    default = WorkQueueSettings(name=DEFAULT_QUEUE, description=ABOUT_DEFAULT, priority=priority)
    _record_queue(session, default_id, id, default)
    if another is not None:
        _record_queue(session, another[0], id, another[1])
    return default_id


def make_queue(session: Session, id: UUID, pool_id: UUID, settings: WorkQueueSettings, priority: int | None) -> None:
    """Say that a queue came to be in a pool that is there, where possible with that priority, and move others.

    Without a priority it gets the first that is free. Raises NameTaken. Source: server 3.9.1.
    """
    if session.id_of(keys.work_queue_name(pool_id, settings.name)) is not None:
        raise NameTaken(WorkQueue.kind, settings.name)
    others = queues_of(session, pool_id)
    if priority is None:
        taken = {queue.settings.priority for queue in others}
        priority = next(free for free in count(1) if free not in taken)
    _record_queue(session, id, pool_id, settings.model_copy(update={"priority": priority}))
    make_room(session, others, priority)


def make_room(session: Session, others: Iterable[WorkQueue], priority: int) -> None:
    """Move queues, given in order, from this priority on back, each no further than needed for none to share one."""
    last = priority
    for queue in others:
        if queue.settings.priority < priority:
            continue
        if queue.settings.priority > last:
            return
        last += 1
        session.record(queue, WorkQueueUpdated, changes=WorkQueueSettings(priority=last))


def _record_queue(session: Session, id: UUID, pool_id: UUID, settings: WorkQueueSettings) -> None:
    queue = session.create(WorkQueue, id)
    session.claim(keys.work_queue_name(pool_id, settings.name), id)
    session.record(queue, WorkQueueCreated, work_pool_id=pool_id, settings=settings)


def record_queue_deletion(session: Session, queue: WorkQueue) -> None:
    """Say that a queue is no more. What was in it keeps its name and belongs to none."""
    session.release(keys.work_queue_name(queue.work_pool_id, queue.name))
    session.record(queue, WorkQueueDeleted)


def unused_id(session: Session, namespace: UUID, name: str) -> UUID:
    """The first id, of those that follow from a name, that nothing ever had."""
    return next(id for n in count() if session.peek(id := uuid5(namespace, f"{name} {n}")) is None)


def queue_for(session: Session, pool_name: str, name: str | None) -> UUID:
    """The id of a pool's queue of that name, which is made where it is not there; without a name the default queue's.

    Raises UnknownWorkPool.
    """
    pool = pool_named(session, pool_name)
    return pool.default_queue_id if not name else queue_in(session, pool.id, name)


def queue_in(session: Session, pool_id: UUID, name: str) -> UUID:
    """The id of the queue of that name in a pool that is there; the queue is made where it is not."""
    known = session.id_of(keys.work_queue_name(pool_id, name))
    if known is not None:
        return known
    id = unused_id(session, pool_id, name)
    make_queue(session, id, pool_id, WorkQueueSettings(name=name), None)
    return id


def agent_queue(session: Session, name: str) -> UUID:
    """The id of the queue of that name that agents ask, which is made where it is not there, and so is its pool.

    A new one comes before those that are there. Source: server 3.9.1.
    """
    pool_id = session.id_of(keys.work_pool_name(AGENT_POOL))
    if pool_id is None:
        return _agent_pool_with(session, None, WorkQueueSettings(name=name, priority=1))
    known = session.id_of(keys.work_queue_name(pool_id, name))
    if known is not None:
        return known
    id = unused_id(session, pool_id, name)
    make_queue(session, id, pool_id, WorkQueueSettings(name=name), 1)
    return id


def _agent_pool_with(session: Session, id: UUID | None, settings: WorkQueueSettings) -> UUID:
    """Make the pool of the queues that name none with such a queue, and give the queue's id: that one, or a new one."""
    pool_id = unused_id(session, UUID(int=0), AGENT_POOL)
    if settings.name == DEFAULT_QUEUE:
        return record_pool(session, pool_id, AGENT_POOL, AGENT_TYPE, WorkPoolSettings())
    id = id or unused_id(session, pool_id, settings.name)
    record_pool(session, pool_id, AGENT_POOL, AGENT_TYPE, WorkPoolSettings(), (id, settings))
    return id


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateWorkQueue(Command):
    """Make a queue in the pool of that name; without one in the pool that agents ask, which is made if it is not there.

    `priority` None means the first that is free. Raises UnknownWorkPool and NameTaken.
    """

    id: UUID
    pool_name: str | None
    settings: WorkQueueSettings
    priority: int | None = None

    def natural_keys(self) -> Iterable[Key]:
        return (keys.work_pool_name(self.pool_name or AGENT_POOL),)

    def decide(self, session: Session) -> Made:
        if self.pool_name is None and session.id_of(keys.work_pool_name(AGENT_POOL)) is None:
            settings = self.settings.model_copy(update={"priority": self.priority or 2})
            return Made(_agent_pool_with(session, self.id, settings), created=True)
        pool = pool_named(session, self.pool_name or AGENT_POOL)
        make_queue(session, self.id, pool.id, self.settings, self.priority)
        return Made(self.id, created=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOnQueue(Command):
    """What is asked of one queue, which is named by its id, or by its pool's name and its own.

    Raises NoSuchWorkQueue and UnknownWorkPool.
    """

    id: UUID | None = None
    names: tuple[str, str] | None = None

    def ids(self) -> Iterable[UUID | None]:
        return (self.id,)

    def natural_keys(self) -> Iterable[Key]:
        return () if self.names is None else (keys.work_pool_name(self.names[0]),)

    def find(self, session: Session) -> WorkQueue:
        if self.names is not None:
            return queue_named(session, *self.names)
        queue = session.find(WorkQueue, self.id)
        if queue is None:
            raise NoSuchWorkQueue(str(self.id))
        return queue


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateWorkQueue(CommandOnQueue):
    """Change the settings that are set, and no others; queues of the pool move where their priority is taken.

    Raises NameTaken.
    """

    changes: WorkQueueSettings

    def decide(self, session: Session) -> None:
        queue = self.find(session)
        meant: dict[str, Any] = {field: getattr(self.changes, field) for field in self.changes.model_fields_set}
        if not meant:
            return
        name = meant.get("name", queue.name)
        if name != queue.name:
            if session.id_of(keys.work_queue_name(queue.work_pool_id, name)) is not None:
                raise NameTaken(WorkQueue.kind, name)
            session.release(keys.work_queue_name(queue.work_pool_id, queue.name))
            session.claim(keys.work_queue_name(queue.work_pool_id, name), queue.id)
        session.record(queue, WorkQueueUpdated, changes=self.changes)
        if "priority" in meant:
            others = [other for other in queues_of(session, queue.work_pool_id) if other.id != queue.id]
            make_room(session, others, meant["priority"])


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteWorkQueue(CommandOnQueue):
    """Delete a queue; what was in it belongs to none. Raises DefaultQueue for the default queue of a pool."""

    def decide(self, session: Session) -> Deleted:
        queue = self.find(session)
        pool = session.find(WorkPool, queue.work_pool_id)
        if pool is not None and pool.default_queue_id == queue.id:
            raise DefaultQueue(queue.id)
        record_queue_deletion(session, queue)
        return Deleted(finished=True)
