"""One transaction on the ledger: what is read and written under the lock, for one batch of commands."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import starmap
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from eventsourcing.persistence import StoredEvent
from psycopg import sql

from domain.aggregate import Aggregate
from domain.answers import KeptAnswer
from domain.block_schema import BlockSchema
from domain.commands.command import Once
from domain.concurrency_limit import ConcurrencyLimit
from domain.deployment import Deployment
from domain.errors import ForeignShape
from domain.flow_run import FlowRun
from domain.keys import Key, short
from domain.recording import Batch, UnwritableBatch
from domain.result_cache import CachedResult
from domain.run import Run
from domain.states import State
from domain.work_pool import WorkPool
from domain.work_queue import WorkQueue
from projections import statements
from projections.block_schema_document import SCHEMA_DOCUMENT
from projections.documents import with_estimates, with_queue
from projections.limit_documents import DEPLOYMENT_DOCUMENT, LIMIT_DOCUMENT
from projections.projectors import document_of, project, with_whole_streams
from projections.row_statements import as_json, as_one, row_parts, take_away
from projections.rows import Row
from projections.schema import LEDGER_LOCK, shape
from projections.seals import GENESIS, seal
from projections.tables import FLOW_RUN_DOCUMENTS, FLOWS, TASK_RUN_DOCUMENTS
from projections.work_documents import POOL_DOCUMENT, QUEUE_DOCUMENT, READ_QUEUE_NAMES

ANSWERS_KEPT_FOR = timedelta(days=7)
"""For how long a request that is sent again under its idempotency key is answered as it was at first."""

READ_JOINED: dict[type[Aggregate], sql.Composed] = {
    kind: sql.SQL("SELECT {} FROM read.{} WHERE id = %s").format(document, sql.Identifier(table))
    for kind, document, table in (
        (Deployment, DEPLOYMENT_DOCUMENT, "deployments"),
        (ConcurrencyLimit, LIMIT_DOCUMENT, "concurrency_limits"),
        (WorkPool, POOL_DOCUMENT, "work_pools"),
        (WorkQueue, QUEUE_DOCUMENT, "work_queues"),
        (BlockSchema, SCHEMA_DOCUMENT, "block_schemas"),
    )
}
"""The statements that read documents to which something is joined."""
SHAPE = shape()
BEGIN = statements.BEGIN_UNDER_LOCK.format(lock=sql.Literal(LEDGER_LOCK))
DOCUMENT_TABLES = [table.name for table in (FLOWS, FLOW_RUN_DOCUMENTS, TASK_RUN_DOCUMENTS)]


class PostgresTransaction:
    """A transaction that holds the ledger lock of a PostgreSQL database.

    `seen` is the last position this process knows, of the ledger `identity`; `last_position` and `last_hash` are where
    the log stands, `sealed` where it will stand once what was written is committed.
    """

    def __init__(self, connection: psycopg.Connection, seen: int | None, identity: UUID | None) -> None:
        self._cursor = connection.cursor()
        self._cursor.execute(BEGIN, prepare=False)
        row = self._cursor.execute(statements.HEAD, [seen]).fetchone()
        if row is None:
            raise ForeignShape("none", SHAPE)
        position, hash, self.recorded_at, self.identity, found_shape, changed = row
        if found_shape != SHAPE:
            raise ForeignShape(found_shape, SHAPE)
        self.last_position: int = position or 0
        self.last_hash: bytes = hash or GENESIS
        same_log = identity in (None, self.identity) and (seen is None or seen <= self.last_position)
        self.changed: Iterable[UUID] | None = changed if same_log else None
        self.sealed: tuple[int, bytes] | None = None
        self._documents: dict[UUID, bytes] = {}
        self._queues: dict[UUID, bytes | None] = {}
        self._now: datetime | None = None

    def ids_of(self, keys: Iterable[Key]) -> Mapping[Key, UUID]:
        wanted = [{"kind": kind, "key": key} for kind, key in keys]
        rows = self._cursor.execute(statements.IDS_OF_KEYS, [as_json(wanted)])
        return {(kind, key): id for kind, key, id in rows}

    def ids_under(self, beginning: Key, limit: int) -> Mapping[Key, UUID]:
        kind, text = beginning
        rows = self._cursor.execute(statements.IDS_UNDER_KEY, [kind, text, text, limit])
        return {(kind, key): id for kind, key, id in rows}

    def streams(self, ids: Iterable[UUID]) -> Mapping[UUID, list[StoredEvent]]:
        streams: dict[UUID, list[StoredEvent]] = {}
        for id, version, topic, state in self._cursor.execute(statements.STREAMS, {"ids": list(ids)}):
            streams.setdefault(id, []).append(StoredEvent(id, version, topic, state.encode()))
        return streams

    def cached_results(self, cache_key: str, at: datetime) -> Sequence[CachedResult]:
        rows = self._cursor.execute(statements.CACHED_RESULTS, [short(cache_key), at])
        return [CachedResult(id, State.model_validate_json(doc)) for id, doc in rows]

    def answers(self, keys: Iterable[str]) -> Mapping[str, KeptAnswer]:
        rows = self._cursor.execute(statements.ANSWERS, [[short(key) for key in keys]])
        found = {key: (request, answer) for key, request, answer in rows}
        return {
            key: KeptAnswer(Once(key, request), answer.encode())
            for key in keys
            if (kept := found.get(short(key))) is not None
            for request, answer in [kept]
        }

    def keep_answers(self, answers: Iterable[KeptAnswer], at: datetime) -> None:
        rows = [
            {"key": short(kept.once.key), "request": kept.once.request.hex(), "answer": kept.answer.decode()}
            for kept in answers
        ]
        self._cursor.execute(statements.FORGET_ANSWERS, [at - ANSWERS_KEPT_FOR])
        self._cursor.execute(statements.KEEP_ANSWERS, [at, as_json(rows)])

    def write(self, batch: Batch) -> None:
        self._now = batch.recorded_at
        if batch.stored:
            self._move_keys(batch)
            self._append_and_project(batch)
        if batch.repeats:
            times = Counter(batch.repeats)
            again = [{"originator_id": id, "originator_version": v, "times": n} for (id, v), n in times.items()]
            self._cursor.execute(statements.COUNT_REPEATS, [batch.recorded_at, as_json(again)])

    def versions(self, ids: Iterable[UUID]) -> Mapping[UUID, "Versions"]:
        """What there is of streams, of those that are there."""
        rows = self._cursor.execute(statements.VERSIONS, [list(ids)])
        return {id: Versions(last, number) for id, last, number in rows}

    def runs_below(self, ids: Iterable[UUID]) -> Mapping[UUID, UUID]:
        """The task runs of flow runs, and the flow runs that task runs began, each with what it is below.

        No verdict rests on it, and under the lock rows are what the events make, so it is read from the rows.
        """
        return dict(self._cursor.execute(statements.RUNS_BELOW, {"ids": list(ids)}).fetchall())

    def move_to_archive(self, leaves: Mapping[int, bytes], archive_id: UUID) -> None:
        """Take events out of the log, by their positions, and leave their leaves there.

        Raises UnwritableBatch, after which nothing was done, when one of them is not what the leaf was made of.
        """
        rows = [{"position": position, "leaf": leaf.hex()} for position, leaf in leaves.items()]
        self._all(statements.MOVE_TO_ARCHIVE, [as_json(rows), archive_id], len(rows))

    def note_filled(self, archive_id: UUID, done: int) -> None:
        """Take note of how many events of an archive stand in this ledger, which is being filled from it."""
        self._cursor.execute(statements.NOTE_FILLED, [done, archive_id])

    def bring_back(self, events: Mapping[int, StoredEvent], archive_id: UUID) -> None:
        """Put events back in their places in the log. Raises UnwritableBatch when one is not what was taken out."""
        rows = list(starmap(_event_row, events.items()))
        self._all(statements.BRING_BACK, [as_json(rows), archive_id], len(rows))

    def _all(self, statement: sql.Composed, values: list[Any], number: int) -> None:
        found = self._cursor.execute(statement, values).rowcount
        if found != number:
            raise UnwritableBatch(f"Of {number:,} events, {number - found:,} are not what they were")

    def document(self, aggregate: Aggregate) -> bytes:
        if (statement := READ_JOINED.get(type(aggregate))) is not None:
            found = self._cursor.execute(statement, [aggregate.id]).fetchone()
            return found[0].encode() if found else b""
        document = self._documents.get(aggregate.id) or document_of(aggregate)
        if isinstance(aggregate, FlowRun):
            document = with_queue(document, aggregate, self._queue(aggregate.work_queue_id))
        if isinstance(aggregate, Run):
            return with_estimates(document, aggregate, self._now or aggregate.updated)
        return document

    def _queue(self, id: UUID | None) -> bytes | None:
        """What documents of runs say of their queue."""
        if id is None:
            return None
        if id not in self._queues:
            found = self._cursor.execute(READ_QUEUE_NAMES, [id]).fetchone()
            self._queues[id] = found[0].encode() if found else None
        return self._queues[id]

    def _append_and_project(self, batch: Batch) -> None:
        """One statement for events, seal and rows: every statement costs as much as deciding about a command."""
        first = self.last_position + 1
        last = self.last_position + len(batch.stored)
        events = list(starmap(_event_row, enumerate(batch.stored, first)))
        hash = seal(self.last_hash, batch.stored)
        written_now = with_whole_streams(batch.events, self.streams)
        changes = project(batch.aggregates.values(), [*batch.brought_back, *written_now])
        take_away(self._cursor, changes)
        values = [as_json(events), first, last, batch.recorded_at, hash, *map(as_json, changes.written.values())]
        self._cursor.execute(append_and_upsert(tuple(changes.written)), values, prepare=True)
        written = (row for name in DOCUMENT_TABLES for row in changes.written.get(name, ()))
        self._documents = {row["id"]: row["doc"].encode() for row in written}
        self.sealed = last, hash

    def _move_keys(self, batch: Batch) -> None:
        if batch.released:
            gone = [{"kind": kind, "key": key} for kind, key in sorted(batch.released)]
            self._cursor.execute(statements.RELEASE_KEYS, [as_json(gone)])
        if batch.claimed:
            claims = [{"kind": kind, "key": key, "id": id} for (kind, key), id in sorted(batch.claimed.items())]
            self._cursor.execute(statements.CLAIM_KEYS, [as_json(claims)])


class Versions(NamedTuple):
    """The last version of a stream, and how many events of it are in the log."""

    last: int
    number: int

    @property
    def archived(self) -> bool:
        """Whether all but the last event are in an archive."""
        return self.number == 1 and self.last > 1


def _event_row(position: int, event: StoredEvent) -> Row:
    return {
        "position": position,
        "originator_id": event.originator_id,
        "originator_version": event.originator_version,
        "topic": event.topic,
        "state": event.state.decode(),
    }


@cache
def append_and_upsert(tables: tuple[str, ...]) -> str:
    """The statement that appends events and their seal, writes rows of these read tables and counts them."""
    parts = {"event": sql.SQL(statements.INSERT_EVENTS), "seal": sql.SQL(statements.INSERT_SEAL)}
    return as_one({**parts, **row_parts(tables)})
