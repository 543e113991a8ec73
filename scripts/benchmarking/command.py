"""The command line of the benchmark."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.benchmarking.api_client import Api, BadBaseUrl
from scripts.benchmarking.comparison import Plan, contenders, windows
from scripts.benchmarking.load import Timing
from scripts.benchmarking.measurement import Target, Window
from scripts.benchmarking.postgres import USUAL_BINARIES, NoPostgres
from scripts.benchmarking.query_comparison import QueryPlan, query_table, query_windows
from scripts.benchmarking.ratios import ratios
from scripts.benchmarking.rebuilds import RebuildFailed, RebuildPlan, rebuild_table, rebuild_windows
from scripts.benchmarking.report import (
    JsonLines,
    describe,
    environment,
    print_environment,
    print_ratios,
    print_windows,
)
from scripts.benchmarking.rules import costs_of_deciding
from scripts.benchmarking.servers import ServerDidNotStart
from scripts.benchmarking.workloads import WORKLOADS

app = typer.Typer(
    help="Measure a server of the REST dialect, or compare servers, and check that the work was done.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Above this share of the machine, what others do shows in the figures.
_QUIET = 0.05

_ALL_WORKLOADS = ",".join(WORKLOADS)

WorkloadsOption = Annotated[str, typer.Option("--workloads", help="Comma-separated: create, lifecycle, read-one.")]
ConcurrencyOption = Annotated[str, typer.Option("--concurrency", help="Comma-separated numbers of connections.")]
SecondsOption = Annotated[float, typer.Option("--seconds", min=0.1, help="Length of a window.")]
WarmupOption = Annotated[float, typer.Option("--warmup", min=0.0, help="Seconds of load before each window.")]
RepetitionsOption = Annotated[int, typer.Option("--repetitions", min=1, help="How often everything is measured.")]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", help="JSON lines are appended here. Default: a new file among the temporary ones."),
]


@app.callback(invoke_without_command=True)
def measure(
    context: typer.Context,
    base: Annotated[str | None, typer.Option(help="Base URL, such as http://127.0.0.1:4200/api.")] = None,
    cpu: Annotated[
        str, typer.Option(help="NAME=PID[,NAME=PID...]: process trees whose CPU time is reported per answer.")
    ] = "",
    workloads: WorkloadsOption = _ALL_WORKLOADS,
    concurrency: ConcurrencyOption = "1,16,64",
    seconds: SecondsOption = 5.0,
    warmup: WarmupOption = 1.0,
    repetitions: RepetitionsOption = 1,
    output: OutputOption = None,
) -> None:
    """Measure the server under --base. Exit status 1 when the work of a window was not found done."""
    if context.invoked_subcommand:
        return
    if base is None:
        raise typer.BadParameter("give --base URL, or the command compare")
    try:
        api = Api(base)
    except BadBaseUrl as error:
        raise typer.BadParameter(str(error)) from None
    plan = _plan(workloads, concurrency, seconds, warmup, repetitions)
    target = Target("server", api, _pids(cpu))
    console, lines = _console(), JsonLines(output or _new_output())
    facts = environment(plan, None, None) | {"base": base}
    lines.write("environment", facts)
    with _stopped_by_signals():
        measured = _measure(console, lines, windows([target], plan))
    print_environment(console, facts)
    print_windows(console, measured)
    _finish(console, lines, measured)


@app.command()
def compare(
    prefect_python: Annotated[
        Path | None,
        typer.Option(help="Python of the environment that holds prefect and asyncpg. Without it Prefect is left out."),
    ] = None,
    postgres_bin: Annotated[Path, typer.Option(help="Folder of PostgreSQL's programs.")] = USUAL_BINARIES,
    workers: Annotated[str, typer.Option(help="Comma-separated: Flowledger is run with so many workers.")] = "1,2",
    workloads: WorkloadsOption = _ALL_WORKLOADS,
    concurrency: ConcurrencyOption = "1,16,64",
    seconds: SecondsOption = 5.0,
    warmup: WarmupOption = 1.0,
    repetitions: RepetitionsOption = 3,
    output: OutputOption = None,
) -> None:
    """Measure Flowledger, a Prefect server and a bare echo in turn, in one run, and print the ratios.

    All servers use one throw-away PostgreSQL with fsync and synchronous_commit on. Exit status 1 when the work of a
    window was not found done.
    """
    plan = _plan(workloads, concurrency, seconds, warmup, repetitions)
    worker_counts = _numbers(workers, "--workers")
    console, lines = _console(), JsonLines(output or _new_output())
    try:
        with _stopped_by_signals(), contenders(postgres_bin, prefect_python, worker_counts) as started:
            facts = environment(plan, started, prefect_python)
            lines.write("environment", facts)
            measured = _measure(console, lines, windows(started.targets(), plan))
    except (NoPostgres, ServerDidNotStart) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    print_environment(console, facts)
    print_windows(console, measured)
    found = ratios(measured)
    for ratio in found:
        lines.write("ratio", asdict(ratio))
    print_ratios(console, found)
    _finish(console, lines, measured)


def _measure(console: Console, lines: JsonLines, measured: Iterable[Window]) -> list[Window]:
    kept = []
    for window in measured:
        lines.write("window", asdict(window) | {"verified": window.verified})
        console.print(describe(window), highlight=False, markup=False, soft_wrap=True)
        kept.append(window)
    return kept


def _finish(console: Console, lines: JsonLines, measured: list[Window]) -> None:
    disturbance = max(window.others_cpu for window in measured)
    if disturbance > _QUIET:
        console.print(f"Other processes used up to {disturbance:.0%} of the machine: the figures are disturbed.")
    console.print(f"All records: {lines.path}", soft_wrap=True)
    unverified = sum(not window.verified for window in measured)
    if unverified:
        console.print(f"{unverified} of {len(measured)} windows were not verified.", style="red")
        raise typer.Exit(1)


def _plan(workloads: str, concurrency: str, seconds: float, warmup: float, repetitions: int) -> Plan:
    names = [name.strip() for name in workloads.split(",")]
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        raise typer.BadParameter(f"there is no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    return Plan(names, _numbers(concurrency, "--concurrency"), repetitions, Timing(warmup, seconds))


def _numbers(text: str, option: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise typer.BadParameter(f"{option} takes numbers from 1 up, such as 1,16,64, not {text!r}")
    return numbers


def _pids(text: str) -> dict[str, int]:
    """Reads `server=PID,db=PID`."""
    pids = {}
    for part in filter(None, text.split(",")):
        name, _, pid = part.partition("=")
        if not name or not pid.isdigit():
            raise typer.BadParameter(f"--cpu takes NAME=PID, such as server=123,db=456, not {part!r}")
        pids[name] = int(pid)
    return pids


def _console() -> Console:
    # Where nobody watches, lines are for a log, whose width is not the terminal's.
    return Console() if sys.stdout.isatty() else Console(width=170)


def _new_output() -> Path:
    return Path(tempfile.gettempdir()) / time.strftime("flowledger-benchmark-%Y%m%d-%H%M%S.jsonl")


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Ends the block on Ctrl-C and its like by way of an exception, so that every started server is stopped."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, frame: FrameType | None) -> None:
        # Once is enough: another one must not interrupt the stopping.
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command()
def rules(
    runs: Annotated[int, typer.Option(min=10, help="Runs of each kind and dialect.")] = 2000,
) -> None:
    """Measure what deciding about a transition costs by itself: rules, fold and event, without any I/O."""
    table = Table("dialect", "kind", "transitions", "CPU, median", "first and last tenth")
    for cost in costs_of_deciding(runs):
        spread = f"{cost.low:.0f}-{cost.high:.0f} us"
        table.add_row(cost.dialect, cost.kind, str(cost.transitions), f"{cost.middle:.0f} us", spread)
    Console().print(table)


@app.command()
def queries(
    prefect_python: Annotated[
        Path | None,
        typer.Option(help="Python of the environment that holds prefect and asyncpg. Without it Prefect is left out."),
    ] = None,
    postgres_bin: Annotated[Path, typer.Option(help="Folder of PostgreSQL's programs.")] = USUAL_BINARIES,
    sizes: Annotated[str, typer.Option(help="Comma-separated numbers of flow runs.")] = "100000,1000000",
    prefect_sizes: Annotated[str, typer.Option(help="The sizes at which Prefect is measured as well.")] = "100000",
    concurrency: ConcurrencyOption = "1",
    seconds: SecondsOption = 3.0,
    warmup: WarmupOption = 1.0,
    repetitions: RepetitionsOption = 3,
    output: OutputOption = None,
) -> None:
    """Measure lists, counts, histories and graphs over many runs, next to a Prefect server with the same data.

    All servers use one throw-away PostgreSQL. Exit status 1 when servers answered differently or not at all.
    """
    plan = QueryPlan(
        _numbers(sizes, "--sizes"),
        _numbers(prefect_sizes, "--prefect-sizes"),
        _numbers(concurrency, "--concurrency"),
        repetitions,
        Timing(warmup, seconds),
    )
    console, lines = _console(), JsonLines(output or _new_output())
    try:
        with _stopped_by_signals():
            measured = _measure(console, lines, query_windows(plan, postgres_bin, prefect_python))
    except (NoPostgres, ServerDidNotStart) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    console.print(query_table(measured))
    _finish(console, lines, measured)


@app.command()
def rebuild(
    postgres_bin: Annotated[Path, typer.Option(help="Folder of PostgreSQL's programs.")] = USUAL_BINARIES,
    flow_runs: Annotated[
        int, typer.Option(min=100, help="Flow runs in the ledger; 162,000 make 1,000,000 events.")
    ] = 162_000,
    transitions: Annotated[float, typer.Option(min=1, help="Transitions a second that go on.")] = 200.0,
    seconds: Annotated[float, typer.Option(min=1, help="For how long the load is measured by itself.")] = 15.0,
    repetitions: RepetitionsOption = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that fold.")] = 2,
    output: OutputOption = None,
) -> None:
    """Measure rebuilds of the read tables, verified, while transitions go on.

    Exit status 1 when an answer was bad or the tables differ afterwards from what the events make.
    """
    console, lines = _console(), JsonLines(output or _new_output())
    plan = RebuildPlan(flow_runs, transitions, seconds, repetitions, jobs)
    measured = []
    try:
        with _stopped_by_signals():
            for window in rebuild_windows(plan, postgres_bin):
                lines.write("rebuild", asdict(window))
                measured.append(window)
    except (NoPostgres, ServerDidNotStart, RebuildFailed) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    console.print(rebuild_table(measured))
    console.print(f"All records: {lines.path}", soft_wrap=True)
    raise typer.Exit(any(window.bad_answers or window.differences_afterwards for window in measured))
