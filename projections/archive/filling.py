"""Filling an empty ledger from an archive: the same events in the same order, with positions and seals of their own.

With the runs come the flows, deployments, work pools and queues that they name, as they stood when it was written.
"""

import heapq
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter
from pathlib import Path

from projections.archive.files import Entry, check_file, read_file
from projections.archive.manifest import Manifest
from projections.rebuild.building import Report
from projections.recorder import PostgresLedgerRecorder, append

EVENTS_AT_ONCE = 1_000


class WrittenMeanwhile(Exception):
    """A ledger that was to be filled from an archive holds other things as well."""

    def __init__(self) -> None:
        super().__init__("Something else was written into this ledger since it began to be filled: take an empty one.")


def fill(recorder: PostgresLedgerRecorder, directory: Path, manifest: Manifest, done: int, report: Report) -> None:
    """Append all that comes after the first `done` events of an archive, which are there.

    Raises WrittenMeanwhile, Damaged, UnwritableBatch, StoreUnavailable.
    """
    for file in (manifest.context, *manifest.files):
        check_file(directory, file)
    entries = islice(in_order(directory, manifest), done, None)
    while some := list(islice(entries, EVENTS_AT_ONCE)):
        with recorder.transaction() as transaction:
            if transaction.last_position != done:
                raise WrittenMeanwhile
            append(transaction, [entry.event for entry in some], recorder.mapper)
            transaction.note_filled(manifest.archive_id, done + len(some))
        done += len(some)
        report("Appending events", done, manifest.events + manifest.context.events)


def in_order(directory: Path, manifest: Manifest) -> Iterator[Entry]:
    """All events of an archive in order of their positions; a file is opened when its first event is due."""
    files = (file for file in (manifest.context, *manifest.files) if file.events)
    waiting = sorted(files, key=attrgetter("first_position"), reverse=True)
    # Positions differ, so that nothing else of these is ever compared.
    ahead: list[tuple[int, Entry, Iterator[Entry]]] = []
    while waiting or ahead:
        while waiting and (not ahead or waiting[-1].first_position < ahead[0][0]):
            _look_ahead(ahead, read_file(directory, waiting.pop()))
        _, entry, rest = heapq.heappop(ahead)
        yield entry
        _look_ahead(ahead, rest)


def _look_ahead(ahead: list[tuple[int, Entry, Iterator[Entry]]], entries: Iterator[Entry]) -> None:
    entry = next(entries, None)
    if entry is not None:
        heapq.heappush(ahead, (entry.position, entry, entries))
