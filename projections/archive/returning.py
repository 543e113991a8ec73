"""Bringing runs back into the ledger that they are of: every event to where it was, rows and keys made anew."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from eventsourcing.persistence import StoredEvent

from domain.events import Event
from domain.flow_run import FlowRun, FlowRunRestored
from domain.held_keys import held_keys
from domain.ledger import aggregate_of
from domain.recording import Batch
from domain.run import Restored, Run
from domain.task_run import TaskRunRestored
from projections.archive.removing import Clock, Moved
from projections.archive.trees import Piece
from projections.recorder import PostgresLedgerRecorder


class Returner:
    """Brings trees back from an archive, each batch in a transaction under the ledger lock."""

    def __init__(self, recorder: PostgresLedgerRecorder, archive_id: UUID, actor: str, clock: Clock) -> None:
        self._recorder = recorder
        self._archive_id = archive_id
        self._actor = actor
        self._clock = clock
        self._mapper = recorder.mapper
        self.moved = Moved()

    def bring_back(self, pieces: Sequence[Piece]) -> None:
        """Bring back what is away; what is there already is passed over, and so is a tree of which a key was taken.

        Raises UnwritableBatch when an event is not the one that was taken out, after which nothing was brought back,
        and StoreUnavailable.
        """
        # Of a tree whose root stays in the archive, all does.
        pieces = [piece for piece in pieces if not self.moved.has_left(piece.tree)]
        with self._recorder.transaction() as transaction:
            now = self._clock()
            batch = Batch(now if transaction.recorded_at is None else max(now, transaction.recorded_at))
            positions: dict[int, StoredEvent] = {}
            streams = transaction.streams({id for piece in pieces for id in piece.streams})
            coming = [(piece, self._runs(piece, streams, batch.recorded_at)) for piece in pieces]
            known = transaction.ids_of(key for _, runs in coming for run, _ in runs for key in held_keys(run))
            for piece, runs in coming:
                keys = {key: run.id for run, _ in runs for key in held_keys(run)}
                taken = keys.keys() & (known.keys() | batch.claimed.keys())
                if taken:
                    kind, key = min(taken)
                    id = known.get((kind, key)) or batch.claimed[kind, key]
                    self.moved.leave(piece.tree, f"the key {kind} {key!r} stands for {id} by now")
                    continue
                batch.claimed.update(keys)
                for run, events in runs:
                    restored = events.pop()
                    batch.aggregates[run.id] = run
                    batch.brought_back += events
                    batch.events.append(restored)
                    batch.stored.append(self._mapper.to_stored_event(restored))
                    positions.update(piece.streams[run.id])
            if not batch.stored:
                return
            transaction.write(batch)
            transaction.bring_back(positions, self._archive_id)
        self.moved.runs += len(batch.stored)
        self.moved.events += len(positions)

    def _runs(
        self, piece: Piece, streams: Mapping[UUID, list[StoredEvent]], at: datetime
    ) -> list[tuple[Run, list[Event]]]:
        """The runs of a piece that are in the archive, as they will be, each with all its events."""
        runs = []
        for id in sorted(piece.streams.keys() & streams.keys()):
            stored = streams[id]
            away: Event = self._mapper.to_domain_event(stored[-1])
            if len(stored) > 1 or getattr(away, "archive_id", None) != self._archive_id:
                continue
            events = [self._mapper.to_domain_event(event) for event in piece.streams[id].values()]
            run = aggregate_of([*events, away])
            if not isinstance(run, Run):
                raise TypeError(f"Only runs are in archives, not a {run.kind}")
            kind = FlowRunRestored if isinstance(run, FlowRun) else TaskRunRestored
            restored: Restored = kind(
                originator_id=id,
                originator_version=run.version + 1,
                recorded_at=at,
                actor=self._actor,
                archive_id=self._archive_id,
            )
            run.apply(restored)
            runs.append((run, [*events, away, restored]))
        return runs
