"""Environments of real clients: made once from the package index, kept in the user's cache, used by every later run."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PINS_2_7 = Path(__file__).parents[1] / "data" / "scenarios" / "constraints-2.7.12.txt"

CLIENT_2 = ("prefect==2.20.25", "anyio==4.9.0", "griffe<1", "aiohttp")
"""The last 2.x client; newer releases of the two libraries break it."""

CLIENT_2_7 = ("prefect==2.7.12", "cachetools", "aiohttp", *PINS_2_7.read_text().split())
"""The last client of Orion, with what there was in its time."""

CLIENT_3 = ("prefect>=3.8,<4", "aiohttp")
"""The newest 3.x client that the index resolves on the day the environment is made."""

COMPLETE = "complete"
"""The file that says that an environment was made to the end."""


def client_python(requirements: tuple[str, ...]) -> Path:
    """The Python of an environment that holds these requirements; made under a lock if it is not there yet.

    Raises `subprocess.CalledProcessError` when the installation fails.
    """
    home = _cache() / _digest(requirements)
    python = home / "bin" / "python"
    with _locked(home.with_suffix(".lock")):
        if not (home / COMPLETE).exists():
            # An environment cannot be moved, so it is made in place; what an interrupted run left behind goes first.
            shutil.rmtree(home, ignore_errors=True)
            for command in _commands(home, python, requirements):
                subprocess.run(command, check=True)
            (home / COMPLETE).touch()
    return python


def _commands(home: Path, python: Path, requirements: tuple[str, ...]) -> Iterator[list[str]]:
    uv = shutil.which("uv")
    if uv is not None:
        yield [uv, "venv", "--quiet", "--python", sys.executable, str(home)]
        yield [uv, "pip", "install", "--quiet", "--python", str(python), *requirements]
    else:
        yield [sys.executable, "-m", "venv", str(home)]
        yield [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]


def _cache() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    cache = Path(caches) / "flowledger-tests"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def _digest(requirements: tuple[str, ...]) -> str:
    # The interpreter belongs to the pins: an environment of one that is gone does not run.
    return hashlib.sha256("\n".join((sys.base_prefix, sys.version, *requirements)).encode()).hexdigest()[:16]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
