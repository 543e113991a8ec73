"""Figures of merit: how one server's windows relate to another's of the same run, repetition by repetition."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from scripts.benchmarking.measurement import Window

Measure = Literal["cpu", "rate"]
"""CPU milliseconds per answer of server and database together, or requests per second."""


@dataclass(frozen=True)
class Ratio:
    """How many times the figure of `over` is that of `under`: median, lowest and highest of the repetitions."""

    measure: Measure
    workload: str
    concurrency: int
    over: str
    under: str
    median: float
    lowest: float
    highest: float
    repetitions: int


class _Cell(NamedTuple):
    server: str
    workload: str
    concurrency: int


def ratios(windows: Iterable[Window]) -> list[Ratio]:
    """All the ratios that the windows of one run bear out.

    The CPU time of Prefect over Flowledger's; the rate of Flowledger over Prefect's and over the echo's at the same
    concurrency; the rate of several Flowledger workers over that of one. Windows of a pair are matched by
    repetition, because they were measured next to each other; those not verified count for nothing.
    """
    cells: dict[_Cell, dict[int, Window]] = {}
    for window in windows:
        if window.verified:
            cell = _Cell(window.server, window.workload, window.concurrency)
            cells.setdefault(cell, {})[window.repetition] = window
    found = []
    for cell in cells:
        if not cell.server.startswith("flowledger-"):
            continue
        prefect, one_worker = cell._replace(server="prefect"), cell._replace(server="flowledger-1")
        echo = _Cell("echo", "echo", cell.concurrency)
        pairs: list[tuple[Measure, _Cell, _Cell]] = [
            ("cpu", prefect, cell),
            ("rate", cell, prefect),
            ("rate", cell, echo),
        ]
        if cell != one_worker:
            pairs.append(("rate", cell, one_worker))
        for measure, over, under in pairs:
            values = _quotients(measure, cells.get(over, {}), cells.get(under, {}))
            if values:
                spread = (statistics.median(values), min(values), max(values), len(values))
                found.append(Ratio(measure, cell.workload, cell.concurrency, over.server, under.server, *spread))
    return found


def _quotients(measure: Measure, over: dict[int, Window], under: dict[int, Window]) -> list[float]:
    """The quotient of each repetition that both sides have."""
    figures = [(_figure(measure, over[each]), _figure(measure, under[each])) for each in over.keys() & under.keys()]
    return [numerator / denominator for numerator, denominator in figures if denominator]


def _figure(measure: Measure, window: Window) -> float:
    return window.total_cpu_ms if measure == "cpu" else window.requests_per_second
