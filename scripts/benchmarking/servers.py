"""Starts the servers that a comparison measures, each at its best settings, and says what they are made of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarking.api_client import Api, UnexpectedAnswer
from scripts.benchmarking.child_process import free_port, stopped_afterwards, wait_until
from scripts.benchmarking.postgres import Cluster

_ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 120

PREFECT_SETTINGS = {
    **{
        f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false"
        for service in (
            "CANCELLATION_CLEANUP",
            "CLEANUP_RECONCILER",
            "EVENT_LOGGER",
            "EVENT_PERSISTER",
            "FOREMAN",
            "LATE_RUNS",
            "PAUSE_EXPIRATIONS",
            "REPOSSESSOR",
            "SCHEDULER",
            "TASK_RUN_RECORDER",
            "TRIGGERS",
        )
    },
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EVENTS_STREAM_OUT_ENABLED": "false",
    "PREFECT_SERVER_METRICS_ENABLED": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
    # Connections beyond the pool are opened and closed with every burst, which doubled the database's share (seen).
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "5",
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "0",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
"""What makes a Prefect server spend its time on requests alone."""

_VERSIONS = """
import importlib.metadata, json, platform, sys
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found[name] = "not installed"
print(json.dumps(found))
"""


class ServerDidNotStart(Exception):
    """A server ended or stayed silent; carries its `name` and the end of its `log`."""

    def __init__(self, name: str, log: str) -> None:
        super().__init__(f"{name} did not come up; the end of its log: {log[-2000:] or '(empty)'}")
        self.name = name
        self.log = log


@dataclass(frozen=True)
class RunningServer:
    """A started server: where it answers, the root of its process tree, and how it was started."""

    name: str
    api: Api
    pid: int
    settings: dict[str, str]


@contextmanager
def flowledger(cluster: Cluster, workers: int, folder: Path, seeded: str | None = None) -> Iterator[RunningServer]:
    """Runs `flowledger serve` of this source tree on a database of its own, or on the `seeded` one."""
    name = f"flowledger-{workers}"
    database = seeded or f"flowledger_{workers}"
    if seeded is None:
        cluster.create_database(database)
    port = free_port()
    command = [sys.executable, "-m", "scripts.cli", "serve", "--port", str(port), "--workers", str(workers)]
    own = {"PYTHONPATH": str(_ROOT), "FLOWLEDGER_DATABASE_URL": cluster.url(database)}
    with _running(name, command, port, _environment("FLOWLEDGER_") | own, folder) as (api, pid):
        yield RunningServer(name, api, pid, {"workers": str(workers)})


@contextmanager
def prefect(cluster: Cluster, python: Path, folder: Path) -> Iterator[RunningServer]:
    """Runs `prefect server` from the environment of `python`, one worker, without its background services."""
    cluster.create_database("prefect")
    home = folder / "prefect-home"
    home.mkdir()
    settings = PREFECT_SETTINGS | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_DATABASE_CONNECTION_URL": cluster.url("prefect", "postgresql+asyncpg"),
    }
    environment = _environment("PREFECT_") | settings
    port = free_port()
    command = [str(python), "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    # Older servers have no such option; for them the settings alone switch the services off.
    usage = subprocess.run(  # noqa: S603 - the interpreter the user named
        [*command[:5], "--help"], env=environment, cwd=folder, check=False, capture_output=True, text=True
    ).stdout
    options = ["--no-services"] if "--no-services" in usage else []
    with _running("prefect", command + options, port, environment, folder) as (api, pid):
        private = ("PREFECT_HOME", "PREFECT_API_DATABASE_CONNECTION_URL")
        shown = {key: value for key, value in settings.items() if key not in private}
        yield RunningServer("prefect", api, pid, shown | {"options": " ".join(options)})


@contextmanager
def echo(folder: Path) -> Iterator[RunningServer]:
    """Runs the bare echo app on the uvicorn settings that Flowledger uses."""
    port = free_port()
    settings = {"loop": "uvloop", "http": "httptools", "log-level": "warning"}
    options = [part for name, value in settings.items() for part in (f"--{name}", value)]
    command = [sys.executable, "-m", "uvicorn", "scripts.benchmarking.echo_app:app", "--port", str(port), *options]
    environment = _environment("UVICORN_") | {"PYTHONPATH": str(_ROOT)}
    with _running("echo", [*command, "--no-access-log", "--no-server-header"], port, environment, folder) as (api, pid):
        yield RunningServer("echo", api, pid, settings | {"access-log": "off", "server-header": "off"})


def package_versions(python: Path, *packages: str) -> dict[str, str]:
    """The versions of Python and of the named packages in the environment of `python`."""
    command = [str(python), "-c", _VERSIONS, *packages]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - named by the user
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def _environment(without: str) -> dict[str, str]:
    """This process's environment without the settings that begin so: a user's own must not bend the figures."""
    return {name: value for name, value in os.environ.items() if not name.startswith(without)}


@contextmanager
def _running(
    name: str, command: list[str], port: int, environment: dict[str, str], folder: Path
) -> Iterator[tuple[Api, int]]:
    api = Api(f"http://127.0.0.1:{port}/api")
    log_path = folder / f"{name}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - commands made above
            command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    with stopped_afterwards(process):
        if not wait_until(lambda: _is_healthy(api), process, _START_SECONDS):
            raise ServerDidNotStart(name, log_path.read_text(errors="replace").strip())
        yield api, process.pid


def _is_healthy(api: Api) -> bool:
    try:
        api.get("/health")
    except (OSError, UnexpectedAnswer):
        return False
    return True
