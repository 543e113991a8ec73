"""Taking runs out of the hot store that are in files: their events, rows and keys go, leaves and one event stay."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from domain.events import EventMapper
from domain.flow_run import FlowRun, FlowRunArchived
from domain.held_keys import held_keys
from domain.ledger import replay
from domain.payloads import ErasedKeys
from domain.recording import Batch
from domain.run import Archived, Run
from domain.task_run import TaskRunArchived
from projections.archive.trees import Piece, Tree
from projections.recorder import PostgresLedgerRecorder
from projections.seals import leaf
from projections.transaction import PostgresTransaction, Versions

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Left:
    """A tree of runs that stays where it is, and why."""

    tree: UUID
    why: str


@dataclass(slots=True)
class Moved:
    """How many runs and events were moved, and which trees were not."""

    runs: int = 0
    events: int = 0
    left: list[Left] = field(default_factory=list)

    def has_left(self, tree: Tree) -> bool:
        return any(left.tree == tree.id for left in self.left)

    def leave(self, tree: Tree, why: str) -> None:
        if not self.has_left(tree):
            self.left.append(Left(tree.id, why))


class Remover:
    """Takes trees out of the ledger into an archive, each batch in a transaction under the ledger lock.

    `actor` is who is said to have done it.
    """

    def __init__(self, recorder: PostgresLedgerRecorder, archive_id: UUID, actor: str, clock: Clock) -> None:
        self._recorder = recorder
        self._archive_id = archive_id
        self._actor = actor
        self._clock = clock
        # What goes into an archive is not looked at, and none of what stays is payload.
        self._mapper = EventMapper(ErasedKeys())
        self.moved = Moved()

    def remove(self, pieces: Sequence[Piece]) -> None:
        """Remove what is as it was written; what is in the archive already is passed over.

        Raises UnwritableBatch when an event is not the one that is in the file, after which nothing was removed, and
        StoreUnavailable.
        """
        with self._recorder.transaction() as transaction:
            ids = {id for piece in pieces for id in piece.tree.streams}
            versions = transaction.versions(ids)
            strangers = {parent: id for id, parent in transaction.runs_below(ids).items() if id not in ids}
            going = [piece for piece in pieces if self._may_go(piece.tree, versions, strangers)]
            wanted = {
                id: events for piece in going for id, events in piece.streams.items() if not versions[id].archived
            }
            if not wanted:
                return
            batch = self._batch(transaction, wanted)
            leaves = {position: leaf(event) for events in wanted.values() for position, event in events.items()}
            transaction.write(batch)
            transaction.move_to_archive(leaves, self._archive_id)
        self.moved.runs += len(wanted)
        self.moved.events += len(leaves)

    def _may_go(self, tree: Tree, versions: Mapping[UUID, Versions], strangers: Mapping[UUID, UUID]) -> bool:
        """Whether a tree is as it was written, also by what came to be below its runs: `strangers`, by those runs."""
        for id, written in tree.last_versions().items():
            found = versions.get(id)
            if found is None or found.last != written + (1 if found.archived else 0):
                self.moved.leave(tree, f"something happened to {id} since it was written")
                return False
            if id in strangers:
                self.moved.leave(tree, f"{strangers[id]} came to belong to it since it was written")
                return False
        return True

    def _batch(self, transaction: PostgresTransaction, wanted: Mapping[UUID, object]) -> Batch:
        now = self._clock()
        batch = Batch(now if transaction.recorded_at is None else max(now, transaction.recorded_at))
        for id, stream in sorted(transaction.streams(wanted).items()):
            run = replay(self._mapper, id, stream)
            batch.released.update(held_keys(run))
            event = self._event(run, batch.recorded_at)
            run.apply(event)
            batch.events.append(event)
            batch.stored.append(self._mapper.to_stored_event(event))
            batch.aggregates[id] = run
        return batch

    def _event(self, run: object, at: datetime) -> Archived:
        if not isinstance(run, Run):
            raise TypeError(f"Only runs go into an archive, not a {type(run).__name__}")
        kind = FlowRunArchived if isinstance(run, FlowRun) else TaskRunArchived
        part_of = run.parent_task_run_id if isinstance(run, FlowRun) else run.runs_in
        return kind(
            originator_id=run.id,
            originator_version=run.version + 1,
            recorded_at=at,
            actor=self._actor,
            archive_id=self._archive_id,
            part_of=part_of,
        )
