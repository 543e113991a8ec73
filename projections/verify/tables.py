"""The check of the read tables: they are what is made of the events, both ways, as are the counters."""

from collections.abc import Iterator

from projections.rebuild.comparing import Difference
from projections.rebuild.rebuilding import OtherShape, differences
from projections.rebuild.workers import WorkerFailed
from projections.verify.findings import Check, Finding, Found, Part
from projections.verify.scene import Scene

TABLES = Check("tables", "events", "The read tables hold the rows that the events make, and no others.")

_IS = {
    "missing": "is missing",
    "unexpected": "is there, though no event makes it",
    "different": "is not what the events make of it",
}


def check_tables(scene: Scene) -> Iterator[Part]:
    """What is found of read tables when they are made anew of the events and held against each other."""
    found = Found()
    try:
        for difference in differences(scene.conninfo, scene.snapshot, scene.jobs, keys=scene.keys):
            found.add(_finding(difference))
    except (OtherShape, WorkerFailed) as error:
        found.add(Finding(str(error)))
    counted = scene.connection.execute("SELECT count(*) FROM ledger.events").fetchone()
    found.looked_at = counted[0] if counted else 0
    yield {TABLES.name: found}


def _finding(difference: Difference) -> Finding:
    return Finding(f"The row {difference.key} of read.{difference.table} {_IS[difference.kind]}.")
