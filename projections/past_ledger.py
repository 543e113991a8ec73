"""The ledger as it stood before some position, for those who decide again what was decided then.

It is told from the events alone: read tables and keys know only the present. Reading on one connection, it goes
forward: to look at an earlier position takes another one.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from psycopg import Connection

from domain import keys
from domain.aggregate import Aggregate
from domain.concurrency_limit import ConcurrencyLimit, SlotsReleased
from domain.events import Event, EventMapper
from domain.keys import Key
from domain.result_cache import CachedResult
from domain.states import State
from domain.task_run import TaskRun, TaskRunStateSet
from projections.audit import kind_of

STREAM = """
SELECT originator_id, originator_version, topic, state FROM ledger.events
WHERE originator_id = %s AND originator_version > %s AND position < %s ORDER BY originator_version
"""

EVENT_AT = "SELECT originator_id, originator_version, topic, state FROM ledger.events WHERE position = %s"

NAMES_OF_LIMITS = """
SELECT DISTINCT originator_id, coalesce(state::json ->> 'name', state::json #>> '{changes,name}') FROM ledger.events
WHERE topic IN ('ConcurrencyLimit.Created', 'ConcurrencyLimit.Updated')
    AND coalesce(state::json ->> 'name', state::json #>> '{changes,name}') IS NOT NULL
"""
"""All limits that there ever were, with all names that they had. There is no index for it, so it is asked once."""

CACHED = """
SELECT originator_id, originator_version, topic, state FROM ledger.events
WHERE topic = 'TaskRun.StateSet' AND state::json #>> '{state,state_details,cache_key}' = %s
    AND state::json ->> 'caches_result' = 'true' AND position < %s
"""

ENDED_ON_THE_WAY = frozenset({"expired", "holder ended"})
"""Why a decision ends holdings that it finds: these events stand before its own and belong to it."""


class PastLedger:
    """A view (see `domain.session.View`) of what stood in a ledger before `position`."""

    def __init__(self, connection: Connection, mapper: EventMapper | None = None) -> None:
        self.position = 0
        self._connection = connection
        self._mapper = mapper or EventMapper()
        self._aggregates: dict[UUID, Aggregate] = {}
        self._fresh: set[UUID] = set()
        self._limits: dict[Key, list[UUID]] = {}

    def go_before(self, position: int) -> None:
        """Look at what stood before the decision that is recorded by the event at a position, which comes later."""
        decided = self._event_at(position)
        while (earlier := self._event_at(position - 1)) is not None and _belongs_to(earlier, decided):
            position -= 1
        if position < self.position:
            raise ValueError(f"The view is at position {self.position} and does not go back to {position}")
        self.position = position
        self._fresh.clear()

    def load(self, id: UUID) -> Aggregate | None:
        """The aggregate of that id as it was, also one that was deleted."""
        aggregate = self._aggregates.get(id)
        if id not in self._fresh:
            version = 0 if aggregate is None else aggregate.version
            for row in self._connection.execute(STREAM, [id, version, self.position]):
                aggregate = aggregate or kind_of(row[2])(id)
                aggregate.apply(self._event(row))
            if aggregate is not None:
                self._aggregates[id] = aggregate
            self._fresh.add(id)
        return aggregate

    def id_of(self, key: Key) -> UUID | None:
        """The limit that had a name. Other keys no rule asks for."""
        if key[0] != keys.limit_name("")[0]:
            raise LookupError(f"Which key of the kind {key[0]} stood for what is not told from the past")
        if not self._limits:
            for id, name in self._connection.execute(NAMES_OF_LIMITS):
                self._limits.setdefault(keys.limit_name(name), []).append(id)
        for id in self._limits.get(key, ()):
            limit = self.load(id)
            if isinstance(limit, ConcurrencyLimit) and not limit.deleted and keys.limit_name(limit.name) == key:
                return id
        return None

    def ids_under(self, beginning: Key, limit: int) -> Mapping[Key, UUID]:
        """No rule asks for it."""
        raise LookupError(f"Which keys of the kind {beginning[0]} there were is not told from the past")

    def prefetch(self, ids: Iterable[UUID]) -> None:
        """Nothing is gained by loading before it is needed."""

    def cached_state(self, cache_key: str, at: Any) -> State | None:
        """The newest state that was cached under a key and had not expired by then."""
        found = [self._event(row) for row in self._connection.execute(CACHED, [cache_key, self.position])]
        states = [event for event in found if isinstance(event, TaskRunStateSet)]
        states.sort(key=lambda event: (event.recorded_at, event.originator_version, event.originator_id), reverse=True)
        for event in states:
            run = self.load(event.originator_id)
            # The result of a run that was erased is served no more; see `projections.projectors`.
            if (
                isinstance(run, TaskRun)
                and not (run.deleted or run.is_erased)
                and CachedResult(event.originator_id, event.state).holds(at)
            ):
                return event.state
        return None

    def _event_at(self, position: int) -> Event | None:
        row = self._connection.execute(EVENT_AT, [position]).fetchone()
        return None if row is None else self._event(row)

    def _event(self, row: tuple[Any, ...]) -> Event:
        id, version, topic, state = row
        event: Event = self._mapper.to_domain_event(StoredEvent(id, version, topic, state.encode()))
        return event


def _belongs_to(earlier: Event, decided: Event | None) -> bool:
    """Whether an event tells of something that was ended on the way to a decision."""
    return (
        decided is not None
        and isinstance(earlier, SlotsReleased)
        and earlier.reason in ENDED_ON_THE_WAY
        and (earlier.recorded_at, earlier.actor, earlier.request_id)
        == (decided.recorded_at, decided.actor, decided.request_id)
    )
