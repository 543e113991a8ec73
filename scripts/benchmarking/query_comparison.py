"""Measures how Flowledger and a Prefect server answer queries over the same data on the same PostgreSQL."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from scripts.benchmarking import prefect_data, servers
from scripts.benchmarking.comparison import one_window
from scripts.benchmarking.load import Timing
from scripts.benchmarking.measurement import Target, Window
from scripts.benchmarking.postgres import running_cluster
from scripts.benchmarking.queries import QUERIES, Query, compare_digests
from scripts.benchmarking.seeding import seed

FLOWLEDGER, PREFECT = "flowledger-1", "prefect"


@dataclass(frozen=True)
class QueryPlan:
    """What is measured how often: every query on so many flow runs, by so many connections."""

    sizes: Sequence[int]
    prefect_sizes: Sequence[int]
    concurrencies: Sequence[int]
    repetitions: int
    timing: Timing
    queries: Sequence[Query] = QUERIES


def query_windows(plan: QueryPlan, binaries: Path, prefect_python: Path | None) -> Iterator[Window]:
    """The windows of all queries, size by size, servers in turn; `facts` of each names the number of flow runs."""
    for size in plan.sizes:
        python = prefect_python if size in plan.prefect_sizes else None
        with _contenders(size, binaries, python) as targets:
            for repetition in range(plan.repetitions):
                for concurrency in plan.concurrencies:
                    for query in plan.queries:
                        measured = [
                            one_window(query.window, query.name, target, concurrency, repetition, plan.timing)
                            for target in targets
                        ]
                        for window in measured:
                            window.facts["flow_runs"] = size
                        compare_digests(measured)
                        yield from measured


@contextmanager
def _contenders(size: int, binaries: Path, prefect_python: Path | None) -> Iterator[list[Target]]:
    """Servers on one cluster of their own, each with the data in it."""
    with ExitStack() as stack:
        cluster = stack.enter_context(running_cluster(binaries))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flowledger-benchmark-")))
        cluster.create_database("seeded")
        seed(cluster.url("seeded"), size)
        started = [stack.enter_context(servers.flowledger(cluster, 1, folder, seeded="seeded"))]
        if prefect_python is not None:
            started.append(stack.enter_context(servers.prefect(cluster, prefect_python, folder)))
            prefect_data.load(cluster.url("prefect"), size)
        yield [Target(server.name, server.api, {"server": server.pid, "db": cluster.pid}) for server in started]


def query_table(windows: Sequence[Window]) -> Table:
    """A row for each query and size: medians, and how the servers and the sizes compare."""
    table = Table(title="Queries (medians; CPU is that of server and database together)")
    for heading in ("query", "flow runs", "connections"):
        table.add_column(heading)
    for heading in (
        "p50 ms",
        "p99 ms",
        "CPU ms",
        "lowest-highest",
        "Prefect: CPU ms",
        "its CPU / ours",
        "p50 / smallest",
    ):
        table.add_column(heading, justify="right")
    cells: dict[tuple[str, int, int], dict[str, list[Window]]] = {}
    for window in windows:
        if window.verified:
            cell = cells.setdefault((window.workload, window.concurrency, window.facts["flow_runs"]), {})
            cell.setdefault(window.server, []).append(window)
    smallest: dict[tuple[str, int], float] = {}
    for (query, concurrency, size), cell in cells.items():
        ours = cell.get(FLOWLEDGER)
        if not ours:
            continue
        p50 = statistics.median(window.p50_ms for window in ours)
        costs = [window.total_cpu_ms for window in ours]
        cost = statistics.median(costs)
        theirs = [window.total_cpu_ms for window in cell.get(PREFECT, ())]
        least = smallest.setdefault((query, concurrency), p50)
        table.add_row(
            query,
            f"{size:,}",
            str(concurrency),
            f"{p50:.2f}",
            f"{statistics.median(window.p99_ms for window in ours):.2f}",
            f"{cost:.2f}",
            f"{min(costs):.2f}-{max(costs):.2f}",
            f"{statistics.median(theirs):.2f}" if theirs else "",
            f"{statistics.median(theirs) / cost:.1f}" if theirs and cost else "",
            f"{p50 / least:.2f}" if least else "",
        )
    return table
