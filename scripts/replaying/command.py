"""The command that tells the life of a run."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import psycopg
import typer
from pydantic import SecretStr
from rich.console import Console

from api.database import DatabaseUnusable, open_ledger
from api.errors import InvalidRequest
from api.moments import moment_of
from api.serving.logs import configure_logging
from domain.errors import UnknownTopic
from projections.as_of import Moment
from projections.connection import first_line
from projections.payload_keys.opening import mapper_for
from scripts.options import failed, option_for, read_settings
from scripts.replaying.life import InArchive, Life, read_life
from scripts.replaying.report import life_as_json, print_life

DIFFERENT = 3
"""The exit code where a verdict would be another one today."""


def replay_run(
    run_id: Annotated[UUID, typer.Argument(help="The id of a flow run or of a task run.", show_default=False)],
    as_of: Annotated[
        str | None,
        typer.Option(help="Only up to that version, or to that time (ISO 8601, with a zone).", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON, for programs.")] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Decide every recorded proposal again, by the rules of today, on the ledger as it stood just before.",
        ),
    ] = False,
    data_dir: Annotated[Path | None, option_for("data_dir")] = None,
    database_url: Annotated[str | None, option_for("database_url")] = None,
) -> None:
    """Tell the life of a run, also of one that was deleted, whether or not a server runs.

    Exit code 0: it was told; 1: there is no such run, or it cannot be read; 3: on --check, a verdict would be another
    one today.
    """
    url = SecretStr(database_url) if database_url is not None else None
    settings = read_settings(data_dir=data_dir, database_url=url)
    configure_logging("warning")
    moment = _moment(as_of)
    try:
        with (
            open_ledger(settings) as database,
            psycopg.connect(database.conninfo, options="-c jit=off -c timezone=UTC") as connection,
        ):
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            mapper = mapper_for(settings.keys_at)
            life = read_life(connection, run_id, moment, datetime.now(UTC), check=check, mapper=mapper)
    except (DatabaseUnusable, UnknownTopic, InArchive) as refusal:
        raise failed(str(refusal)) from None
    except psycopg.Error as error:
        raise failed(f"The ledger cannot be read: {first_line(error)}") from None
    if life is None:
        then = "" if as_of is None else f" as of {as_of}"
        raise failed(f"There is no flow run or task run with the id {run_id}{then}")
    _show(life, json=json, check=check)
    raise typer.Exit(DIFFERENT if life.differing else 0)


def _moment(as_of: str | None) -> Moment:
    try:
        return Moment() if as_of is None else moment_of(as_of)
    except InvalidRequest as error:
        raise typer.BadParameter(error.details[0]["msg"].replace("as_of", "--as-of")) from None


def _show(life: Life, *, json: bool, check: bool) -> None:
    if json:
        sys.stdout.buffer.write(life_as_json(life) + b"\n")
    else:
        print_life(Console(highlight=False, markup=False), life, checked=check)
