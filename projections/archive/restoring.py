"""Restoring an archive: into the ledger that it came from, or into an empty one. Into any other it cannot go."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from psycopg import Connection

from projections.archive import records
from projections.archive.archiving import PATIENCE
from projections.archive.files import check_file, read_file
from projections.archive.filling import fill
from projections.archive.manifest import Manifest, read_manifest
from projections.archive.records import connected_alone, record_of
from projections.archive.removing import Clock, Moved
from projections.archive.returning import Returner
from projections.archive.trees import batches, trees_of
from projections.connection import LedgerConnection
from projections.head import head_of
from projections.payload_keys.opening import mapper_for
from projections.rebuild.building import Report, silently
from projections.recorder import PostgresLedgerRecorder

Way = Literal["back", "anew"]
"""How an archive is restored: back to where it was, or anew into an empty ledger."""


class NotForThisLedger(Exception):
    """An archive cannot be restored into a ledger; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Restoration:
    """What restoring an archive would do: which way it goes, and how many `runs` and `events` are still to come."""

    manifest: Manifest
    way: Way
    runs: int
    events: int


@dataclass(frozen=True, slots=True)
class Restorer:
    """Restores archives; `actor` is who is said to have done it, `keys` is where those of payloads are.

    What it does raises Busy, Damaged, NotForThisLedger, WrittenMeanwhile, StoreUnavailable, UnwritableBatch; it is
    carried on with next time.
    """

    conninfo: str
    actor: str
    clock: Clock
    report: Report = silently
    keys: str | None = None

    def plan(self, directory: Path) -> Restoration:
        """Check the files of an archive, and whether they can be restored here."""
        manifest = read_manifest(directory)
        for file in (manifest.context, *manifest.files):
            check_file(directory, file)
        with connected_alone(self.conninfo) as connection:
            return _planned(connection, manifest)

    def restore(self, directory: Path) -> Moved:
        """Restore an archive, or what is left of it to restore."""
        manifest = read_manifest(directory)
        with connected_alone(self.conninfo) as connection:
            planned = _planned(connection, manifest)
            recorder = PostgresLedgerRecorder(
                LedgerConnection(self.conninfo, patience=PATIENCE, name="flowledger-restore"), mapper_for(self.keys)
            )
            try:
                if planned.way == "anew":
                    return self._fill(connection, recorder, directory, planned)
                return self._bring_back(connection, recorder, directory, manifest)
            finally:
                recorder.close()

    def _fill(
        self, connection: Connection, recorder: PostgresLedgerRecorder, directory: Path, planned: Restoration
    ) -> Moved:
        manifest = planned.manifest
        if record_of(connection, manifest.archive_id) is None:
            records.begin(connection, manifest.archive_id, manifest.created, directory.absolute(), "filling")
        done = manifest.events + manifest.context.events - planned.events
        fill(recorder, directory, manifest, done, self.report)
        records.note(connection, manifest.archive_id, "filled")
        return Moved(manifest.runs, planned.events)

    def _bring_back(
        self, connection: Connection, recorder: PostgresLedgerRecorder, directory: Path, manifest: Manifest
    ) -> Moved:
        records.note(connection, manifest.archive_id, "restoring")
        returner = Returner(recorder, manifest.archive_id, self.actor, self.clock)
        done = 0
        for file in manifest.files:
            check_file(directory, file)
            for batch in batches(trees_of(read_file(directory, file)), root_last=False):
                returner.bring_back(batch)
                done += sum(len(events) for piece in batch for events in piece.streams.values())
                self.report("Restoring events", done, manifest.events)
        _, events = _away(connection, manifest)
        records.note(connection, manifest.archive_id, "archived" if events else "restored")
        return returner.moved


def _planned(connection: Connection, manifest: Manifest) -> Restoration:
    head = head_of(connection)
    record = record_of(connection, manifest.archive_id)
    if record is not None and record.status in ("filling", "filled"):
        left = manifest.events + manifest.context.events - record.done
        return Restoration(manifest, "anew", manifest.runs if left else 0, left)
    if head.ledger_id == manifest.ledger_id and head.position:
        if record is None or record.hash != manifest.hash:
            raise NotForThisLedger("This ledger knows of no such archive: it is not as it was when that was made.")
        if record.status == "removing":
            raise NotForThisLedger("This archive is not finished: run `flowledger archive` first, which finishes it.")
        return Restoration(manifest, "back", *_away(connection, manifest))
    if head.position:
        raise NotForThisLedger(
            f"This archive is of the ledger {manifest.ledger_id}; it can be restored into that or into an empty one,"
            f" but this is {head.ledger_id} and not empty."
        )
    return Restoration(manifest, "anew", manifest.runs, manifest.events + manifest.context.events)


def _away(connection: Connection, manifest: Manifest) -> tuple[int, int]:
    """How many runs and events of an archive are not in the ledger."""
    row = connection.execute(
        "SELECT count(DISTINCT originator_id), count(*) FROM ledger.archived WHERE archive_id = %s",
        [manifest.archive_id],
    ).fetchone()
    return row or (0, 0)
