"""A fresh checkout on a machine that has Python and an index of packages, and nothing else."""

import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

REPOSITORY = Path(__file__).parents[2]


def checkout(target: Path) -> Path:
    """Copy what a clone would hold: every file that git knows or would add."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, target / name)
    return target


def bare_environment(home: Path) -> dict[str, str]:
    """The environment of a new user: programs, and where packages come from."""
    sources = ("PIP_", "UV_", "SSL_", "HTTP", "http", "NO_PROXY", "no_proxy")
    kept = {name: value for name, value in os.environ.items() if name.startswith(sources)}
    return kept | {"HOME": str(home), "PATH": os.environ["PATH"]}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_command_makes_the_environment_and_serves(tmp_path: Path) -> None:
    fresh = checkout(tmp_path / "flowledger")
    command = [fresh / "scripts" / "serve", "--port", "0", "--data-dir", "data"]
    (tmp_path / "elsewhere").mkdir()
    with subprocess.Popen(
        command, cwd=tmp_path / "elsewhere", env=bare_environment(tmp_path), stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        said = iter(server.stdout.readline, "")
        url = next(line for line in said if line.startswith("PREFECT_API_URL=")).strip().partition("=")[2]
        assert httpx.get(f"{url}/health").json() is True
        server.terminate()
        assert server.wait(timeout=30) == 0
    assert (tmp_path / "elsewhere" / "data" / "cluster").is_dir()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_machine_without_a_python_that_will_do_is_told_so_in_one_sentence(tmp_path: Path) -> None:
    fresh = checkout(tmp_path / "flowledger")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "dirname", "cmp"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    old_python = programs / "python3"
    old_python.write_text("#!/bin/sh\nexit 1\n")
    old_python.chmod(0o755)
    done = subprocess.run([fresh / "scripts" / "serve"], env={"PATH": str(programs)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == ["No Python 3.11 or newer was found; install one, or uv."]
