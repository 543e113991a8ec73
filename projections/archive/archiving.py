"""Archiving: files are written, checked against the ledger event by event, and only then are events removed.

What ends on the way is finished by the next to archive: an archive of which something may have been removed is carried
on with, the files of one of which nothing was are thrown away.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from psycopg import Connection, sql

from domain.ids import new_id
from projections import statements
from projections.archive import records
from projections.archive.choosing import Chosen, choose, read_context, read_part
from projections.archive.files import check_file, read_file, write_file
from projections.archive.manifest import Damaged, DataFile, Manifest, read_manifest, write_manifest
from projections.archive.records import Record, connected_alone
from projections.archive.removing import Clock, Moved, Remover
from projections.archive.trees import batches, trees_of
from projections.connection import LedgerConnection
from projections.head import head_of
from projections.rebuild.building import Report, silently
from projections.recorder import PostgresLedgerRecorder
from projections.row_statements import as_json
from projections.seals import leaf

PATIENCE = 10.0
"""How many seconds a batch waits for the ledger lock."""

COMPARED_AT_ONCE = 2_000

_STANDING = sql.SQL(
    "SELECT count(*) FROM json_to_recordset(%s) AS written(position bigint, leaf text)"
    " JOIN ledger.events AS event USING (position) WHERE {} = decode(written.leaf, 'hex')"
).format(sql.SQL(statements.LEAF_OF_EVENT))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an archive in a `directory`; `chosen` is None for one that another had begun."""

    directory: Path
    manifest: Manifest
    moved: Moved
    chosen: Chosen | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What an archive would hold, and those that others began and that would be finished first."""

    chosen: Chosen
    unfinished: list[Record]


def plan(conninfo: str, cutoff: datetime) -> Plan:
    """What there is to archive of which nothing was recorded since `cutoff`. Raises Busy."""
    with connected_alone(conninfo) as connection:
        unfinished = records.records(connection, "removing")
        with _moment(connection):
            return Plan(choose(connection, cutoff), unfinished)


@dataclass(frozen=True, slots=True)
class Archiver:
    """Archives runs of a ledger; `actor` is who is said to have done it.

    What it does raises Busy, Damaged, StoreUnavailable, UnwritableBatch, OSError; it is carried on with next time.
    """

    conninfo: str
    actor: str
    clock: Clock
    report: Report = silently

    def archive(self, cutoff: datetime, parent: Path) -> list[Outcome]:
        """Archive the runs of which nothing was recorded since `cutoff`, into a new directory in `parent`.

        What became of it comes last, after what became of those that others had begun; it is missing where there was
        nothing to archive.
        """
        with connected_alone(self.conninfo) as connection:
            outcomes = [self._finish(connection, record) for record in records.records(connection, "removing")]
            for record in records.records(connection, "writing"):
                shutil.rmtree(record.path, ignore_errors=True)
                records.forget(connection, record.id)
            written = self._write(connection, cutoff, parent)
            if written is not None:
                directory, manifest, chosen = written
                outcomes.append(Outcome(directory, manifest, self._remove(connection, directory, manifest), chosen))
            return outcomes

    def _finish(self, connection: Connection, record: Record) -> Outcome:
        manifest = read_manifest(record.path)
        if manifest.archive_id != record.id or manifest.hash != record.hash:
            raise Damaged(record.path, "is not the archive that was begun there")
        return Outcome(record.path, manifest, self._remove(connection, record.path, manifest))

    def _write(self, connection: Connection, cutoff: datetime, parent: Path) -> tuple[Path, Manifest, Chosen] | None:
        """Choose, write and check; from here on, what was written may be removed."""
        created, archive_id = self.clock(), new_id()
        directory = parent.absolute() / f"{created:%Y%m%dT%H%M%SZ}-{archive_id}"
        records.begin(connection, archive_id, created, directory, "writing")
        directory.mkdir(parents=True, mode=0o700)
        files: list[DataFile] = []
        with _moment(connection):
            chosen = choose(connection, cutoff)
            for part in chosen.parts:
                self.report("Writing events", sum(file.events for file in files), chosen.events)
                files.append(write_file(directory / f"events-{part + 1:05}.jsonl.zst", read_part(connection, part)))
            self.report("Writing events", chosen.events, chosen.events)
            context = write_file(directory / "context.jsonl.zst", read_context(connection))
            ledger_id = head_of(connection).ledger_id
        if not files:
            shutil.rmtree(directory)
            records.forget(connection, archive_id)
            return None
        draft = Manifest(
            archive_id=archive_id,
            ledger_id=ledger_id,
            created=created,
            cutoff=cutoff,
            flow_runs=chosen.flow_runs,
            task_runs=chosen.task_runs,
            events=sum(file.events for file in files),
            files=tuple(files),
            context=context,
        )
        manifest = write_manifest(directory, draft)
        self._check(connection, directory, manifest)
        records.note_checked(connection, manifest)
        return directory, manifest, chosen

    def _check(self, connection: Connection, directory: Path, manifest: Manifest) -> None:
        """Read all files back and hold each event against the one in the ledger."""
        done = 0
        check_file(directory, manifest.context)
        for file in manifest.files:
            check_file(directory, file)
            entries = read_file(directory, file)
            while some := list(islice(entries, COMPARED_AT_ONCE)):
                rows = [{"position": entry.position, "leaf": leaf(entry.event).hex()} for entry in some]
                if connection.execute(_STANDING, [as_json(rows)]).fetchone() != (len(some),):
                    raise Damaged(directory / file.name, "does not hold what the ledger holds")
                done += len(some)
                self.report("Checking files", done, manifest.events)

    def _remove(self, connection: Connection, directory: Path, manifest: Manifest) -> Moved:
        recorder = PostgresLedgerRecorder(LedgerConnection(self.conninfo, patience=PATIENCE, name="flowledger-archive"))
        remover = Remover(recorder, manifest.archive_id, self.actor, self.clock)
        done = 0
        try:
            for file in manifest.files:
                check_file(directory, file)
                for batch in batches(trees_of(read_file(directory, file)), root_last=True):
                    remover.remove(batch)
                    done += sum(len(events) for piece in batch for events in piece.streams.values())
                    self.report("Removing events", done, manifest.events)
        finally:
            recorder.close()
        records.note(connection, manifest.archive_id, "archived")
        return remover.moved


@contextmanager
def _moment(connection: Connection) -> Iterator[None]:
    """A transaction that sees one moment of the ledger; nothing of it stays."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
