"""Says what was measured: one JSON line a record for machines, tables for people."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.benchmarking.comparison import Contenders, Plan
from scripts.benchmarking.measurement import Window
from scripts.benchmarking.ratios import Ratio
from scripts.benchmarking.servers import package_versions

_SERVER_PACKAGES = ("starlette", "uvicorn", "uvloop", "httptools", "pydantic")


class JsonLines:
    """A file that records are appended to as they come, so that a run cut short keeps what it measured."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, kind: str, record: dict[str, Any]) -> None:
        """Appends one record; `kind` says what it is: environment, window or ratio."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **record}) + "\n")


def environment(plan: Plan, contenders: Contenders | None, prefect_python: Path | None) -> dict[str, Any]:
    """What ran, on what, how often: the facts without which a figure says nothing."""
    facts: dict[str, Any] = {
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": {"processor": _processor(), "cores": len(os.sched_getaffinity(0)), "kernel": platform.release()},
        "plan": asdict(plan),
        "commit": _commit(),
        "versions": {"flowledger": package_versions(Path(sys.executable), "flowledger", "psycopg", *_SERVER_PACKAGES)},
    }
    if contenders:
        facts["postgresql"] = contenders.cluster.settings()
        facts["settings"] = {server.name: server.settings for server in contenders.servers}
    if prefect_python:
        packages = ("prefect", "fastapi", "sqlalchemy", "asyncpg", *_SERVER_PACKAGES)
        facts["versions"]["prefect"] = package_versions(prefect_python, *packages)
    return facts


def print_environment(console: Console, facts: dict[str, Any]) -> None:
    """Prints the facts, one a line."""
    table = Table(title="What was measured", show_header=False)
    for topic, value in facts.items():
        if isinstance(value, dict):
            for name, detail in value.items():
                shown = (
                    ", ".join(f"{key} {each}" for key, each in detail.items()) if isinstance(detail, dict) else detail
                )
                table.add_row(f"{topic}: {name}", str(shown))
        else:
            table.add_row(topic, str(value))
    console.print(table)


def describe(window: Window) -> str:
    """One line on a window, as it is measured."""
    cpu = " + ".join(f"{name} {milliseconds:.3f}" for name, milliseconds in window.cpu_ms.items())
    line = (
        f"#{window.repetition + 1} {window.workload} x{window.concurrency} {window.server}: "
        f"{window.requests_per_second:,.1f}/s, p50 {window.p50_ms:.2f} ms, p99 {window.p99_ms:.2f} ms, "
        f"CPU ms per answer: {cpu or 'not measured'}"
    )
    return line if window.verified else f"{line}; NOT VERIFIED: {'; '.join(window.problems)}"


def print_windows(console: Console, windows: Sequence[Window]) -> None:
    """Prints a row for each workload, concurrency and server: medians over the repetitions, lowest and highest rate."""
    table = Table(title="Windows (medians over the repetitions)")
    for heading in ("workload", "connections", "server"):
        table.add_column(heading)
    trees = sorted({name for window in windows for name in window.cpu_ms}, reverse=True)
    costs = [f"CPU ms: {name}" for name in trees]
    for heading in ("requests/s", "lowest-highest", "p50 ms", "p99 ms", *costs, "client us", "others' CPU", "verified"):
        table.add_column(heading, justify="right")
    cells: dict[tuple[str, int, str], list[Window]] = {}
    for window in windows:
        cells.setdefault((window.workload, window.concurrency, window.server), []).append(window)
    for (workload, concurrency, server), cell in cells.items():
        rates = [window.requests_per_second for window in cell]
        good = sum(window.verified for window in cell)
        table.add_row(
            workload,
            str(concurrency),
            server,
            f"{statistics.median(rates):,.1f}",
            f"{min(rates):,.1f}-{max(rates):,.1f}",
            f"{statistics.median(window.p50_ms for window in cell):.2f}",
            f"{statistics.median(window.p99_ms for window in cell):.2f}",
            *(f"{statistics.median(window.cpu_ms.get(name, 0.0) for window in cell):.3f}" for name in trees),
            f"{statistics.median(window.client_cpu_us for window in cell):.0f}",
            f"{statistics.median(window.others_cpu for window in cell):.0%}",
            f"{good}/{len(cell)}",
        )
    console.print(table)


def print_ratios(console: Console, ratios: Iterable[Ratio]) -> None:
    """Prints a row for each ratio of the run."""
    table = Table(title="Ratios of this run (CPU time is that of server and database together)")
    for heading in ("workload", "connections", "ratio"):
        table.add_column(heading)
    for heading in ("median", "lowest", "highest", "repetitions"):
        table.add_column(heading, justify="right")
    for each in ratios:
        what = "CPU per answer" if each.measure == "cpu" else "requests/s"
        spread = (f"{value:.2f}" for value in (each.median, each.lowest, each.highest))
        ratio = f"{what}: {each.over} / {each.under}"
        table.add_row(each.workload, str(each.concurrency), ratio, *spread, str(each.repetitions))
    console.print(table)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    """The commit of this source tree, marked where files differ from it; says so where there is no git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            command, cwd=Path(__file__).parent, check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "not a git checkout"
    return done.stdout.strip()
