"""Measures rebuilds of the read tables while a server goes on answering transitions at a steady pace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from rich.table import Table

from projections.copying import folded_streams
from scripts.benchmarking import servers
from scripts.benchmarking.measurement import Target
from scripts.benchmarking.paced_load import milliseconds, under_load
from scripts.benchmarking.postgres import running_cluster
from scripts.benchmarking.process_cpu import machine_cpu_seconds
from scripts.benchmarking.seeding import seed
from scripts.benchmarking.workloads import lifecycles

_ROOT = Path(__file__).resolve().parents[2]

LONGEST_REBUILD_SECONDS = 300.0
"""For how long there is work for the load, should a rebuild take so long."""

SETTLING_SECONDS = 20.0
"""How long the load goes on before it is measured: the database is still busy with the runs that were made for it."""

STREAMS_FOLDED_ALONE = 20_000
"""How many streams one process folds by itself before each rebuild."""


@dataclass(frozen=True)
class RebuildPlan:
    """What is measured: rebuilds of a ledger with so many flow runs under so many transitions a second.

    Before each rebuild the load is measured for `seconds` by itself.
    """

    flow_runs: int
    transitions_per_second: float
    seconds: float
    repetitions: int
    jobs: int


@dataclass(frozen=True)
class RebuildWindow:
    """The figures of one rebuild.

    `events` were folded and the tables verified in `seconds`, the command as a whole took `command_seconds`. Latencies
    of the load are in milliseconds, before and during the command. `others_cpu` is the share of the machine that was
    busy before the load and the rebuild began. `folded_alone` is how many events a second one process read, decoded and
    folded then, which says how fast the machine is.
    """

    repetition: int
    events: int
    seconds: float
    folded_alone: float
    command_seconds: float
    locked_ms: float
    caught_up: int
    differences: int
    p50_before_ms: float
    p99_before_ms: float
    p50_during_ms: float
    p99_during_ms: float
    longest_during_ms: float
    others_cpu: float
    bad_answers: int
    differences_afterwards: int

    @property
    def events_per_second(self) -> float:
        """Events a second, verified."""
        return self.events / self.seconds

    @property
    def share_of_folding(self) -> float:
        """Events a second, verified and under load, as a share of those that one process folds when it is alone."""
        return self.events_per_second / self.folded_alone


def rebuild_windows(plan: RebuildPlan, binaries: Path) -> Iterator[RebuildWindow]:
    """The figures of each rebuild, one after the other on the same ledger, which grows by the load."""
    with running_cluster(binaries) as cluster, tempfile.TemporaryDirectory(prefix="flowledger-benchmark-") as name:
        cluster.create_database("seeded")
        seed(cluster.url("seeded"), plan.flow_runs)
        others_cpu = _busy_share(plan.seconds)
        with servers.flowledger(cluster, 1, Path(name), seeded="seeded") as server:
            for repetition in range(plan.repetitions):
                target = Target(server.name, server.api)
                yield _measured(plan, target, cluster.url("seeded"), repetition, others_cpu)


def _folded_alone(url: str) -> float:
    """How many events a second this process reads, decodes and folds."""
    began, events = time.monotonic(), 0
    with psycopg.connect(url) as connection:
        for _, stream in islice(folded_streams(connection, UUID(int=0)), STREAMS_FOLDED_ALONE):
            events += len(stream)
    return events / (time.monotonic() - began)


def rebuild_table(windows: Sequence[RebuildWindow]) -> Table:
    """A row for each rebuild."""
    table = Table(title="Rebuilds under load")
    for heading in ("events", "s", "events/s", "of one folding", "command s", "writers waited ms", "caught up"):
        table.add_column(heading, justify="right")
    for heading in ("p50 ms before", "during", "p99 ms before", "during", "longest", "others' CPU", "bad"):
        table.add_column(heading, justify="right")
    table.add_column("differences afterwards", justify="right")
    for window in windows:
        table.add_row(
            f"{window.events:,}",
            f"{window.seconds:.1f}",
            f"{window.events_per_second:,.0f}",
            f"{window.share_of_folding:.2f}",
            f"{window.command_seconds:.1f}",
            f"{window.locked_ms:.0f}",
            f"{window.caught_up:,}",
            f"{window.p50_before_ms:.1f}",
            f"{window.p50_during_ms:.1f}",
            f"{window.p99_before_ms:.1f}",
            f"{window.p99_during_ms:.1f}",
            f"{window.longest_during_ms:.0f}",
            f"{window.others_cpu:.0%}",
            str(window.bad_answers),
            str(window.differences_afterwards),
        )
    return table


def _measured(plan: RebuildPlan, target: Target, url: str, repetition: int, others_cpu: float) -> RebuildWindow:
    folded_alone = _folded_alone(url)
    longest = SETTLING_SECONDS + plan.seconds + LONGEST_REBUILD_SECONDS
    chains = lifecycles(target, int(plan.transitions_per_second * longest / 3))
    with under_load(target.api.address, chains, plan.transitions_per_second) as load:
        time.sleep(SETTLING_SECONDS)
        began = time.monotonic()
        time.sleep(plan.seconds)
        rebuild_began = time.monotonic()
        rebuilt = _rebuild(url, "--verify", "--jobs", str(plan.jobs))
        ended = time.monotonic()
    before, during = load.within(began, rebuild_began), load.within(rebuild_began, ended)
    checked = _rebuild(url, "--verify", "--no-swap")
    return RebuildWindow(
        repetition=repetition,
        events=rebuilt["events"],
        seconds=rebuilt["seconds"],
        folded_alone=folded_alone,
        command_seconds=ended - rebuild_began,
        locked_ms=1000 * rebuilt["locked_seconds"],
        caught_up=rebuilt["caught_up"],
        differences=len(rebuilt["differences"]),
        p50_before_ms=milliseconds(before, 0.5),
        p99_before_ms=milliseconds(before, 0.99),
        p50_during_ms=milliseconds(during, 0.5),
        p99_during_ms=milliseconds(during, 0.99),
        longest_during_ms=milliseconds(during, 1.0),
        others_cpu=others_cpu,
        bad_answers=load.bad + int(load.ran_dry),
        differences_afterwards=len(checked["differences"]),
    )


def _rebuild(url: str, *options: str) -> Any:
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "scripts.cli", "rebuild-projections", "--json", *options],
        env=os.environ | {"PYTHONPATH": str(_ROOT), "FLOWLEDGER_DATABASE_URL": url},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode == 1:
        raise RebuildFailed(done.stderr.strip())
    return json.loads(done.stdout)


class RebuildFailed(Exception):
    """The command could not do it; the message is its own."""


def _busy_share(seconds: float) -> float:
    before = machine_cpu_seconds()
    time.sleep(seconds)
    after = machine_cpu_seconds()
    return (after.busy - before.busy) / (after.total - before.total)
