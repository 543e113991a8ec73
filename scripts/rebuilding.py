"""The command that rebuilds the read tables, and how it tells a person how far it is and what became of it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from pydantic import SecretStr
from pydantic_core import to_json
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from api.database import DatabaseUnusable, open_ledger
from api.serving.logs import configure_logging
from projections.connection import first_line
from projections.rebuild.alone import Busy
from projections.rebuild.building import ALL, Report
from projections.rebuild.rebuilding import OtherShape, Plan, Rebuilt, rebuild
from projections.rebuild.swapping import TablesInUse
from projections.rebuild.workers import WorkerFailed
from scripts.options import failed, option_for, read_settings

DONE, DIFFERENT = 0, 2
"""Exit codes: all went well, the tables were not what the events make."""


def rebuild_projections(
    data_dir: Annotated[Path | None, option_for("data_dir")] = None,
    database_url: Annotated[str | None, option_for("database_url")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes that fold. Default: one a core.", show_default=False)
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE", help="Rebuild this table alone; may be given several times.", show_default=False),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Hold the tables in use against those that are made.")
    ] = False,
    swap: Annotated[
        bool, typer.Option("--swap/--no-swap", help="Let what is made take the place of the tables in use.")
    ] = True,
    show: Annotated[int, typer.Option(min=0, help="Most differences that are shown.")] = 10,
    json: Annotated[
        bool, typer.Option("--json", help="Say what became of it in JSON, all differences included.")
    ] = False,
) -> None:
    """Make the read tables anew from the ledger, whether or not a server runs on it.

    They are made beside those in use, which are untouched until, in the end, the tables change places at one moment.
    It may be interrupted at any point and run again. Exit code 0: done; 2: done, and --verify found differences between
    the tables in use and the events; 1: it could not be done, and nothing has changed.
    """
    url = SecretStr(database_url) if database_url is not None else None
    settings = read_settings(data_dir=data_dir, database_url=url)
    configure_logging("warning")
    plan = Plan(jobs or os.cpu_count() or 1, _tables(only), verify, swap, settings.keys_at)
    try:
        with open_ledger(settings) as database, progress() as report:
            rebuilt = rebuild(database.conninfo, plan, report)
    except (Busy, DatabaseUnusable, OtherShape, TablesInUse, WorkerFailed) as refusal:
        raise failed(str(refusal)) from None
    except psycopg.Error as error:
        raise failed(f"The read tables cannot be rebuilt: {first_line(error)}") from None
    if json:
        sys.stdout.buffer.write(to_json(rebuilt, indent=2) + b"\n")
    else:
        _print(rebuilt, show)
    raise typer.Exit(DIFFERENT if rebuilt.differences else DONE)


def _tables(only: list[str] | None) -> frozenset[str] | None:
    unknown = set(only or ()) - ALL
    if unknown:
        raise typer.BadParameter(f"there is no table {min(unknown)!r}; there are {', '.join(sorted(ALL))}")
    return frozenset(only) if only else None


@contextmanager
def progress() -> Iterator[Report]:
    """What tells a person at a terminal how far it is and how long it will take; it tells nobody else."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step)
            bar.update(tasks[step], completed=done, total=total or None)

        yield report


def _print(rebuilt: Rebuilt, show: int) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    rate = rebuilt.events / rebuilt.seconds if rebuilt.seconds else 0
    console.print(
        f"Made of {rebuilt.events:,} events, up to position {rebuilt.position:,},"
        f" in {rebuilt.seconds:.1f} s ({rate:,.0f}/s)."
    )
    if rebuilt.differences is not None:
        number = len(rebuilt.differences)
        console.print(f"{number:,} rows in use differed from what the events make." if number else "Nothing differed.")
        for difference in rebuilt.differences[:show]:
            console.print(f"- {difference}.")
        if number > show:
            console.print(f"- and {number - show:,} more.")
    if rebuilt.locked_seconds is None:
        console.print("The tables in use are as they were.")
        return
    console.print(
        f"{rebuilt.caught_up:,} more events were carried over before the tables changed places,"
        f" for which writers waited {1000 * rebuilt.locked_seconds:.0f} ms."
    )
