"""The ledger: it takes the commands that wait, decides them one after the other, and records what happened, as one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.persistence import Mapper, StoredEvent

from domain.aggregate import SNAPSHOT, Aggregate, Snapshot, SnapshotAggregate
from domain.answers import Answers, Outcome
from domain.block_document import BlockDocument
from domain.block_schema import BlockSchema
from domain.block_type import BlockType
from domain.commands.command import Command, Made
from domain.concurrency_limit import ConcurrencyLimit
from domain.deployment import Deployment
from domain.errors import ForeignShape, StoreUnavailable, UnknownTopic, Unstorable
from domain.events import Event, EventMapper
from domain.flow import Flow
from domain.flow_run import FlowRun
from domain.keys import Key
from domain.notification_policy import NotificationPolicy
from domain.payloads import Keyring
from domain.recording import Batch, LedgerRecorder, Transaction, UnwritableBatch
from domain.result_cache import CachedResults
from domain.run import Run
from domain.saved_search import SavedSearch
from domain.session import Session
from domain.states import State
from domain.task_run import TaskRun
from domain.variable import Variable
from domain.work_pool import WorkPool
from domain.work_queue import WorkQueue

AGGREGATES: dict[str, type[Aggregate]] = {
    "Flow": Flow,
    "Deployment": Deployment,
    "FlowRun": FlowRun,
    "TaskRun": TaskRun,
    "ConcurrencyLimit": ConcurrencyLimit,
    "Variable": Variable,
    "SavedSearch": SavedSearch,
    "BlockType": BlockType,
    "BlockSchema": BlockSchema,
    "BlockDocument": BlockDocument,
    "WorkPool": WorkPool,
    "WorkQueue": WorkQueue,
    "NotificationPolicy": NotificationPolicy,
}
"""The kind of aggregate whose stream begins with a topic, by the part of the topic before the dot."""


class Ledger(Application[UUID]):
    """The application that owns the events: all that ever changes goes through `execute`.

    Keeps the `cache_size` aggregates used last in memory; `clock` tells the time of decisions. With a `keyring` the
    payload of new runs is sealed. Not for use by more than one thread at a time.
    """

    def __init__(
        self,
        recorder: LedgerRecorder,
        *,
        cache_size: int = 20_000,
        clock: Callable[[], datetime] | None = None,
        keyring: Keyring | None = None,
    ) -> None:
        self._ledger_recorder = recorder
        self.keyring = keyring
        super().__init__()
        self._clock = clock or _utc_now
        self._cache_size = cache_size
        self._cache: dict[UUID, Aggregate] = {}

    def construct_mapper(self) -> EventMapper:
        return EventMapper(self.keyring)

    def construct_recorder(self) -> LedgerRecorder:
        return self._ledger_recorder

    def execute(self, take: Callable[[], Sequence[Command]]) -> list[Outcome]:
        """Decide the commands that `take` hands over once the lock is held, in one transaction; answer in their order.

        A command that fails fails alone, also when its data cannot be projected or stored (Unstorable): then each is
        tried by itself. Raises StoreUnavailable and ForeignShape for the whole batch, of which nothing has happened
        then as far as is known.
        """
        taken: list[Command] = []

        def take_once() -> Sequence[Command]:
            taken.extend(take())
            return taken

        try:
            return self._execute(take_once)
        except (StoreUnavailable, ForeignShape):
            raise
        except Exception as failure:
            if not taken:
                raise
            if len(taken) == 1:
                unstorable = isinstance(failure, UnwritableBatch)
                return [Outcome(taken[0], error=Unstorable(str(failure)) if unstorable else failure)]
            return [self._execute_alone(command) for command in taken]

    def _execute_alone(self, command: Command) -> Outcome:
        """One command in a transaction of its own; those before it are durable, whatever becomes of this one."""
        try:
            return self.execute(lambda: [command])[0]
        except (StoreUnavailable, ForeignShape) as error:
            return Outcome(command, error=error)

    def _execute(self, take: Callable[[], Sequence[Command]]) -> list[Outcome]:
        desk: _Desk | None = None
        try:
            with self._ledger_recorder.transaction() as transaction:
                self._forget(transaction.changed)
                desk = _Desk(self, transaction)
                outcomes = desk.decide_all(take())
                desk.write()
                outcomes = desk.answered([desk.with_document(outcome) for outcome in outcomes])
        except BaseException:
            if desk is not None:
                self._forget(desk.touched)
            raise
        self._trim()
        return outcomes

    def clear(self) -> None:
        """Delete every event and what was made of it; the ledger begins anew. Raises StoreUnavailable."""
        self._ledger_recorder.clear()
        self._cache.clear()

    def close(self) -> None:
        """Let go of the store."""
        self._ledger_recorder.close()
        super().close()

    def now(self, recorded_at: datetime | None) -> datetime:
        """The time of a decision: the clock's, or that of the newest event where the clock is behind it."""
        now = self._clock()
        return now if recorded_at is None else max(now, recorded_at)

    def cached(self, id: UUID) -> Aggregate | None:
        """An aggregate from memory, which then counts as used last."""
        aggregate = self._cache.pop(id, None)
        if aggregate is not None:
            self._cache[id] = aggregate
        return aggregate

    def keep(self, aggregate: Aggregate) -> None:
        self._cache[aggregate.id] = aggregate

    def _forget(self, ids: Iterable[UUID] | None) -> None:
        for id in list(self._cache) if ids is None else ids:
            self._cache.pop(id, None)
        if self.keyring is not None:
            # Others may have erased a run: its key bears the id of the run.
            self.keyring.forget(ids)

    def _trim(self) -> None:
        while len(self._cache) > self._cache_size:
            del self._cache[next(iter(self._cache))]


def replay(mapper: Mapper[UUID], id: UUID, stored: Sequence[StoredEvent]) -> Aggregate:
    """The aggregate that a stream of stored events, of whichever kind, adds up to; it may begin with a snapshot."""
    name, _, what = stored[0].topic.partition(".")
    kind = AGGREGATES[name]
    if what != SNAPSHOT:
        return kind.replay(id, _events(mapper, stored))
    if not issubclass(kind, SnapshotAggregate):
        raise UnknownTopic(stored[0].topic)
    aggregate = kind.restore(Snapshot.model_validate_json(stored[0].state))
    for event in _events(mapper, stored[1:]):
        aggregate.apply(event)
    return aggregate


def aggregate_of(events: Sequence[Event]) -> Aggregate:
    """The aggregate that a whole stream of events, of whichever kind, adds up to."""
    return AGGREGATES[events[0].TOPIC.partition(".")[0]].replay(events[0].originator_id, events)


def _events(mapper: Mapper[UUID], stored: Iterable[StoredEvent]) -> Iterator[Any]:
    return map(mapper.to_domain_event, stored)


class _Desk:
    """The ledger at work on one batch: what it has loaded, and what it is going to write."""

    def __init__(self, ledger: Ledger, transaction: Transaction) -> None:
        self._ledger = ledger
        self._transaction = transaction
        self._now = ledger.now(transaction.recorded_at)
        self._batch = Batch(self._now)
        self._keys: dict[Key, UUID | None] = {}
        self._results = CachedResults(transaction.cached_results)
        self._answers = Answers(transaction.answers)
        self._unknown: set[UUID] = set()
        self.touched: set[UUID] = set()

    def decide_all(self, commands: Sequence[Command]) -> list[Outcome]:
        self._load_keys(key for command in commands for key in command.natural_keys())
        wanted = {id for command in commands for id in command.ids() if id is not None}
        wanted.update(id for id in self._keys.values() if id is not None)
        self.prefetch(wanted)
        further = {key for command in commands for key in command.further_keys(self._ledger.cached)}
        if further:
            self._load_keys(further)
        related = {id for first in wanted for id in self._related(first)}
        related.update(id for key in further if (id := self._keys[key]) is not None)
        self.prefetch(related)
        self._answers.load(commands)
        return [self._decide(command, place) for place, command in enumerate(commands)]

    def write(self) -> None:
        batch = self._batch
        batch.recorded_at = self._now
        if self._ledger.keyring is None:
            batch.stored = [self._ledger.mapper.to_stored_event(event) for event in batch.events]
        else:
            batch.stored = self._sealed(self._ledger.keyring)
        if batch.stored or batch.repeats:
            self._transaction.write(batch)

    def _sealed(self, keyring: Keyring) -> list[StoredEvent]:
        """The events of the batch as they are stored, with payload sealed under keys that are durable by now."""
        runs = {id: run for id, run in self._batch.aggregates.items() if isinstance(run, Run) and run.payload_key}
        began = (event.originator_id for event in self._batch.events if event.originator_version == 1)
        new = [id for id in began if id in runs and runs[id].payload_key == id]
        if new:
            keyring.make(new)
        mapper = EventMapper(keyring)
        return [
            mapper.to_stored_event(
                event, runs[event.originator_id].payload_key if event.originator_id in runs else None
            )
            for event in self._batch.events
        ]

    def answered(self, outcomes: list[Outcome]) -> list[Outcome]:
        """The outcomes as callers get them; those that may be asked for again are kept."""
        outcomes = self._answers.repeated(outcomes)
        kept = self._answers.to_keep(outcomes)
        if kept:
            self._transaction.keep_answers(kept, self._now)
        return outcomes

    def with_document(self, outcome: Outcome) -> Outcome:
        if not isinstance(outcome.answer, Made) or outcome.answer.document:
            return outcome
        aggregate = self.load(outcome.answer.id)
        if aggregate is None:
            raise LookupError(f"The aggregate {outcome.answer.id} that was just made is gone")
        return replace(outcome, answer=replace(outcome.answer, document=self._transaction.document(aggregate)))

    def _decide(self, command: Command, place: int) -> Outcome:
        given = self._answers.given(command, place)
        if given is not None:
            return given
        self._now = self._ledger.now(self._now)
        session = Session(command.caller, self._now, self, seals=self._ledger.keyring is not None)
        try:
            answer = command.decide(session)
        except Exception as error:
            return Outcome(command, error=error)
        if session.events:
            self._answers.take_note(command, place)
        self._settle(session)
        return Outcome(command, answer)

    def _settle(self, session: Session) -> None:
        self.touched.update(session.touched)
        for event in session.events:
            session.touched[event.originator_id].apply(event)
        for aggregate in session.touched.values():
            self._ledger.keep(aggregate)
            self._unknown.discard(aggregate.id)
        self._results.take_note(session.events)
        batch = self._batch
        batch.events.extend(session.events)
        batch.aggregates.update(session.touched)
        batch.repeats.extend(session.repeats)
        for key, id in session.keys.items():
            self._keys[key] = id
            if id is None:
                batch.released.add(key)
                batch.claimed.pop(key, None)
            else:
                batch.claimed[key] = id

    def prefetch(self, ids: Iterable[UUID]) -> None:
        """Load, in one go, those of the aggregates that are not in memory."""
        missing = [id for id in ids if id not in self._unknown and self._ledger.cached(id) is None]
        if not missing:
            return
        found = self._transaction.streams(missing)
        for id in missing:
            if id in found:
                self._ledger.keep(replay(self._ledger.mapper, id, found[id]))
            else:
                self._unknown.add(id)

    def load(self, id: UUID) -> Aggregate | None:
        if id in self._unknown:
            return None
        aggregate = self._ledger.cached(id)
        if aggregate is None:
            self.prefetch([id])
            aggregate = self._ledger.cached(id)
        return aggregate

    def _related(self, id: UUID) -> Iterable[UUID]:
        aggregate = self._ledger.cached(id)
        return () if aggregate is None else aggregate.related_ids()

    def cached_state(self, cache_key: str, at: datetime) -> State | None:
        return self._results.newest(cache_key, at)

    def _load_keys(self, keys: Iterable[Key]) -> None:
        missing = {key for key in keys if key not in self._keys}
        if missing:
            found = self._transaction.ids_of(missing)
            self._keys.update((key, found.get(key)) for key in missing)

    def id_of(self, key: Key) -> UUID | None:
        self._load_keys([key])
        return self._keys[key]

    def ids_under(self, beginning: Key, limit: int) -> dict[Key, UUID]:
        """Claimed keys as they stand in the store and in what this batch is going to write."""
        kind, text = beginning
        found = dict(self._transaction.ids_under(beginning, limit + len(self._batch.released)))
        for key, id in self._keys.items():
            if key[0] == kind and key[1].startswith(text):
                if id is None:
                    found.pop(key, None)
                else:
                    found[key] = id
        return dict(sorted(found.items())[:limit])


def _utc_now() -> datetime:
    return datetime.now(UTC)
