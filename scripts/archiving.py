"""The commands that archive and restore runs, and how they tell a person what they would do, do and did."""

import getpass
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from pydantic import SecretStr
from pydantic_core import to_json
from rich.console import Console

from api.database import Database, DatabaseUnusable, open_ledger
from api.embedded.directories import default_data_directory
from api.serving.logs import configure_logging
from api.settings import Settings
from domain.errors import ForeignShape, PayloadKeyMissing, PayloadKeysMissing, StoreUnavailable
from domain.recording import UnwritableBatch
from projections.archive.archiving import Archiver, Outcome, Plan, plan
from projections.archive.filling import WrittenMeanwhile
from projections.archive.manifest import Damaged
from projections.archive.removing import Moved
from projections.archive.restoring import NotForThisLedger, Restoration, Restorer
from projections.connection import first_line
from projections.rebuild.alone import Busy
from projections.schema import make_room_for_archives
from scripts.options import failed, option_for, read_settings
from scripts.rebuilding import progress

DONE, SOME_LEFT = 0, 2
"""Exit codes: all was moved, some runs were left where they are."""

DRY_RUN = typer.Option("--dry-run", help="Only tell what would be done.")
YES = typer.Option("--yes", help="Do not ask first.")
JSON = typer.Option("--json", help="Tell it in JSON.")

MOST_SHOWN = 10

REFUSALS = (
    Busy,
    Damaged,
    DatabaseUnusable,
    ForeignShape,
    NotForThisLedger,
    PayloadKeyMissing,
    PayloadKeysMissing,
    StoreUnavailable,
    UnwritableBatch,
    WrittenMeanwhile,
)


def archive(
    older_than: Annotated[
        str,
        typer.Option(metavar="AGE", help="How long ago the last thing must have happened to a run: 90d, 12h, 30m."),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            help="Directory in which archives are made. Default: archives in the data directory.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[bool, DRY_RUN] = False,
    yes: Annotated[bool, YES] = False,
    json: Annotated[bool, JSON] = False,
    data_dir: Annotated[Path | None, option_for("data_dir")] = None,
    database_url: Annotated[str | None, option_for("database_url")] = None,
) -> None:
    """Move runs that ended long ago, with all that happened to them, into files, whether or not a server runs.

    A run goes together with its task runs and subflow runs, or not at all. Files are written and checked first; only
    then are events removed. It may be interrupted at any point: the next time, it is carried on with. Exit code 0: it
    was done; 2: it was, but some runs were left, for something happened to them meanwhile; 1: it could not be done.
    """
    age = _age(older_than)
    settings = _settings(data_dir, database_url)
    with _ledger(settings) as database:
        now = datetime.now(UTC)
        planned = plan(database.conninfo, now - age)
        if dry_run or not yes:
            _tell_plan(planned, json=json and dry_run)
        if dry_run:
            raise typer.Exit(DONE)
        if not planned.chosen.events and not planned.unfinished:
            if yes:
                _tell_outcomes([], json=json)
            raise typer.Exit(DONE)
        _agree(yes, "Write these into files and remove them from the ledger?")
        with progress() as report:
            archiver = Archiver(database.conninfo, _actor("archive"), _now, report)
            outcomes = archiver.archive(now - age, to or _archives(settings, database))
        _tell_outcomes(outcomes, json=json)
    raise typer.Exit(SOME_LEFT if any(outcome.moved.left for outcome in outcomes) else DONE)


def restore(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of an archive.")],
    dry_run: Annotated[bool, DRY_RUN] = False,
    yes: Annotated[bool, YES] = False,
    json: Annotated[bool, JSON] = False,
    data_dir: Annotated[Path | None, option_for("data_dir")] = None,
    database_url: Annotated[str | None, option_for("database_url")] = None,
) -> None:
    """Bring the runs of an archive back, whether or not a server runs.

    Into the ledger that they are of they come back as they were; into an empty ledger they come with the flows,
    deployments, work pools and queues that they name. Other ledgers take no archive. The files stay as they are. It may
    be interrupted at any point: the next time, it is carried on with. Exit code 0: done; 2: done, but some runs stay in
    the archive, for their keys are those of other runs by now; 1: it could not be done.
    """
    settings = _settings(data_dir, database_url)
    with _ledger(settings) as database:
        planned = Restorer(database.conninfo, _actor("restore"), _now).plan(directory)
        if dry_run or not yes or not planned.events:
            _tell_restoration(planned, json=json and dry_run)
        if dry_run or not planned.events:
            raise typer.Exit(DONE)
        _agree(yes, "Restore these?")
        with progress() as report:
            moved = Restorer(database.conninfo, _actor("restore"), _now, report, settings.keys_at).restore(directory)
        _tell_restored(moved, json=json)
    raise typer.Exit(SOME_LEFT if moved.left else DONE)


def _age(text: str) -> timedelta:
    parts = re.fullmatch(r"(\d{1,6})([dhm])", text.strip())
    if parts is None:
        raise typer.BadParameter(f"{text!r} is no age: give a number and d, h or m, such as 90d")
    unit = {"d": "days", "h": "hours", "m": "minutes"}[parts[2]]
    return min(timedelta(**{unit: int(parts[1])}), timedelta(days=365 * 1000))


def _settings(data_dir: Path | None, database_url: str | None) -> Settings:
    url = SecretStr(database_url) if database_url is not None else None
    settings = read_settings(data_dir=data_dir, database_url=url)
    configure_logging("warning")
    return settings


@contextmanager
def _ledger(settings: Settings) -> Iterator[Database]:
    """The ledger to work on; what goes wrong is told in one sentence."""
    try:
        with open_ledger(settings) as database:
            make_room_for_archives(database.conninfo)
            yield database
    except REFUSALS as refusal:
        raise failed(str(refusal)) from None
    except (psycopg.Error, OSError) as error:
        raise failed(f"It cannot be done: {first_line(error)}") from None


def _archives(settings: Settings, database: Database) -> Path:
    return (database.data_dir or settings.data_dir or default_data_directory()) / "archives"


def _actor(command: str) -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody without a name"
    return f"flowledger {command} by {user}"


def _now() -> datetime:
    return datetime.now(UTC)


def _agree(yes: bool, question: str) -> None:
    """Ask whether to go on; nobody is asked where nobody can answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise failed("Nothing was done, for nobody is there to agree to it: give --yes")
    if not typer.confirm(question):
        raise typer.Exit(DONE)


def _tell_plan(planned: Plan, *, json: bool) -> None:
    chosen = planned.chosen
    if json:
        _print_json({"chosen": chosen, "unfinished": [record.path for record in planned.unfinished]})
        return
    for record in planned.unfinished:
        print(f"The archive in {record.path} was not finished: that comes first.")
    print(
        f"{chosen.flow_runs:,} flow runs and {chosen.task_runs:,} task runs, with {chosen.events:,} events,"
        " can be archived."
    )
    if chosen.held_up_by:
        print(f"There may be more once the follower {chosen.held_up_by} has come further; it is behind.")
    if chosen.sealed_before:
        print(
            f"{chosen.sealed_before:,} more have ended, but were sealed by an earlier version, whose seals could not be"
            " checked without their events: they stay."
        )


def _tell_outcomes(outcomes: list[Outcome], *, json: bool) -> None:
    if json:
        _print_json(
            [
                {"directory": one.directory, "archive_id": one.manifest.archive_id, "moved": one.moved}
                for one in outcomes
            ]
        )
        return
    for outcome in outcomes:
        print(f"Moved {outcome.moved.runs:,} runs with {outcome.moved.events:,} events into {outcome.directory}.")
        _tell_left(outcome.moved)
    if not outcomes:
        print("There is nothing to archive.")


def _tell_restoration(planned: Restoration, *, json: bool) -> None:
    manifest = planned.manifest
    if json:
        _print_json(
            {"archive_id": manifest.archive_id, "way": planned.way, "runs": planned.runs, "events": planned.events}
        )
        return
    where = "where they were" if planned.way == "back" else "an empty ledger"
    print(f"The archive {manifest.archive_id} of {manifest.created:%Y-%m-%d %H:%M} UTC is as it was written.")
    print(f"{planned.runs:,} runs with {planned.events:,} events can be restored to {where}.")


def _tell_restored(moved: Moved, *, json: bool) -> None:
    if json:
        _print_json(moved)
        return
    print(f"Restored {moved.runs:,} runs with {moved.events:,} events.")
    _tell_left(moved)


def _tell_left(moved: Moved) -> None:
    for left in moved.left[:MOST_SHOWN]:
        print(f"- Run {left.tree}, with what belongs to it, was left: {left.why}.")
    if len(moved.left) > MOST_SHOWN:
        print(f"- and {len(moved.left) - MOST_SHOWN:,} more.")


def _print_json(data: Any) -> None:
    Console(soft_wrap=True, highlight=False, markup=False).print(to_json(data, indent=2).decode())
