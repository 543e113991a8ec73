"""The process that serves: how it starts, shares its port, survives its parts and stops."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from api.embedded_postgres import embedded_postgres
from api.serving.address import AddressUnusable, bind_shared, take_address, take_shared_address
from api.serving.signals import StopSignals
from api.serving.worker import Assignment
from api.settings import Settings
from api.version import VERSION
from tests.support.server_process import is_alive, wait_until

REPOSITORY = Path(__file__).parents[2]
SERVE = """
import sys
from api.server import serve
from api.settings import Settings
sys.exit(serve(Settings(), app_factory=sys.argv[1]))
"""
STAND_IN = "tests.scripts.stand_in_app:create_app"
BROKEN = "tests.scripts.stand_in_app:create_broken_app"


@dataclass
class Server:
    """A server process of a test and the base URL it printed."""

    process: "subprocess.Popen[str]"
    url: str
    errors: Path

    @property
    def port(self) -> int:
        return httpx.URL(self.url).port or 0

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}/{path}", timeout=60)

    def pids(self, count: int) -> set[int]:
        """The ids of the processes that answer, once there are `count` of them."""
        found: set[int] = set()
        wait_until(lambda: len(found.add(self.get("process").json()["pid"]) or found) >= count, seconds=30)
        return found

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=30)


def is_closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def environment(**settings: object) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("FLOWLEDGER_")}
    return others | {f"FLOWLEDGER_{name.upper()}": str(value) for name, value in settings.items()}


@contextmanager
def serving(errors: Path, **settings: object) -> Iterator[Server]:
    """A server with the stand-in application on a free port; killed at the end if the test did not stop it."""
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", SERVE, STAND_IN],
            cwd=REPOSITORY,
            env=environment(port=0, **settings),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            named = next((line for line in lines if line.startswith("PREFECT_API_URL=")), None)
            assert named is not None, errors.read_text()
            yield Server(process, named.strip().removeprefix("PREFECT_API_URL=").removesuffix("/api"), errors)
        finally:
            process.kill()


def run(*command: str, **settings: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def errors(tmp_path: Path) -> Path:
    return tmp_path / "errors.txt"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_server_stops_cleanly_with_all_its_processes(
    tmp_path: Path, errors: Path, workers: int, how: signal.Signals
) -> None:
    data_dir = tmp_path / "data"
    with serving(errors, data_dir=data_dir, workers=workers) as server:
        assert server.get("database").json() == [1]
        pids = server.pids(workers)
        assert (server.process.pid in pids) is (workers == 1)
        pids.add(int((data_dir / "cluster" / "postmaster.pid").read_text().splitlines()[0]))
        assert server.stop(how) == 0
        wait_until(lambda: not any(map(is_alive, pids)), seconds=30)
        assert is_closed(server.port)
        # Where the ledger stood when the server began is all that there is to say.
        assert ["the head of the ledger" in line for line in errors.read_text().splitlines()] == [True]


def test_it_says_where_the_api_the_documentation_and_the_data_are(errors: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVE, STAND_IN]
    settings = environment(port=0, data_dir=tmp_path / "data")
    with subprocess.Popen(command, cwd=REPOSITORY, env=settings, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = "".join(process.stdout.readline() for _ in range(3))
        process.terminate()
    assert re.search(r"ready at (http://127\.0\.0\.1:\d+)/api, its documentation at \1/docs\.$", said, re.MULTILINE)
    assert f"Its data is in {tmp_path / 'data'}." in said
    assert re.search(r"^PREFECT_API_URL=http://127\.0\.0\.1:\d+/api$", said, re.MULTILINE)


def test_requests_under_way_are_answered_before_the_server_stops(errors: Path, conninfo: str) -> None:
    with (
        serving(errors, database_url=conninfo, grace_seconds=600) as server,
        ThreadPoolExecutor() as pool,
    ):
        slow = pool.submit(server.get, "until_the_door_is_closed")
        assert server.get("when_under_way").is_success
        assert server.stop() == 0
        assert slow.result().text == "the door is closed"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_ctrl_c_does_not_wait_for_requests_under_way(errors: Path, conninfo: str, workers: int) -> None:
    with (
        serving(errors, database_url=conninfo, workers=workers, grace_seconds=600) as server,
        ThreadPoolExecutor() as pool,
    ):
        for _ in range(8):
            pool.submit(server.get, "for_ever")
        assert server.get("when_under_way").is_success
        server.process.send_signal(signal.SIGINT)
        wait_until(lambda: is_closed(server.port), seconds=30)
        assert server.stop(signal.SIGINT) == 0


def test_workers_have_the_settings_of_their_parent(errors: Path, conninfo: str) -> None:
    with serving(errors, database_url=conninfo, workers=2, page_limit=77) as server:
        assert server.get("process").json()["page_limit"] == 77
        assert server.stop() == 0


def test_settings_reach_a_worker_unchanged_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"database_url": "host=here password=sesame", "payload_keys": "/keys", "encryption_key": "A" * 43 + "="}
    settings = Settings(**secrets, page_limit=77, data_dir=Path("/data"))
    address, listener = take_address("127.0.0.1", 0)
    listener.close()
    told = Assignment.of(settings, "host=here", STAND_IN, address).model_dump_json()
    monkeypatch.setenv("FLOWLEDGER_PAGE_LIMIT", "5")
    monkeypatch.setenv("FLOWLEDGER_DATABASE_URL", "host=elsewhere")
    understood = Assignment.model_validate_json(told)
    assert understood.read_settings() == settings
    assert understood.address == address


def test_a_password_is_not_among_the_arguments_of_any_process(errors: Path, conninfo: str) -> None:
    with serving(errors, database_url=f"{conninfo} password=sesame", workers=2) as server:
        pids = [server.process.pid, *server.pids(2)]
        arguments = [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids]
        assert all(part.startswith(sys.executable) for part in arguments)
        assert "sesame" not in "".join(arguments)
        assert server.stop() == 0
    assert "sesame" not in errors.read_text()


def test_a_dead_worker_is_replaced(errors: Path, conninfo: str) -> None:
    with serving(errors, database_url=conninfo, workers=2) as server:
        victim, survivor = server.pids(2)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: "died and is replaced" in errors.read_text(), seconds=30)
        pids = server.pids(2)
        assert survivor in pids
        assert victim not in pids
        assert server.stop() == 0


def test_workers_end_when_their_parent_is_killed_and_the_next_start_takes_over(tmp_path: Path, errors: Path) -> None:
    data_dir = tmp_path / "data"
    with (
        serving(errors, data_dir=data_dir, workers=2, grace_seconds=600) as server,
        ThreadPoolExecutor() as pool,
    ):
        workers = server.pids(2)
        pool.submit(server.get, "for_ever")
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not any(map(is_alive, workers)), seconds=30)
        assert is_closed(server.port)
    with serving(errors, data_dir=data_dir, workers=2) as server:
        assert server.get("database").json() == [1]
        assert server.stop() == 0
    assert not (data_dir / "cluster" / "postmaster.pid").exists()


def test_a_database_killed_under_a_running_server_is_started_again(tmp_path: Path, errors: Path) -> None:
    data_dir = tmp_path / "data"
    with serving(errors, data_dir=data_dir) as server:
        os.kill(int((data_dir / "cluster" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
        wait_until(lambda: "was started again" in errors.read_text(), seconds=30)
        assert server.get("database").json() == [1]
        assert server.stop() == 0


def test_a_server_leaves_the_database_to_another_user_of_its_directory(tmp_path: Path, errors: Path) -> None:
    with embedded_postgres(tmp_path / "data") as other, serving(errors, data_dir=tmp_path / "data") as server:
        assert server.stop() == 0
        assert not other.restart_if_gone()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_application_that_does_not_start_ends_the_server_with_an_error(conninfo: str, workers: int) -> None:
    done = run("-c", SERVE, BROKEN, database_url=conninfo, port=0, workers=workers)
    assert done.returncode == 1
    assert "this application is broken" in done.stderr
    assert "PREFECT_API_URL" not in done.stdout


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_is_said_in_one_sentence(tmp_path: Path, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        options = ("--port", port, "--workers", workers, "--data-dir", str(tmp_path / "data"))
        done = run("-m", "scripts.cli", "serve", *options)
    assert done.returncode == 1
    assert done.stderr == f"Cannot listen on 127.0.0.1 port {port}: address already in use.\n"
    assert not (tmp_path / "data").exists()


def test_a_port_that_another_server_shares_among_its_workers_counts_as_in_use() -> None:
    address, reserved = take_shared_address("127.0.0.1", 0)
    with reserved, bind_shared(address) as worker:
        worker.listen()
        with pytest.raises(AddressUnusable, match="already in use"):
            take_shared_address("127.0.0.1", address.port)


def test_a_name_without_an_address_is_said_in_one_sentence() -> None:
    with pytest.raises(AddressUnusable, match=r"^Cannot listen on no-such-host\.invalid port 0: .*\.$") as refusal:
        take_address("no-such-host.invalid", 0)
    assert (refusal.value.host, refusal.value.port) == ("no-such-host.invalid", 0)


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost", "127.0.0.1"])  # noqa: S104
def test_the_printed_address_can_be_used_on_this_machine(host: str) -> None:
    address, listener = take_address(host, 0)
    with listener:
        assert address.url == f"http://127.0.0.1:{address.port}"


def test_an_unusable_database_is_said_in_one_sentence() -> None:
    done = run("-m", "scripts.cli", "serve", "--port", "0", database_url="postgresql://me:sesame@127.0.0.1:1/ledger")
    assert done.returncode == 1
    assert re.fullmatch(r"The database \(host=127\.0\.0\.1 port=1 .*\) cannot be reached: .*\.\n", done.stderr)
    assert "sesame" not in done.stderr


def test_a_database_in_which_no_tables_may_be_made_is_said_in_one_sentence(empty_database: str) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute("CREATE ROLE guest")
    try:
        as_guest = f"{empty_database} options='-c role=guest'"
        done = run("-m", "scripts.cli", "serve", "--port", "0", database_url=as_guest)
        assert done.returncode == 1
        assert re.fullmatch(r"The tables of .* cannot be made: permission denied for database .*\.\n", done.stderr)
    finally:
        with psycopg.connect(empty_database) as connection:
            connection.execute("DROP ROLE guest")


def test_settings_that_cannot_be_used_are_named_one_a_line() -> None:
    done = run("-m", "scripts.cli", "serve", "--workers", "0", port="many")
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["FLOWLEDGER_PORT", "FLOWLEDGER_WORKERS"]


def test_help_names_every_command_and_version_prints_the_version() -> None:
    described = run("-m", "scripts.cli", "--help").stdout
    assert "serve" in described
    assert "version" in described
    assert run("-m", "scripts.cli", "version").stdout == f"{VERSION}\n"


def test_the_first_request_to_stop_interrupts_a_start_and_later_ones_do_not_disturb_its_clean_up() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_request_to_stop_is_handed_to_the_server_that_runs() -> None:
    received = []
    with StopSignals() as signals:
        signals.hand_to(lambda number, frame: received.append(number))
        signal.raise_signal(signal.SIGHUP)
        signals.ignore()
        signal.raise_signal(signal.SIGINT)
    assert received == [signal.SIGHUP]
