"""Starts child processes, waits for them by asking, and leaves none of them behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 20


@contextmanager
def stopped_afterwards(process: subprocess.Popen[bytes], signal_number: int = signal.SIGTERM) -> Iterator[None]:
    """Stops a process, which leads a session of its own, and whatever it leaves behind in its process group."""
    try:
        yield
    finally:
        process.send_signal(signal_number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Asks until the condition holds; False when the process ends or the seconds pass before it does."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(_POLL_SECONDS)
    return False


def free_port() -> int:
    """A TCP port that nobody on 127.0.0.1 listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
