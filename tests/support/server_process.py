"""The service as a user starts it: `flowledger serve` in a process of its own, on a free port of this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).parents[2]
ADDRESS = "PREFECT_API_URL="
PATIENCE = 60.0


@dataclass(frozen=True)
class ServerProcess:
    """A running server: its process, the base URL of its API, and the file of what it logs."""

    process: "subprocess.Popen[str]"
    api: str
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        url = httpx.URL(self.api)
        return url.host, url.port or 80

    def client(self) -> httpx.Client:
        """A client of its API, patient enough for any answer it owes."""
        return httpx.Client(base_url=self.api, timeout=PATIENCE)

    def stop(self) -> int:
        """Ask it to end and give its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(
    log: Path, *, data_dir: Path | None = None, database_url: str | None = None, **settings: object
) -> Iterator[ServerProcess]:
    """A server on a data directory or on a database, ready for requests; stopped at the end if it still runs.

    `log` takes its standard error; `settings` are those of the service, by their names.
    """
    chosen = {**settings, "host": "127.0.0.1", "port": 0, "data_dir": data_dir, "database_url": database_url}
    command = [sys.executable, "-m", "scripts.cli", "serve"]
    with log.open("a") as errors:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=_environment(chosen), stdout=subprocess.PIPE, stderr=errors, text=True
        )
    with process:
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if line.startswith(ADDRESS)), None)
            assert line is not None, f"the server did not start: {log.read_text()}"
            yield ServerProcess(process, line.strip().removeprefix(ADDRESS), log)
        finally:
            _end(process)


def postmaster_pid(data_dir: Path) -> int:
    """The id of the PostgreSQL that runs on a data directory."""
    return int((data_dir / "cluster" / "postmaster.pid").read_text().split()[0])


def signal_postgres(data_dir: Path, how: signal.Signals) -> None:
    """Send a signal to the PostgreSQL of a data directory, to all of its processes."""
    for pid in processes_of(postmaster_pid(data_dir)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)


def processes_of(parent: int) -> list[int]:
    """A process and all that it has started, parents first."""
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    children = [int(pid) for task in tasks for pid in task.read_text().split()]
    return [parent, *(pid for child in children for pid in processes_of(child))]


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Return as soon as the condition holds; fail when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be noticed as dead."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _environment(settings: dict[str, object]) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("FLOWLEDGER_")}
    chosen = {f"FLOWLEDGER_{name.upper()}": str(value) for name, value in settings.items() if value is not None}
    return others | chosen


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
