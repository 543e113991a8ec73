"""The command that verifies a ledger, and how it tells a person, or a program, what it found."""

import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Annotated

import psycopg
import typer
from pydantic import SecretStr
from pydantic_core import to_json
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from api.database import DatabaseUnusable, open_ledger
from api.serving.logs import configure_logging
from projections.connection import first_line
from projections.rebuild.alone import Busy
from projections.rebuild.rebuilding import TablesReplaced
from projections.schema import make_room_for_archives
from projections.verify.archive_files import FILES, CheckFiles
from projections.verify.expected import Expected
from projections.verify.verification import INSPECTIONS, Checked, Inspection, Report, verify
from projections.verify.verification import Progress as Tell
from scripts.options import failed, option_for, read_settings

CLEAN, FAULTY = 0, 2
"""Exit codes: nothing was found, something was found."""

STANDARD_OUTPUT = Path("-")


def verify_ledger(
    data_dir: Annotated[Path | None, option_for("data_dir")] = None,
    database_url: Annotated[str | None, option_for("database_url")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes that read. Default: one a core.", show_default=False)
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(
            metavar="[POSITION:]HASH",
            help="A head noted down earlier, elsewhere: the ledger must have it still. Without one nobody can tell"
            " whether the end of the ledger was removed.",
            show_default=False,
        ),
    ] = None,
    archive: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR", help="Hold the files of this archive against the ledger as well.", show_default=False
        ),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(help="File for a report that programs can read; - for standard output.", show_default=False),
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="Most findings of one check that are shown.")] = 10,
) -> None:
    """Check that a ledger is as it was written, whether or not a server runs on it.

    Positions and versions have no gaps, every event can be read and folded, the chain of seals is whole, natural keys
    are those of the events. Exit code 0: all is well; 2: something was found; 1: it could not be checked.
    """
    url = SecretStr(database_url) if database_url is not None else None
    settings = read_settings(data_dir=data_dir, database_url=url)
    configure_logging("warning")
    started = monotonic()
    try:
        expected = None if expect is None else Expected.parse(expect)
        with open_ledger(settings) as database, _progress() as tell:
            make_room_for_archives(database.conninfo)
            files = [Inspection((FILES,), CheckFiles(directory)) for directory in archive or ()]
            report = verify(
                database.conninfo,
                jobs=jobs,
                expected=expected,
                inspections=[*INSPECTIONS, *files],
                progress=tell,
                keys=settings.keys_at,
            )
        if json is not None:
            _write(json, report)
    except (DatabaseUnusable, ValueError) as refusal:
        raise failed(str(refusal)) from None
    except (Busy, TablesReplaced) as refusal:
        raise failed(str(refusal)) from None
    except BrokenProcessPool:
        raise failed("A process that was reading the ledger ended too early; with fewer --jobs it may work.") from None
    except (psycopg.Error, OSError) as error:
        raise failed(f"The ledger cannot be checked: {first_line(error)}") from None
    console = Console(soft_wrap=True, highlight=False, markup=False, stderr=json == STANDARD_OUTPUT)
    _print(console, report, show, monotonic() - started)
    raise typer.Exit(FAULTY if report.number else CLEAN)


@contextmanager
def _progress() -> Iterator[Tell]:
    """What tells a person at a terminal how far it is and how long it will take; it tells nobody else."""
    console = Console(stderr=True)
    columns = (
        TextColumn("Reading the ledger"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _write(place: Path, report: Report) -> None:
    text = to_json(report.as_data(), indent=2) + b"\n"
    if place == STANDARD_OUTPUT:
        sys.stdout.buffer.write(text)
    else:
        place.write_bytes(text)


def _print(console: Console, report: Report, show: int, seconds: float) -> None:
    table = Table()
    table.add_column("check")
    table.add_column("looked at", justify="right")
    table.add_column("found", justify="right")
    for checked in report.checked:
        found = checked.found
        outcome = Text(f"{found.number:,}", "bold red") if found.number else Text("ok", "green")
        table.add_row(checked.check.name, f"{found.looked_at:,} {checked.check.unit}", outcome)
    console.print(table)
    for checked in report.checked:
        _print_findings(console, checked, show)
    head = report.head
    console.print(f"Ledger {head.ledger_id} stands at position {head.position:,} with the hash {head.hash.hex()}.")
    if report.grown_by is not None:
        console.print(_growth(report.grown_by))
    outcome = "Nothing is wrong" if not report.number else f"{report.number:,} {_findings(report.number)}"
    console.print(f"{outcome}; it took {seconds:.1f} s.")
    if not report.number:
        console.print("To find out next time whether the end was removed, keep this elsewhere and give it back:")
        console.print(f"--expect {head.position}:{head.hash.hex()}")


def _print_findings(console: Console, checked: Checked, show: int) -> None:
    found = checked.found
    if not found.number:
        return
    console.print(
        f"{checked.check.name}: {found.number:,} {_findings(found.number)}. {checked.check.law}", style="bold"
    )
    for finding in found.findings[:show]:
        console.print(f"- {finding.sentence}")
    rest = found.number - min(show, len(found.findings))
    if rest:
        console.print(f"- and {rest:,} more.")


def _growth(number: int) -> str:
    if number == 0:
        return "That is the head that was expected."
    return f"It has the head that was expected, and {number:,} {'event' if number == 1 else 'events'} since."


def _findings(number: int) -> str:
    return "finding" if number == 1 else "findings"
