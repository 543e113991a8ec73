"""The services of one process: each does its rounds here for as long as this process holds its lock.

The lock is an advisory lock of PostgreSQL, held by the connection that the rounds work on: when the process or the
connection dies, so does the lock, and another process takes over within seconds.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from api.command_queue import CommandQueue
from api.dialect import STRICT
from api.errors import UNAVAILABLE
from api.herald import Herald
from api.reads import Reads
from api.services.service import Service, Tools, actor_of
from api.settings import Settings
from domain.commands.command import Caller
from projections import service_states
from projections.connection import CONNECT_SECONDS, first_line, session_options

LOOK_SECONDS = 2.0
"""How often a process looks whether a service that runs elsewhere has been left alone."""

STOP_SECONDS = 2.0
"""How long rounds under way may take to be broken off."""

REST_SECONDS = 0.5
"""How long a service that is woken by every commit rests at least: under load there is one all the time."""

KEEP_SECONDS = 1.0
"""How long it is not written down again that such a service is fine."""

RETRY_SECONDS = 1.0
"""How long a service waits for a database that does not serve it."""

log = structlog.get_logger(__name__)


class Shift:
    """The services of one process, from `start` to `stop`."""

    def __init__(
        self,
        services: Sequence[Service],
        conninfo: str,
        settings: Settings,
        queue: CommandQueue,
        reads: Reads,
        herald: Herald | None = None,
    ) -> None:
        self._services = services
        self._conninfo = make_conninfo(
            conninfo,
            connect_timeout=CONNECT_SECONDS,
            keepalives_idle=5,
            # Nothing that rounds write here is worth waiting for: what is state goes through the queue.
            options=session_options(settings.lock_timeout_seconds, settings.statement_timeout_seconds)
            + " -c synchronous_commit=off",
        )
        self._settings = settings
        self._queue = queue
        self._reads = reads
        self._herald = herald
        self._tasks: list[asyncio.Task[None]] = []
        self._kept: dict[str, datetime] = {}

    def start(self) -> None:
        """Begin to do rounds, on the running event loop."""
        self._tasks = [asyncio.create_task(self._serve(service), name=service.name) for service in self._services]

    async def stop(self) -> None:
        """End; a round under way is broken off, which harms nothing: the next one finds what is left to do."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            # A database that hangs is not waited for.
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)

    async def _serve(self, service: Service) -> None:
        """Do the rounds of a service for ever, whether or not the database is there; ends when it is cancelled."""
        served = True
        while True:
            try:
                held = await self._reads.run(service_states.is_held, service.name)
                served = True
                if not held:
                    await self._hold(service)
                pause = LOOK_SECONDS
            except UNAVAILABLE as error:
                if served:
                    log.warning("a service has no database for now", service=service.name, reason=first_line(error))
                served, pause = False, RETRY_SECONDS
            except Exception as error:
                log.error("a service has stumbled", service=service.name, exc_info=error)
                pause = LOOK_SECONDS
            await asyncio.sleep(pause)

    async def _hold(self, service: Service) -> None:
        """Do rounds while the lock is ours, if it is. Raises what the database raises, and then it is no longer."""
        async with await AsyncConnection.connect(
            self._conninfo, autocommit=True, application_name=f"flowledger-{service.name}"
        ) as connection:
            if not await service_states.hold(connection, service.name):
                return
            clock = asyncio.get_running_loop().time
            due = clock()
            while True:
                word = self._herald.next_word if self._herald is not None and service.woken else None
                await self.do_round(service, connection, lag_seconds=max(clock() - due, 0.0))
                due = max(due + service.interval, clock())
                if self._herald is None or word is None:
                    await asyncio.sleep(due - clock())
                else:
                    self._herald.listen()
                    await asyncio.sleep(min(REST_SECONDS, due - clock()))
                    await self._herald.wait(word, max(due - clock(), 0.0))
                    due = min(due, clock())

    async def do_round(
        self,
        service: Service,
        connection: AsyncConnection,
        *,
        lag_seconds: float = 0.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> str | None:
        """Do one round, as of the time of `clock`, and keep what became of it; None if it failed. See KEEP_SECONDS.

        Raises what says that the database does not serve; nothing else that a round raises ends the service.
        """
        started = clock()
        # What services ask for has the same meaning whichever clients are served; `strict` applies to all.
        dialect = STRICT if self._settings.dialect == STRICT else "prefect-3"
        caller = Caller(actor_of(service.name), dialect)
        did: str | None = None
        error: str | None = None
        try:
            did = await service.round(Tools(connection, self._queue, self._settings, caller), started)
        except psycopg.errors.QueryCanceled as cancelled:
            error = first_line(cancelled)
            log.warning("a round of a service took too long and was stopped", service=service.name)
        except UNAVAILABLE:
            raise
        except Exception as failure:
            error = f"{type(failure).__name__}: {first_line(failure)}"
            log.error("a round of a service failed", service=service.name, exc_info=failure)
        kept = self._kept.get(service.name)
        if service.woken and error is None and kept and (started - kept).total_seconds() < KEEP_SECONDS:
            return did
        self._kept[service.name] = started
        await service_states.keep(
            connection,
            name=service.name,
            process=f"{socket.gethostname()}:{os.getpid()}",
            started=started,
            ended=clock(),
            lag_seconds=lag_seconds,
            did=did,
            error=error,
        )
        return did
