"""The command that erases what people put into a run, and how it tells a person what was done and what may linger."""

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated
from uuid import UUID

import psycopg
import typer
from pydantic import SecretStr
from rich.console import Console

from api.database import DatabaseUnusable, open_ledger
from api.serving.logs import configure_logging
from domain.commands.command import Caller
from domain.errors import BeganInPlain, LedgerError, NotEnded
from domain.ledger import Ledger
from projections.connection import LedgerConnection, first_line
from projections.erasing import Eraser, Report
from projections.kin import parent_of, subflows_of
from projections.payload_keys.opening import open_keys
from projections.payload_keys.store import StoredKeys
from projections.recorder import PostgresLedgerRecorder
from scripts.options import IMPOSSIBLE, failed, option_for, read_settings

PATIENCE_SECONDS = 30.0
"""How long a step waits for the ledger lock, which a server with much to do holds most of the time."""

WITHOUT_KEYS = "Nothing can be erased without keys: FLOWLEDGER_PAYLOAD_KEYS does not say where they are"

LINGERS = """\
What may linger elsewhere: write-ahead log files until PostgreSQL recycles them, free space in its data files until it \
is used again, replicas until they have caught up, backups of the read tables, of telemetry and of the key store; the \
results that clients stored themselves; and other runs that were served a result of this one.\
"""


class Teller(Console):
    """Tells what was done; where nobody listens any more, what is being done goes on to its end all the same."""

    def __init__(self) -> None:
        super().__init__(soft_wrap=True, highlight=False, markup=False)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def erase(
    run_id: Annotated[
        UUID, typer.Argument(help="The id of a flow run, or of a task run outside of any.", show_default=False)
    ],
    with_subflows: Annotated[
        bool, typer.Option("--with-subflows", help="Erase the flow runs that it started as subflows, too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")] = False,
    data_dir: Annotated[Path | None, option_for("data_dir")] = None,
    database_url: Annotated[str | None, option_for("database_url")] = None,
    payload_keys: Annotated[str | None, option_for("payload_keys")] = None,
) -> None:
    """Erase for good what people put into a run that has ended, whether or not a server runs.

    Parameters, context, inputs, state messages and data, log lines and artifacts go; what happened, when and by whom
    stays, and the ledger still verifies. It may be interrupted at any point and run again. Exit code 0: it is erased;
    1: it could not be, or a subflow could not, as one that began before keys were kept.
    """
    url = None if database_url is None else SecretStr(database_url)
    keys = None if payload_keys is None else SecretStr(payload_keys)
    settings = read_settings(data_dir=data_dir, database_url=url, payload_keys=keys)
    configure_logging("warning")
    if settings.keys_at is None:
        raise failed(WITHOUT_KEYS)
    if not yes:
        typer.confirm(f"Erase the payload of run {run_id} for good?", abort=True)
    console = Teller()
    try:
        with open_ledger(settings) as database, psycopg.connect(database.conninfo, autocommit=True) as connection:
            store = open_keys(settings.keys_at)
            recorder = PostgresLedgerRecorder(LedgerConnection(database.conninfo, patience=PATIENCE_SECONDS))
            with Ledger(recorder, keyring=StoredKeys(store)) as ledger:
                _erase(Eraser(ledger, connection, store, _caller(), _teller(console)), run_id, with_subflows, console)
    except (DatabaseUnusable, LedgerError) as refusal:
        raise failed(str(refusal)) from None
    except psycopg.Error as error:
        raise failed(f"The run cannot be erased for now: {first_line(error)}") from None


def _erase(eraser: Eraser, id: UUID, with_subflows: bool, console: Console) -> None:
    subflows, refused = list(subflows_of(eraser.connection, id)), False
    eraser.erase(id)
    for subflow in subflows if with_subflows else ():
        console.print(f"Subflow {subflow}:")
        try:
            eraser.erase(subflow)
        except (BeganInPlain, NotEnded) as refusal:
            refused = True
            console.print(f"Not erased: {refusal}.")
    eraser.clear_away()
    console.print("Replaced rows were cleared away (VACUUM).")
    if subflows and not with_subflows:
        console.print(f"Not erased: {len(subflows)} subflows, which have keys of their own (--with-subflows).")
    parent = parent_of(eraser.connection, id)
    if parent is not None:
        console.print(f"Not erased: the messages of its states in run {parent}, of which it is a subflow.")
    console.print(LINGERS)
    if refused:
        raise typer.Exit(IMPOSSIBLE)


def _caller() -> Caller:
    return Caller(f"flowledger erase ({getpass.getuser()})", "prefect-3")


def _teller(console: Console) -> Report:
    return lambda what, number: console.print(f"Erased: {number:,} {what}.") if number else None
