"""What the ledger asks of the store that keeps its events: one transaction under one lock, for a batch of commands."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from eventsourcing.persistence import ApplicationRecorder, StoredEvent

from domain.aggregate import Aggregate
from domain.answers import KeptAnswer
from domain.events import Event
from domain.keys import Key
from domain.result_cache import CachedResult


@dataclass(slots=True)
class Batch:
    """What one transaction writes: events in decision order, and what goes with them.

    `aggregates` are those whose events these are, as they stand after them. `repeats` are refusals that were given once
    more, by the id and version of the event that recorded the first. `recorded_at` is the time of the last decision.
    `brought_back` are events that stand in the log again, of which rows are to be made anew.
    """

    recorded_at: datetime
    events: list[Event] = field(default_factory=list)
    stored: list[StoredEvent] = field(default_factory=list)
    aggregates: dict[UUID, Aggregate] = field(default_factory=dict)
    claimed: dict[Key, UUID] = field(default_factory=dict)
    released: set[Key] = field(default_factory=set)
    repeats: list[tuple[UUID, int]] = field(default_factory=list)
    brought_back: list[Event] = field(default_factory=list)


class Transaction(Protocol):
    """One transaction that holds the ledger lock. Leaving its context commits it, an exception rolls it back.

    `changed` are the aggregates that others have changed since the position this process last saw, None for all;
    `recorded_at` is the time of the newest event, or None in an empty ledger.
    """

    changed: Iterable[UUID] | None
    recorded_at: datetime | None

    def ids_of(self, keys: Iterable[Key]) -> Mapping[Key, UUID]:
        """The ids that these natural keys stand for, of those that are claimed."""

    def ids_under(self, beginning: Key, limit: int) -> Mapping[Key, UUID]:
        """At most `limit` claimed keys of one kind whose text begins like this, and their ids."""

    def streams(self, ids: Iterable[UUID]) -> Mapping[UUID, list[StoredEvent]]:
        """The events of these aggregates, each list in version order; an unknown id is left out.

        Where there is a snapshot of an aggregate, it stands in the place of the events it was made of.
        """

    def cached_results(self, cache_key: str, at: datetime) -> Sequence[CachedResult]:
        """The states that are cached under a key and have not expired by then, newest first."""

    def answers(self, keys: Iterable[str]) -> Mapping[str, KeptAnswer]:
        """The answers that are kept under idempotency keys, of those that are."""

    def keep_answers(self, answers: Iterable[KeptAnswer], at: datetime) -> None:
        """Keep the answers to requests that may come again; those of long ago may go."""

    def write(self, batch: Batch) -> None:
        """Append the events at the next positions, seal them, move the keys, project the rows.

        Raises UnwritableBatch when the store refuses what a command brought.
        """

    def document(self, aggregate: Aggregate) -> bytes:
        """The document by which the aggregate is read, as JSON, as it stands at the end of this transaction."""


class LedgerRecorder(ApplicationRecorder, ABC):
    """An event store that appends under the ledger lock and projects in the same transaction."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction that holds the ledger lock.

        Raises StoreUnavailable when the store does not answer, and ForeignShape when its read tables are not ours.
        """

    @abstractmethod
    def clear(self) -> None:
        """Delete every event and all that came of them; the ledger gets another identity. Raises StoreUnavailable."""

    @abstractmethod
    def close(self) -> None:
        """Let the store go; a later transaction opens it again."""


class UnwritableBatch(Exception):
    """The store refused the data of a batch; each of its commands must be tried alone to find the one at fault."""
