"""The store of events: it locks, appends, seals and projects in one transaction, on one connection for one thread."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.persistence import Notification, NotSupportedError, StoredEvent, Subscription

from domain.errors import StoreUnavailable
from domain.events import EventMapper
from domain.held_keys import held_keys
from domain.ledger import replay
from domain.recording import Batch, LedgerRecorder, UnwritableBatch
from projections import statements
from projections.connection import LedgerConnection, first_line, until
from projections.tables import TABLES
from projections.transaction import BEGIN, PostgresTransaction

RESOLVE_SECONDS = 2.0
"""How long the recorder tries to find out what became of a COMMIT whose connection was lost."""

UNWRITABLE = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)
"""What PostgreSQL raises when it refuses the data itself, not the moment."""

NO_LIMIT = 2**31 - 1
NO_POSITION_LIMIT = 2**63 - 1


class PostgresLedgerRecorder(LedgerRecorder):
    """A ledger in a PostgreSQL database whose schemas exist. One instance a thread.

    `mapper` reads events that were decided elsewhere.
    """

    def __init__(self, connection: LedgerConnection, mapper: EventMapper | None = None) -> None:
        self._connection = connection
        self.mapper = mapper or EventMapper()
        self._seen: int | None = None
        self._identity: UUID | None = None

    def transaction(self) -> AbstractContextManager[PostgresTransaction]:
        return _LockedTransaction(self)

    def clear(self) -> None:
        with _LockedTransaction(self):
            cursor = self._connection.get().cursor()
            cursor.execute(statements.clear([table.name for table in TABLES]), prepare=False)
            cursor.execute(statements.NEW_IDENTITY, prepare=False)
        self._seen = self._identity = None

    def close(self) -> None:
        self._connection.drop()

    def begin(self) -> PostgresTransaction:
        """Take the lock and look where the log stands."""
        return PostgresTransaction(self._connection.get(), self._seen, self._identity)

    def commit(self, transaction: PostgresTransaction) -> None:
        """Commit. When the connection dies meanwhile, find out under the lock whether the very same bytes stand.

        Raises StoreUnavailable when they do not, or when that cannot be found out within RESOLVE_SECONDS.
        """
        try:
            self._connection.get().execute("COMMIT")
        except psycopg.OperationalError as error:
            self._connection.drop()
            if not self._resolve(transaction):
                raise StoreUnavailable(first_line(error)) from error
        self._identity = transaction.identity
        self._seen = transaction.sealed[0] if transaction.sealed else transaction.last_position

    def roll_back(self) -> None:
        """Give the lock back; a connection on which that fails is thrown away."""
        try:
            self._connection.get().execute("ROLLBACK")
        except (psycopg.Error, StoreUnavailable):
            self._connection.drop()

    def _resolve(self, transaction: PostgresTransaction) -> bool:
        try:
            return until(time.monotonic() + RESOLVE_SECONDS, lambda: self._stands(transaction))
        except StoreUnavailable as error:
            raise StoreUnavailable(error.reason, outcome_unknown=True) from error

    def _stands(self, transaction: PostgresTransaction) -> bool:
        if transaction.sealed is None:
            return True
        try:
            cursor = self._connection.get().cursor()
            cursor.execute(BEGIN, prepare=False)
            found = cursor.execute(statements.SEAL_STANDS, list(transaction.sealed)).fetchone()
            cursor.execute("COMMIT")
        except psycopg.OperationalError as error:
            self._connection.drop()
            raise StoreUnavailable(first_line(error)) from error
        return found is not None

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        """Append events that were decided elsewhere, with their keys, rows and seal; their positions are returned."""
        with _LockedTransaction(self) as transaction:
            return append(transaction, stored_events, self.mapper)

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        wanted = {"id": originator_id, "gt": gt or 0, "lte": lte or NO_LIMIT, "limit": limit}
        query = statements.SELECT_EVENTS_BACKWARDS if desc else statements.SELECT_EVENTS
        rows = self._connection.get().execute(query, wanted)
        return [StoredEvent(id, version, topic, state.encode()) for id, version, topic, state in rows]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        wanted = {
            "start": (start or 0) + (0 if inclusive_of_start else 1),
            "stop": NO_POSITION_LIMIT if stop is None else stop,
            "topics": list(topics) or None,
            "limit": limit,
        }
        rows = self._connection.get().execute(statements.SELECT_NOTIFICATIONS, wanted)
        return [
            Notification(id, version, topic, state.encode(), position) for position, id, version, topic, state in rows
        ]

    def max_notification_id(self) -> int | None:
        row = self._connection.get().execute(statements.MAX_POSITION).fetchone()
        return row[0] if row else None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[Any]:
        raise NotSupportedError("This store does not push events: read them by position with select_notifications")


def append(
    transaction: PostgresTransaction, stored_events: Sequence[StoredEvent], mapper: EventMapper
) -> Sequence[int]:
    """Append events that were decided elsewhere, with their keys, rows and seal; give their positions."""
    events = [mapper.to_domain_event(stored) for stored in stored_events]
    before = transaction.streams({event.originator_id for event in events})
    streams: dict[UUID, list[StoredEvent]] = {id: list(stored) for id, stored in before.items()}
    for stored in stored_events:
        streams.setdefault(UUID(str(stored.originator_id)), []).append(stored)
    batch = Batch(events[-1].recorded_at, events=events, stored=list(stored_events))
    batch.aggregates = {id: replay(mapper, id, stream) for id, stream in streams.items()}
    for id, aggregate in batch.aggregates.items():
        earlier = held_keys(replay(mapper, id, before[id])) if id in before else set()
        batch.claimed.update((key, id) for key in held_keys(aggregate) - earlier)
        batch.released.update(earlier - held_keys(aggregate))
    transaction.write(batch)
    first = transaction.last_position + 1
    return range(first, first + len(stored_events))


class _LockedTransaction:
    """The context of a transaction: commits when left in peace, else rolls back and says what failure it was."""

    def __init__(self, recorder: PostgresLedgerRecorder) -> None:
        self._recorder = recorder
        self._transaction: PostgresTransaction | None = None

    def __enter__(self) -> PostgresTransaction:
        try:
            self._transaction = self._recorder.begin()
        except BaseException as error:
            self._recorder.roll_back()
            raise _translated(error) from error
        return self._transaction

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._transaction is not None:
            self._recorder.commit(self._transaction)
            return
        self._recorder.roll_back()
        if error is not None and _translated(error) is not error:
            raise _translated(error) from error


def _translated(error: BaseException) -> BaseException:
    if isinstance(error, UNWRITABLE):
        return UnwritableBatch(first_line(error))
    if isinstance(error, psycopg.OperationalError):
        return StoreUnavailable(first_line(error))
    return error
