"""What a load is made of and what comes of it: steps, chains, timing, result."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class LoadFailed(Exception):
    """The load could not be made; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The load could not be made: {reason}.")
        self.reason = reason


class Step(NamedTuple):
    """One request and what its answer must be: the status, and a text that occurs in the body."""

    request: bytes
    status: int
    text: bytes


Chain = Sequence[Step]
"""Requests sent one after the other on one connection, each only after a good answer to the one before."""


@dataclass(frozen=True)
class Timing:
    """How long to load: seconds of warm-up that are not counted, then seconds that are."""

    warmup: float
    seconds: float


UNTIL_DRY = Timing(warmup=0.0, seconds=float("inf"))
"""Runs until every chain is done."""


@dataclass
class LoadResult:
    """What a load met. Chains begun inside the window are finished after it and count in all but the latencies.

    latencies: seconds per good answer that arrived inside the window. seconds: length of that window; shorter than
    asked for where the chains ran dry. extracted: what `extract` returned for each good answer.
    """

    seconds: float = 0.0
    latencies: array[float] = field(default_factory=lambda: array("d"))
    statuses: Counter[int] = field(default_factory=Counter)
    chains_done: int = 0
    chains_broken: int = 0
    lost: int = 0
    ran_dry: bool = False
    client_cpu_seconds: float = 0.0
    first_problem: str | None = None
    extracted: list[str] = field(default_factory=list)

    @property
    def answers(self) -> int:
        """How many answers came, good and bad, in the window and around it."""
        return self.statuses.total()
