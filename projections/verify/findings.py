"""What the checks of a ledger find, and how much they looked at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

MOST_KEPT = 10_000
"""How many findings of one check are kept; of more only their number is."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold of every ledger: by which name, what of it is counted, and in one sentence."""

    name: str
    unit: str
    law: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, in one sentence.

    `first` and `last` are the positions between which it lies and `stream` is the id of the aggregate it concerns, as
    far as that can be told. Of several findings `about` the same thing the first one speaks for all.
    """

    sentence: str
    first: int | None = None
    last: int | None = None
    stream: UUID | None = None
    about: str | None = None


@dataclass(slots=True)
class Found:
    """What one check found so far: how much was `looked_at`, how many findings there are, and the first of them."""

    looked_at: int = 0
    number: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        self.number += 1
        if len(self.findings) < MOST_KEPT:
            self.findings.append(finding)

    def take(self, other: "Found") -> None:
        """Take in what was found in another part of the ledger."""
        self.looked_at += other.looked_at
        self.number += other.number
        self.findings.extend(other.findings[: MOST_KEPT - len(self.findings)])

    def replace(self, findings: Iterable[Finding]) -> None:
        """Put findings that say more in the place of those that are kept."""
        better = list(findings)
        self.number += len(better) - len(self.findings)
        self.findings = better


Part = Mapping[str, Found]
"""What was found in one part of the ledger, by the names of checks."""


def numbers(first: int, last: int) -> str:
    """A range of positions, in words."""
    return f"position {first}" if first == last else f"positions {first} to {last}"
