"""The check of the files of an archive: they are as they were written, and hold what the ledger has only leaves of."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psycopg

from projections.archive.files import Entry, check_file, read_file
from projections.archive.manifest import Damaged, Manifest, read_manifest
from projections.seals import leaf
from projections.verify.findings import Check, Finding, Found, Part, numbers
from projections.verify.scene import ROWS_AT_ONCE, Scene

FILES = Check("archive files", "events in files", "Files are as they were written, and hold what is not in the ledger.")

_LEAVES = "SELECT position, leaf FROM ledger.archived WHERE position = ANY(%s)"

_NUMBER = "SELECT count(*) FROM ledger.archived WHERE archive_id = %s"


@dataclass(frozen=True, slots=True)
class CheckFiles:
    """Looks at the archive in a directory."""

    directory: Path

    def __call__(self, scene: Scene) -> Iterator[Part]:
        found = Found()
        try:
            manifest = read_manifest(self.directory)
        except Damaged as damage:
            found.add(Finding(str(damage)))
        else:
            self._look(scene.connection, manifest, found)
        yield {FILES.name: found}

    def _look(self, connection: psycopg.Connection, manifest: Manifest, found: Found) -> None:
        fitting = 0
        for file in (manifest.context, *manifest.files):
            try:
                check_file(self.directory, file)
                entries = read_file(self.directory, file)
                while some := list(islice(entries, ROWS_AT_ONCE)):
                    found.looked_at += len(some)
                    if file is not manifest.context:
                        fitting += _compare(connection, self.directory / file.name, some, found)
            except Damaged as damage:
                place = (file.first_position, file.last_position) if file.events else (None, None)
                found.add(Finding(f"{damage} It held {numbers(file.first_position, file.last_position)}.", *place))
        row = connection.execute(_NUMBER, [manifest.archive_id]).fetchone()
        left = row[0] if row else 0
        if left > fitting:
            sentence = f"Of {left:,} events in the archive {manifest.archive_id}, its files hold {fitting:,}."
            found.add(Finding(sentence))


def _compare(connection: psycopg.Connection, path: Path, entries: list[Entry], found: Found) -> int:
    """Hold events against the leaves that are left of them; how many fit. Those that were restored have none."""
    left: dict[int, bytes] = dict(connection.execute(_LEAVES, [[entry.position for entry in entries]]).fetchall())
    fitting = 0
    for entry in entries:
        if entry.position not in left:
            continue
        if left[entry.position] == leaf(entry.event):
            fitting += 1
            continue
        sentence = f"The event at position {entry.position} in {path} is not the one of which the ledger has a leaf."
        found.add(Finding(sentence, entry.position, entry.position, entry.stream))
    return fitting
