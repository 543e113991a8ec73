"""Measures Flowledger, a Prefect server and the bare echo in one run, taking turns on one machine and PostgreSQL."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarking import servers
from scripts.benchmarking.api_client import UnexpectedAnswer
from scripts.benchmarking.load import LoadFailed, Timing
from scripts.benchmarking.measurement import Target, Window
from scripts.benchmarking.postgres import Cluster, running_cluster
from scripts.benchmarking.process_cpu import ProcessGone
from scripts.benchmarking.workloads import WORKLOADS, echo


@dataclass(frozen=True)
class Plan:
    """What is measured how often: every workload at every concurrency, all of it `repetitions` times."""

    workloads: Sequence[str]
    concurrencies: Sequence[int]
    repetitions: int
    timing: Timing


@dataclass(frozen=True)
class Contenders:
    """The servers of a comparison, started, with the cluster they share."""

    cluster: Cluster
    servers: list[servers.RunningServer]

    def targets(self) -> list[Target]:
        """The servers as things to measure; the echo costs no database."""
        targets = []
        for server in self.servers:
            pids = {"server": server.pid}
            if server.name != "echo":
                pids["db"] = self.cluster.pid
            targets.append(Target(server.name, server.api, pids))
        return targets


@contextmanager
def contenders(
    postgres_binaries: Path, prefect_python: Path | None, worker_counts: Sequence[int]
) -> Iterator[Contenders]:
    """Starts everything a comparison needs, and stops and removes all of it, whatever happens.

    Raises NoPostgres or ServerDidNotStart.
    """
    with ExitStack() as stack:
        cluster = stack.enter_context(running_cluster(postgres_binaries))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flowledger-benchmark-")))
        started = [stack.enter_context(servers.flowledger(cluster, workers, folder)) for workers in worker_counts]
        if prefect_python:
            started.append(stack.enter_context(servers.prefect(cluster, prefect_python, folder)))
        started.append(stack.enter_context(servers.echo(folder)))
        yield Contenders(cluster, started)


def windows(targets: Sequence[Target], plan: Plan) -> Iterator[Window]:
    """Measures the targets in turn, window by window, so that what drifts meanwhile meets all of them alike."""
    for repetition in range(plan.repetitions):
        for concurrency in plan.concurrencies:
            for target in targets:
                if target.name == "echo":
                    yield one_window(echo, "echo", target, concurrency, repetition, plan.timing)
            for workload in plan.workloads:
                for target in targets:
                    if target.name != "echo":
                        yield one_window(WORKLOADS[workload], workload, target, concurrency, repetition, plan.timing)


def one_window(
    measured: Callable[[Target, int, Timing], Window],
    workload: str,
    target: Target,
    concurrency: int,
    repetition: int,
    timing: Timing,
) -> Window:
    """Measures one window; what keeps it from being measured becomes its problem, and the others go on."""
    try:
        window = measured(target, concurrency, timing)
    except (LoadFailed, UnexpectedAnswer, ProcessGone, OSError) as error:
        window = Window(target.name, workload, concurrency, problems=[str(error)])
    except (LookupError, TypeError, ValueError) as error:
        window = Window(target.name, workload, concurrency, problems=[f"an answer is not of the dialect: {error!r}"])
    window.repetition = repetition
    return window
