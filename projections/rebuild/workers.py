"""Processes that work off tasks on connections of their own, and end when the one that started them does."""

import contextlib
import gc
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import Connection

from domain.events import EventMapper
from projections.connection import first_line
from projections.payload_keys.opening import mapper_for

NICENESS = 19
"""How far workers, and their sessions where those are on this machine, stand back behind those who serve (nice(2))."""

_OPTIONS = (
    "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c jit=off -c timezone=UTC"
    " -c synchronous_commit=off -c maintenance_work_mem=256MB -c max_parallel_maintenance_workers=0"
    " -c max_parallel_workers_per_gather=0"
)

_WRITE_STEADILY = """
SELECT set_config(name, least(64, max_val::integer)::text, false) FROM pg_settings WHERE name = 'backend_flush_after'
"""
"""Has the system write tables to disk every 512 kB, where it can: else it writes a lot at once, and commits wait."""


class WorkerFailed(Exception):
    """A task could not be done; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The work could not be done: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Tools:
    """What a worker works with: a reader that sees the ledger and its rows as of one moment, and a writer.

    `mapper` reads events.
    """

    reader: Connection
    writer: Connection
    mapper: EventMapper


Task = Callable[[Tools], Any]
"""A piece of work, as an object that can be sent to another process; its result is sent back."""


@dataclass(frozen=True)
class _Failure:
    reason: str


class Workers:
    """So many processes that see the database as of one exported snapshot, whose transaction must stay open meanwhile.

    A context: its end stops them. With one, the work is done in this process. `keys` is where those of payloads are.
    """

    def __init__(self, number: int, conninfo: str, snapshot: str, keys: str | None = None) -> None:
        self._number = number
        self._begin_with = conninfo, snapshot, keys
        self._stack = contextlib.ExitStack()
        self._tools: Tools | None = None
        self._pipes: list[Any] = []
        self._processes: list[Any] = []

    @property
    def half(self) -> int:
        """Half of them, but one at least."""
        return max(1, self._number // 2)

    def __enter__(self) -> Self:
        if self._number == 1:
            self._tools = self._stack.enter_context(_opened(*self._begin_with))
            return self
        # A copy of this process would hold its connections to the database, and its ends of the pipes.
        context = get_context("spawn")
        for _ in range(self._number):
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, *self._begin_with), daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            if failure[0] is not None:
                process.terminate()
            process.join()

    def results(self, tasks: Iterable[Task], *, at_once: int | None = None) -> Iterator[Any]:
        """Have tasks done, each as soon as there is a worker for it, or at most so many at once; give their results.

        These come as they are there. Raises WorkerFailed, after which nothing more is to be asked of these workers.
        """
        if self._tools is not None:
            yield from (_done_here(task, self._tools) for task in tasks)
            return
        pipes = self._pipes[:at_once]
        waiting, idle, busy = iter(tasks), list(pipes), 0
        while True:
            while idle and (task := next(waiting, None)) is not None:
                idle.pop().send(task)
                busy += 1
            if not busy:
                return
            for pipe in wait([pipe for pipe in pipes if pipe not in idle]):
                result = _received(pipe)
                idle.append(pipe)
                busy -= 1
                yield result


def _done_here(task: Task, tools: Tools) -> Any:
    try:
        return task(tools)
    except Exception as error:
        raise WorkerFailed(_reason(error)) from error


def _received(pipe: Any) -> Any:
    try:
        result = pipe.recv()
    except EOFError:
        raise WorkerFailed("one of the processes ended") from None
    if isinstance(result, _Failure):
        raise WorkerFailed(result.reason)
    return result


def _work(pipe: Pipe, conninfo: str, snapshot: str, keys: str | None) -> None:
    """Do what comes through the pipe until there is nobody at the other end."""
    # A Ctrl-C is for the process that started this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    if hasattr(os, "SCHED_IDLE"):
        # Whoever serves runs at once (sched(7), Linux); niceness alone made it wait for its turn.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    # What is folded has no cycles; looking for some took a tenth of the time.
    gc.disable()
    try:
        with _opened(conninfo, snapshot, keys) as tools:
            while True:
                task = pipe.recv()
                pipe.send(task(tools))
    except EOFError:
        return
    except Exception as error:
        with contextlib.suppress(OSError):
            pipe.send(_Failure(_reason(error)))


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


@contextlib.contextmanager
def _opened(conninfo: str, snapshot: str, keys: str | None) -> Iterator[Tools]:
    with (
        psycopg.connect(conninfo, options=_OPTIONS, autocommit=True) as reader,
        psycopg.connect(conninfo, options=_OPTIONS, autocommit=True) as writer,
    ):
        for connection in (reader, writer):
            _stand_back(connection)
            connection.execute(_WRITE_STEADILY)
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        reader.execute(psycopg.sql.SQL("SET TRANSACTION SNAPSHOT {}").format(snapshot))
        yield Tools(reader, writer, mapper_for(keys))


def _stand_back(connection: Connection) -> None:
    """Let a session's process on this machine stand back too; one elsewhere, or of somebody else, stays as it is."""
    pid = connection.info.backend_pid
    with contextlib.suppress(OSError):
        # A socket may lead into a container, where the same number means another process.
        if connection.info.host.startswith("/") and Path(f"/proc/{pid}/comm").read_text() == "postgres\n":
            os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
