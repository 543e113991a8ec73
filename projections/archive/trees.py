"""Trees of runs, as files of archives hold them, in batches that one transaction can carry."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from eventsourcing.persistence import StoredEvent

from projections.archive.files import Entry

STREAMS_AT_ONCE = 250
"""How many streams are moved in one transaction, for which commands wait."""


@dataclass(slots=True)
class Tree:
    """A run and all that belongs to it: the positions and events of each stream."""

    id: UUID
    streams: dict[UUID, dict[int, StoredEvent]] = field(default_factory=dict)

    def last_versions(self) -> dict[UUID, int]:
        return {id: max(event.originator_version for event in events.values()) for id, events in self.streams.items()}


@dataclass(frozen=True, slots=True)
class Piece:
    """Some streams of a tree: all of them, unless the tree is a large one."""

    tree: Tree
    streams: Mapping[UUID, Mapping[int, StoredEvent]]


def trees_of(entries: Iterable[Entry]) -> list[Tree]:
    """The trees of a file, in the order in which they begin."""
    trees: dict[UUID, Tree] = {}
    for entry in entries:
        tree = trees.setdefault(entry.tree, Tree(entry.tree))
        tree.streams.setdefault(entry.stream, {})[entry.position] = entry.event
    return list(trees.values())


def batches(trees: Iterable[Tree], *, root_last: bool) -> Iterator[list[Piece]]:
    """Whole trees together, as many as go into one transaction; a larger tree by itself, in pieces.

    Of a larger tree, what belongs to the root never is there without it: it goes first and comes back last.
    """
    batch: list[Piece] = []
    size = 0
    for tree in trees:
        if batch and size + len(tree.streams) > STREAMS_AT_ONCE:
            yield batch
            batch, size = [], 0
        if len(tree.streams) <= STREAMS_AT_ONCE:
            batch.append(Piece(tree, tree.streams))
            size += len(tree.streams)
            continue
        ids = sorted(tree.streams, key=lambda id: (id == tree.id) == root_last)
        for first in range(0, len(ids), STREAMS_AT_ONCE):
            yield [Piece(tree, {id: tree.streams[id] for id in ids[first : first + STREAMS_AT_ONCE]})]
    if batch:
        yield batch
