"""What is measured: a server under one window of load, in rate, latency and CPU time per answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scripts.benchmarking.api_client import Api
from scripts.benchmarking.load import Chain, LoadResult, Timing
from scripts.benchmarking.load_client import LoadClient, run_in_own_process
from scripts.benchmarking.process_cpu import machine_cpu_seconds, tree_cpu_seconds


@dataclass
class Target:
    """A server to measure: its API, and the root pids of the process trees whose CPU time its answers cost.

    What the workloads learned of the server is kept here from window to window: the flow they use, the runs they
    read, and the lifecycles per second seen at a concurrency.
    """

    name: str
    api: Api
    pids: Mapping[str, int] = field(default_factory=dict)
    flow_id: str | None = None
    run_ids: list[str] = field(default_factory=list)
    lifecycles_per_second: dict[int, float] = field(default_factory=dict)


@dataclass
class Window:
    """The figures of one window of load on one server, and whether the work was found done.

    cpu_ms: milliseconds of CPU time per answer, by process tree. client_cpu_us: microseconds per answer that the load
    client itself took. others_cpu: share of the machine's CPU time that neither the trees nor the client used, a
    measure of how disturbed the window was. facts: what was read back. problems: empty when the window is verified.
    """

    server: str
    workload: str
    concurrency: int
    repetition: int = 0
    seconds: float = 0.0
    answers: int = 0
    requests_per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    cpu_ms: dict[str, float] = field(default_factory=dict)
    client_cpu_us: float = 0.0
    others_cpu: float = 0.0
    ran_dry: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def verified(self) -> bool:
        """Whether the work was found done."""
        return not self.problems

    @property
    def total_cpu_ms(self) -> float:
        """CPU milliseconds per answer of all measured process trees together."""
        return sum(self.cpu_ms.values())


def measure(
    target: Target, workload: str, chains: Iterable[Chain], connections: int, timing: Timing
) -> tuple[Window, LoadResult]:
    """Loads the target for one window from a process of its own.

    CPU time is taken around the whole load and divided by all its answers, so that no answer's cost falls outside.
    Raises LoadFailed, or ProcessGone when a process tree to account for is not there.
    """
    client = LoadClient(target.api.address, chains, connections, timing)
    machine_before = machine_cpu_seconds()
    trees_before = {name: tree_cpu_seconds(pid) for name, pid in target.pids.items()}
    load = run_in_own_process(client)
    trees = {name: tree_cpu_seconds(pid) - trees_before[name] for name, pid in target.pids.items()}
    machine = machine_cpu_seconds()
    busy, passed = machine.busy - machine_before.busy, machine.total - machine_before.total
    answers = load.answers or 1
    latencies = sorted(load.latencies)
    window = Window(
        server=target.name,
        workload=workload,
        concurrency=connections,
        seconds=load.seconds,
        answers=load.answers,
        requests_per_second=len(latencies) / load.seconds if load.seconds else 0.0,
        p50_ms=1000 * percentile(latencies, 0.50),
        p99_ms=1000 * percentile(latencies, 0.99),
        cpu_ms={name: 1000 * seconds / answers for name, seconds in trees.items()},
        client_cpu_us=1e6 * load.client_cpu_seconds / answers,
        others_cpu=max(0.0, busy - sum(trees.values()) - load.client_cpu_seconds) / passed if passed else 0.0,
        ran_dry=load.ran_dry,
        facts={"statuses": dict(load.statuses), "chains_done": load.chains_done},
    )
    window.problems += _problems_of(load)
    return window, load


def percentile(ordered: list[float], share: float) -> float:
    """The smallest of the ordered values that at least `share` of them do not exceed; 0 when there are none."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _problems_of(load: LoadResult) -> list[str]:
    problems = []
    if not load.latencies:
        problems.append("no good answer arrived inside the window")
    if load.chains_broken or load.lost:
        problems.append(f"{load.chains_broken} chains broken, {load.lost} answers lost; first: {load.first_problem}")
    return problems
