"""The service: opens the database, makes its tables, serves the API and stops all of it in good order."""

import contextlib
import os
import socket
import sys
import time

import psycopg
import structlog
from rich.console import Console

from api.database import Database, DatabaseUnusable, check_keys, describe, open_database
from api.embedded.guard import kept_running
from api.services.head_log import log_head
from api.serving.address import Address, AddressUnusable, take_address, take_shared_address
from api.serving.http_server import ApiServer, make_server
from api.serving.logs import configure_logging
from api.serving.signals import StopSignals
from api.serving.supervisor import Supervisor
from api.serving.worker import Assignment
from api.settings import Settings
from projections.head import head_of
from projections.rebuild.rebuilding import ensure_shape
from projections.rebuild.workers import WorkerFailed
from projections.schema import create_missing

APP_FACTORY = "api.app:create_app"

SECONDS_BETWEEN_TELLING = 5
"""How often it is told how far a rebuild is."""

log = structlog.get_logger(__name__)


def serve(settings: Settings, app_factory: str = APP_FACTORY) -> int:
    """Serve the API until SIGINT, SIGTERM or SIGHUP; give the exit code of the process.

    With one worker it is served by this process, with more by processes that share the port. What cannot be used, a
    port or a database, is said in one sentence on standard error and ends with exit code 1. `app_factory` names
    ("module:function") what makes the application from settings and connection string.
    """
    configure_logging(settings.log_level)
    try:
        with StopSignals() as signals:
            return _serve(settings, app_factory, signals)
    except (AddressUnusable, DatabaseUnusable) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _serve(settings: Settings, app_factory: str, signals: StopSignals) -> int:
    take = take_address if settings.workers == 1 else take_shared_address
    with contextlib.ExitStack() as stack:
        address, listener = take(settings.host, settings.port)
        stack.enter_context(listener)
        database = stack.enter_context(open_database(settings))
        _prepare_ledger(database, settings)
        if database.embedded is not None:
            stack.enter_context(kept_running(database.embedded))
        # From here on an end is under way: what the stack holds is let go of without interruption.
        stack.callback(signals.ignore)

        def announce_ready() -> None:
            _announce(address, database)

        if settings.workers == 1:
            server = make_server(settings, database.conninfo, app_factory, announce_ready)
            signals.hand_to(server.handle_exit)
            return _run_here(server, listener)
        assignment = Assignment.of(settings, database.conninfo, app_factory, address)
        supervisor = Supervisor(settings, assignment, announce_ready)
        signals.hand_to(supervisor.handle_exit)
        return supervisor.run()


def _prepare_ledger(database: Database, settings: Settings) -> None:
    """Make the tables that are not there yet, and say where the ledger stands before anything is added to it.

    Read tables of another version of the code are rebuilt; a server of that version may go on meanwhile.
    """
    try:
        create_missing(database.conninfo)
        check_keys(settings, database, create=True)
        with psycopg.connect(database.conninfo) as connection:
            log_head(head_of(connection))
        ensure_shape(database.conninfo, os.cpu_count() or 1, _Telling(), settings.keys_at)
    except WorkerFailed as error:
        name = describe(database.conninfo)
        raise DatabaseUnusable("no_tables", name, f"The read tables of {name} cannot be rebuilt: {error}") from error
    except psycopg.Error as error:
        name = describe(database.conninfo)
        problem = str(error).strip().splitlines()[0].rstrip(".")
        raise DatabaseUnusable("no_tables", name, f"The tables of {name} cannot be made: {problem}.") from error


class _Telling:
    """Tells in the log how far a rebuild is: when another step of it begins, and every few seconds."""

    def __init__(self) -> None:
        self._step = ""
        self._told_at = 0.0

    def __call__(self, step: str, done: int, total: int) -> None:
        now = time.monotonic()
        if step != self._step or now - self._told_at > SECONDS_BETWEEN_TELLING:
            log.info("rebuilding the read tables for this version", step=step, done=done, of=total)
            self._step, self._told_at = step, now


def _run_here(server: ApiServer, listener: socket.socket) -> int:
    try:
        server.run(sockets=[listener])
    except SystemExit:
        # How uvicorn says that the application did not start; it has logged why.
        return 1
    return 0


def _announce(address: Address, database: Database) -> None:
    place = str(database.data_dir) if database.data_dir is not None else f"the database ({describe(database.conninfo)})"
    lines = (
        f"Flowledger is ready at {address.url}/api, its documentation at {address.url}/docs.",
        f"Its data is in {place}. Ctrl-C stops it. Clients find it by this setting:",
        f"PREFECT_API_URL={address.url}/api",
    )
    # Nobody may be reading any more; that is no reason not to serve.
    with contextlib.suppress(OSError):
        Console(soft_wrap=True, markup=False).print("\n".join(lines))
        sys.stdout.flush()
