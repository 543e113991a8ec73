"""Verifying a ledger: all checks on one snapshot, and what they found."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from projections.head import Head, head_of
from projections.verify.archived import ARCHIVED, check_archived
from projections.verify.diagnosis import explained
from projections.verify.expected import EXPECTED, Expected, check_expected
from projections.verify.findings import Check, Found, Part
from projections.verify.log import POSITIONS, SEALS, TIMES, check_log
from projections.verify.scene import Scene, scene
from projections.verify.streams import EVENTS, FOLDS, KEYS, VERSIONS, check_streams
from projections.verify.tables import TABLES, check_tables


@dataclass(frozen=True, slots=True)
class Inspection:
    """One way through the ledger, and the checks that are made on it.

    `look` gives what it finds part by part, by the names of the checks. `measure` is the one that counts events, if one
    of them does: it tells how far it is.
    """

    checks: tuple[Check, ...]
    look: Callable[[Scene], Iterator[Part]]
    measure: Check | None = None


INSPECTIONS: tuple[Inspection, ...] = (
    Inspection((POSITIONS, TIMES, SEALS), check_log, POSITIONS),
    Inspection((EVENTS, VERSIONS, FOLDS, KEYS), check_streams, EVENTS),
    Inspection((ARCHIVED,), check_archived),
    Inspection((TABLES,), check_tables, TABLES),
)
"""All that is looked at, in this order."""

Progress = Callable[[int, int], None]
"""Is told how much has been looked at, and of how much."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of one check."""

    check: Check
    found: Found


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of a ledger as it stood at its `head`.

    `grown_by` is how many events came after the head that was expected, where it was found.
    """

    head: Head
    checked: Sequence[Checked]
    grown_by: int | None = None

    @property
    def number(self) -> int:
        """How many findings there are."""
        return sum(checked.found.number for checked in self.checked)

    def as_data(self) -> dict[str, Any]:
        """The report as JSON has it."""
        head = self.head
        return {
            "clean": self.number == 0,
            "ledger_id": head.ledger_id,
            "head": {"position": head.position, "hash": head.hash.hex(), "recorded_at": head.recorded_at},
            "grown_by": self.grown_by,
            "checks": [_as_data(checked.check, checked.found) for checked in self.checked],
        }


def verify(
    conninfo: str,
    *,
    jobs: int | None = None,
    expected: Expected | None = None,
    inspections: Iterable[Inspection] = INSPECTIONS,
    progress: Progress = lambda done, total: None,
    keys: str | None = None,
) -> Report:
    """Check a ledger as it stands now; whoever writes meanwhile is neither seen nor held up.

    `jobs` is the number of processes, by default one a core, `keys` where the keys of payloads are. Raises
    psycopg.Error when it cannot be read.
    """
    todo = list(inspections)
    with scene(conninfo, jobs or os.cpu_count() or 1, keys) as moment:
        head = head_of(moment.connection)
        found = {check.name: Found() for inspection in todo for check in inspection.checks}
        each = max(head.position, 1)
        total = each * len(todo)
        for number, inspection in enumerate(todo):
            done = 0
            progress(each * number, total)
            for part in inspection.look(moment):
                for name, more in part.items():
                    found[name].take(more)
                if inspection.measure is not None and inspection.measure.name in part:
                    done += part[inspection.measure.name].looked_at
                progress(each * number + min(done, each), total)
        _explain(moment, found)
        checked = [Checked(check, found[check.name]) for inspection in todo for check in inspection.checks]
        grown_by = None
        if expected is not None:
            noted, grown_by = check_expected(moment.connection, head, expected)
            checked.append(Checked(EXPECTED, noted))
    progress(total, total)
    return Report(head, checked, grown_by)


def _explain(moment: Scene, found: dict[str, Found]) -> None:
    """Say of findings what only all of them together tell."""
    if KEYS.name in found:
        _once_each(found[KEYS.name])
    seals = found.get(SEALS.name)
    if seals is not None and seals.findings:
        others = (finding for name, each in found.items() if name != SEALS.name for finding in each.findings)
        seals.replace(explained(moment.connection, seals.findings, others))


def _once_each(keys: Found) -> None:
    """A key that stands for the wrong aggregate is found with that one and with the right one, which says more."""
    best = {}
    for finding in keys.findings:
        if finding.about not in best or " is that of " in finding.sentence:
            best[finding.about] = finding
    keys.replace(best.values())


def _as_data(check: Check, found: Found) -> dict[str, Any]:
    return {
        "name": check.name,
        "law": check.law,
        "looked_at": found.looked_at,
        "unit": check.unit,
        "number_of_findings": found.number,
        "findings": [
            {"sentence": one.sentence, "first_position": one.first, "last_position": one.last, "stream_id": one.stream}
            for one in found.findings
        ],
    }
