"""Several server processes on one port: started, replaced when they die, stopped together."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import FrameType

import structlog

from api.serving.worker import CLOSING_SECONDS, Assignment
from api.settings import Settings

RESPAWN_SECONDS = 0.5

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Ready:
    """A worker accepts connections."""

    worker: "Worker"


@dataclass(frozen=True)
class Ended:
    """A worker process is gone."""

    worker: "Worker"


@dataclass(frozen=True)
class Replace:
    """It is time to start a worker in the place of one that died."""


@dataclass(frozen=True)
class Stop:
    """Somebody asked the server to stop; a second time: to hurry."""


Event = Ready | Ended | Replace | Stop


@dataclass(eq=False)
class Worker:
    """One worker process; `is_ready` once it accepted connections."""

    process: "subprocess.Popen[bytes]"
    is_ready: bool = field(default=False)


class Supervisor:
    """Keeps as many worker processes as the settings say on one assignment until it is asked to stop."""

    def __init__(self, settings: Settings, assignment: Assignment, on_ready: Callable[[], None]) -> None:
        self._assignment = assignment
        self._count = settings.workers
        self._patience_seconds = settings.grace_seconds + CLOSING_SECONDS
        self._on_ready = on_ready
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._workers: set[Worker] = set()
        self._announced = False
        self._stopping_since: float | None = None
        self._exit_code = 0

    def handle_exit(self, number: int, frame: FrameType | None) -> None:
        """Ask for an end, as a signal handler: in good order the first time, at once the second time."""
        self._events.put(Stop())

    def run(self) -> int:
        """Run until asked to stop and until every worker is gone; 0, or 1 where no worker ever got ready."""
        try:
            for _ in range(self._count):
                self._start_worker()
            while self._workers or self._stopping_since is None:
                self._handle(self._next_event())
        finally:
            for worker in self._workers:
                worker.process.kill()
                worker.process.wait()
        return self._exit_code

    def _next_event(self) -> Event | None:
        if self._stopping_since is None:
            return self._events.get()
        left = self._stopping_since + self._patience_seconds - time.monotonic()
        try:
            return self._events.get(timeout=max(0.1, left))
        except Empty:
            return None

    def _handle(self, event: Event | None) -> None:
        match event:
            case Ready(worker):
                worker.is_ready = True
                if not self._announced and all(other.is_ready for other in self._workers):
                    self._announced = True
                    self._on_ready()
            case Ended(worker):
                self._workers.remove(worker)
                if self._stopping_since is None:
                    self._replace(worker)
            case Replace():
                if self._stopping_since is None:
                    self._start_worker()
            case Stop():
                self._signal_all(signal.SIGTERM if self._stopping_since is None else signal.SIGINT)
                self._stopping_since = self._stopping_since or time.monotonic()
            case None:
                self._signal_all(signal.SIGKILL)

    def _replace(self, worker: Worker) -> None:
        if not self._announced and not worker.is_ready:
            # It would not do better a second time, and its own words are on standard error.
            self._exit_code = 1
            self._events.put(Stop())
            return
        log.error("a server process died and is replaced", pid=worker.process.pid, exit=worker.process.returncode)
        threading.Timer(RESPAWN_SECONDS, self._events.put, [Replace()]).start()

    def _start_worker(self) -> None:
        told, tell = os.pipe()
        try:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "api.serving.worker", str(tell)],
                stdin=subprocess.PIPE,
                pass_fds=[tell],
                # Out of reach of the terminal's Ctrl-C: this process hands on what it is told.
                start_new_session=True,
            )
        finally:
            os.close(tell)
        worker = Worker(process)
        self._workers.add(worker)
        threading.Thread(target=self._attend, args=(worker, told), daemon=True).start()

    def _attend(self, worker: Worker, told: int) -> None:
        """Give a worker its assignment and turn what becomes of it into events; runs in a thread of its own."""
        with os.fdopen(told, "rb") as answers:
            if self._hand_over(worker) and answers.read(1):
                self._events.put(Ready(worker))
            answers.read()
        worker.process.wait()
        self._events.put(Ended(worker))

    def _hand_over(self, worker: Worker) -> bool:
        stdin = worker.process.stdin
        if stdin is None:
            return False
        try:
            # It stays open: its end is how a worker learns that we are gone.
            stdin.write(self._assignment.model_dump_json().encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def _signal_all(self, number: signal.Signals) -> None:
        for worker in self._workers:
            worker.process.send_signal(number)
