"""What a command may look at, and say, while it is decided."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from domain.aggregate import Aggregate
from domain.commands.command import Caller
from domain.errors import IdTaken, NotFound
from domain.events import Event
from domain.keys import Key
from domain.payloads import without_payload
from domain.run import Run, TransitionRefused
from domain.states import State

A = TypeVar("A", bound=Aggregate)
E = TypeVar("E", bound=Event)


class View(Protocol):
    """What a session sees of the ledger: aggregates, keys and cached results as the commands before it left them."""

    def load(self, id: UUID) -> Aggregate | None:
        """The aggregate of that id, also one that was deleted."""

    def id_of(self, key: Key) -> UUID | None:
        """The aggregate that a natural key stands for."""

    def ids_under(self, beginning: Key, limit: int) -> Mapping[Key, UUID]:
        """At most `limit` claimed keys of one kind whose text begins like this, and their ids."""

    def prefetch(self, ids: Iterable[UUID]) -> None:
        """Load aggregates in one go."""

    def cached_state(self, cache_key: str, at: datetime) -> State | None:
        """The newest completed state that was cached under a key and has not expired by then."""


class Session:
    """One command's view of the ledger, and the events it would append.

    Nothing of it touches an aggregate until the ledger settles the command; then all of it does. `now` is the time of
    the decision, for every event of the command. `peek` gives any aggregate by its id, also a deleted one.
    `ended` are the holdings that its events end, by limit, and `slots_freed` how many slots that frees.
    `seals` says that payload of new runs is sealed.
    """

    def __init__(self, caller: Caller, now: datetime, view: View, *, seals: bool = False) -> None:
        self.caller = caller
        self._seals = seals
        self.now = now
        self.ids_under = view.ids_under
        self.prefetch = view.prefetch
        self.peek = view.load
        self._view = view
        self.events: list[Event] = []
        self.keys: dict[Key, UUID | None] = {}
        self.repeats: list[tuple[UUID, int]] = []
        self.ended: set[tuple[UUID, UUID]] = set()
        self.slots_freed: dict[UUID, int] = {}
        self.touched: dict[UUID, Aggregate] = {}
        self._versions: dict[UUID, int] = {}

    def find(self, kind: type[A], id: UUID | None) -> A | None:
        """The live aggregate of that kind and id, if there is one."""
        if id is None:
            return None
        aggregate = self._view.load(id)
        return aggregate if isinstance(aggregate, kind) and not aggregate.deleted else None

    def get(self, kind: type[A], id: UUID) -> A:
        """The live aggregate of that kind and id. Raises NotFound."""
        aggregate = self.find(kind, id)
        if aggregate is None:
            raise NotFound(kind.kind, id)
        return aggregate

    def create(self, kind: type[A], id: UUID, *, chosen: bool = False) -> A:
        """A new aggregate, empty until its first events are settled. Raises IdTaken.

        Only an id that was `chosen` by a caller is looked up; the ids we make are new.
        """
        if chosen and self._view.load(id) is not None:
            raise IdTaken(kind.kind, id)
        return kind(id)

    def payload_key(self, id: UUID) -> UUID | None:
        """The key under which the payload of a new run is to be sealed: one of the run's own, if at all."""
        return id if self._seals else None

    def id_of(self, key: Key) -> UUID | None:
        """The aggregate that a natural key stands for."""
        return self.keys[key] if key in self.keys else self._view.id_of(key)

    def cached_state(self, cache_key: str) -> State | None:
        """The newest completed state that was cached under a key and has not expired."""
        return self._view.cached_state(cache_key, self.now)

    def claim(self, key: Key, id: UUID) -> None:
        self.keys[key] = id

    def release(self, key: Key) -> None:
        self.keys[key] = None

    def record(self, aggregate: Aggregate, kind: type[E], **facts: Any) -> E:
        """Say that something happened to the aggregate; of a run that was erased, without payload."""
        event = self._event(aggregate, kind, facts)
        self._versions[aggregate.id] = event.originator_version
        self.touched[aggregate.id] = aggregate
        self.events.append(event)
        return event

    def refuse(self, run: Run, kind: type[TransitionRefused], **facts: Any) -> None:
        """Say that a proposal was refused; the very same refusal again is only counted."""
        refusal = self._event(run, kind, facts)
        earlier = run.last_refusal
        if earlier is not None and refusal.same_as(earlier):
            self.repeats.append((run.id, earlier.originator_version))
        else:
            self.record(run, kind, **facts)

    def discard(self) -> None:
        """Take back all that was said: the command only asked."""
        self.events.clear()
        self.keys.clear()
        self.repeats.clear()
        self.touched.clear()

    def _event(self, aggregate: Aggregate, kind: type[E], facts: dict[str, Any]) -> E:
        event = kind(
            originator_id=aggregate.id,
            originator_version=self._versions.get(aggregate.id, aggregate.version) + 1,
            recorded_at=self.now,
            actor=self.caller.actor,
            request_id=self.caller.request_id,
            traceparent=self.caller.traceparent,
            **facts,
        )
        return without_payload(event) if isinstance(aggregate, Run) and aggregate.is_erased else event
