"""The benchmark: what its load client sees, what its check of the work notices, how its figures are made."""

import itertools
import json
import os
import re
import socketserver
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scripts.benchmarking.api_client import Api, BadBaseUrl, UnexpectedAnswer
from scripts.benchmarking.child_process import free_port, stopped_afterwards, wait_until
from scripts.benchmarking.command import app
from scripts.benchmarking.http_answer import Answer, UnreadableAnswer, read_answer
from scripts.benchmarking.load import UNTIL_DRY, Chain, LoadFailed, LoadResult, Step, Timing
from scripts.benchmarking.load_client import LoadClient, run_in_own_process
from scripts.benchmarking.measurement import Window, percentile
from scripts.benchmarking.process_cpu import ProcessGone, tree_cpu_seconds
from scripts.benchmarking.ratios import ratios

Request = tuple[str, str, bytes]
"""Method, path and body."""


def http(status: int, body: bytes, *headers: bytes) -> bytes:
    """An answer with a length."""
    return b"\r\n".join([b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *headers, b"", body])


def chunked(*chunks: bytes) -> bytes:
    """A chunked answer."""
    sized = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + sized


class TinyServer(socketserver.ThreadingTCPServer):
    """Sends the pieces that `answer(request)` gives, one by one, and closes the connection where it gives None."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, answer: Callable[[Request], Iterable[bytes] | None]) -> None:
        super().__init__(("127.0.0.1", 0), TinyHandler)
        self.answer = answer
        self.seen: list[tuple[int, Request]] = []
        self.address: tuple[str, int] = ("127.0.0.1", self.socket.getsockname()[1])


class TinyHandler(socketserver.StreamRequestHandler):
    """Reads requests off one connection, in turn."""

    server: TinyServer
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Serve the connection until one side ends it."""
        while line := self.rfile.readline():
            method, path, _ = line.decode().split()
            length = 0
            while (header := self.rfile.readline()) != b"\r\n":
                if header.lower().startswith(b"content-length:"):
                    length = int(header.split(b":")[1])
            request = (method, path, self.rfile.read(length))
            self.server.seen.append((self.client_address[1], request))
            pieces = self.server.answer(request)
            if pieces is None:
                return
            for piece in pieces:
                self.wfile.write(piece)


@contextmanager
def serving(answer: Callable[[Request], Iterable[bytes] | None]) -> Iterator[TinyServer]:
    with TinyServer(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def step(path: str, text: bytes = b"good", status: int = 200) -> Step:
    return Step(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), status, text)


def load(server: TinyServer, chains: Iterable[Chain], connections: int = 2, **options: Any) -> LoadResult:
    return LoadClient(server.address, chains, connections, UNTIL_DRY, **options).run()


# ---- reading answers ----


@pytest.mark.parametrize(
    ("received", "body"),
    [
        (http(200, b"hello"), b"hello"),
        (http(200, b""), b""),
        (http(200, b"0\r\n\r\n"), b"0\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok", b"ok"),
        (chunked(b"hel", b"lo"), b"hello"),
        (chunked(b"a0\r\n\r\nb"), b"a0\r\n\r\nb"),
        (chunked(), b""),
    ],
)
def test_an_answer_is_read_once_its_last_byte_has_come(received: bytes, body: bytes) -> None:
    assert [read_answer(received[:end]) for end in range(len(received))] == [None] * len(received)
    assert read_answer(received) == Answer(200, body, keeps_alive=True)


def test_an_answer_without_a_body_needs_no_length() -> None:
    assert read_answer(b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n") == Answer(204, b"", keeps_alive=True)


def test_an_answer_that_ends_its_connection_says_so() -> None:
    assert read_answer(http(200, b"x", b"Connection: Close")) == Answer(200, b"x", keeps_alive=False)


@pytest.mark.parametrize(
    "received",
    [
        b"SSH-2.0-x\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        http(200, b"x") + b"HTTP/1.1",
        chunked(b"x") + b"y",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsize\r\n",
    ],
)
def test_what_is_not_one_answer_is_refused(received: bytes) -> None:
    with pytest.raises(UnreadableAnswer):
        read_answer(received)


# ---- the load client ----


def test_every_chain_is_sent_once_and_counted() -> None:
    with serving(lambda request: [http(200, b"good")]) as server:
        result = load(server, [[step(f"/{number}")] for number in range(50)], connections=7)
    assert sorted(path for _, (_, path, _) in server.seen) == sorted(f"/{number}" for number in range(50))
    assert (result.answers, result.chains_done, result.chains_broken, result.lost) == (50, 50, 0, 0)
    assert result.statuses == {200: 50}
    assert result.ran_dry
    assert all(latency > 0 for latency in result.latencies)


def test_the_steps_of_a_chain_go_in_order_over_one_connection() -> None:
    chains = [[step(f"/{number}/{position}") for position in "abc"] for number in range(20)]
    with serving(lambda request: [http(200, b"good")]) as server:
        result = load(server, chains, connections=4)
    assert result.chains_done == 20
    by_connection: dict[int, str] = {}
    for connection, (_, path, _) in server.seen:
        by_connection[connection] = by_connection.get(connection, "") + path
    assert len(by_connection) == 4
    for paths in by_connection.values():
        assert re.fullmatch(r"(?:/(\d+)/a/\1/b/\1/c)+", paths)


@pytest.mark.parametrize("bad", [http(200, b"refused"), http(409, b"good"), chunked(b"go", b"od")[:-7] + b"0\r\n\r\n?"])
def test_an_answer_other_than_expected_breaks_its_chain_and_no_other(bad: bytes) -> None:
    def answer(request: Request) -> list[bytes]:
        return [bad if request[1] == "/1/b" else http(200, b"good")]

    chains = [[step(f"/{number}/{position}") for position in "abc"] for number in range(3)]
    with serving(answer) as server:
        result = load(server, chains)
    assert (result.chains_done, result.chains_broken) == (2, 1)
    assert "/1/c" not in [path for _, (_, path, _) in server.seen]
    assert result.first_problem


@pytest.mark.parametrize("whole", [http(200, b"a good one"), chunked(b"a go", b"od one")])
def test_an_answer_may_come_in_many_pieces(whole: bytes) -> None:
    with serving(lambda request: [whole[at : at + 3] for at in range(0, len(whole), 3)]) as server:
        result = load(server, [[step("/a"), step("/b")]] * 5)
    assert (result.answers, result.chains_done) == (10, 5)


def test_a_connection_closed_without_an_answer_loses_its_chain_and_no_other() -> None:
    with serving(lambda request: None if request[1] == "/1" else [http(200, b"good")]) as server:
        result = load(server, [[step(f"/{number}")] for number in range(6)])
    assert (result.lost, result.chains_broken, result.chains_done) == (1, 1, 5)
    assert result.answers == 5


def test_a_connection_that_an_answer_ends_is_replaced() -> None:
    with serving(lambda request: [http(200, b"good", b"Connection: close")]) as server:
        result = load(server, [[step("/a"), step("/b")]], connections=1)
    assert (result.chains_done, result.lost) == (1, 0)
    assert len({connection for connection, _ in server.seen}) == 2


def test_requests_that_are_never_answered_are_counted_as_lost() -> None:
    with serving(lambda request: [] if request[1] == "/1" else [http(200, b"good")]) as server:
        result = load(server, [[step(f"/{number}")] for number in range(4)], patience=0.2)
    assert (result.lost, result.chains_done) == (1, 3)


def test_a_request_larger_than_the_socket_takes_at_once_arrives_whole() -> None:
    body = b"x" * 20_000_000
    request = b"POST /big HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with serving(lambda request: [http(200, b"good %d" % len(request[2]))]) as server:
        result = load(server, [[Step(request, 200, b"good 20000000"), step("/after")]], connections=1)
    assert result.chains_done == 1


def test_answers_of_the_warm_up_are_counted_but_not_timed() -> None:
    with serving(lambda request: [http(200, b"good")]) as server:
        client = LoadClient(server.address, [[step("/")]] * 10, 2, Timing(warmup=3600, seconds=5))
        result = client.run()
    assert (result.answers, len(result.latencies), result.seconds) == (10, 0, 0)


def test_chains_begun_in_the_window_are_finished_after_it() -> None:
    with serving(lambda request: [http(200, b"good")]) as server:
        chains = itertools.repeat([step("/a"), step("/b"), step("/c")])
        result = LoadClient(server.address, chains, 3, Timing(warmup=0, seconds=0.05)).run()
    assert not result.ran_dry
    assert result.answers == len(server.seen) == 3 * result.chains_done
    assert 0 < len(result.latencies) <= result.answers


def test_a_load_in_its_own_process_reports_as_one_in_this() -> None:
    with serving(lambda request: [http(200, b'{"id": "%s"}' % request[1].encode())]) as server:
        chains = [[step(f"/{number}", text=b"id")] for number in range(5)]
        client = LoadClient(server.address, chains, 1, UNTIL_DRY, lambda body: str(json.loads(body)["id"]))
        result = run_in_own_process(client)
    assert result.extracted == ["/0", "/1", "/2", "/3", "/4"]
    assert len(result.latencies) == 5


def test_a_load_on_nobody_fails_in_either_process() -> None:
    nobody = ("127.0.0.1", free_port())
    with pytest.raises(LoadFailed, match="cannot connect"):
        LoadClient(nobody, [[step("/")]], 1, UNTIL_DRY).run()
    with pytest.raises(LoadFailed, match="cannot connect"):
        run_in_own_process(LoadClient(nobody, [[step("/")]], 1, UNTIL_DRY))


# ---- the work is checked ----


class TinyStore:
    """As much of the dialect as the workloads use, with the faults a test asks for."""

    def __init__(self, fault: str = "none") -> None:
        self.fault = fault
        self.runs: dict[str, dict[str, Any]] = {}
        self.history: dict[str, list[str]] = {}

    def __call__(self, request: Request) -> list[bytes]:
        method, path, body = request
        sent = json.loads(body) if body else {}
        status, answer = self.answer(method, path.removeprefix("/api"), sent)
        return [http(status, json.dumps(answer).encode())]

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, Any]:
        if path == "/flows/":
            return 201, {"id": str(uuid.uuid4())}
        if (method, path) == ("POST", "/flow_runs/"):
            return 201, self.create(sent)
        if path == "/flow_runs/count":
            return 200, len(self.find(sent))
        if path == "/flow_runs/filter":
            return 200, self.find(sent)[: sent["limit"]]
        if path.startswith("/flow_run_states/"):
            return 200, [{"type": state} for state in self.history[path.partition("=")[2]]]
        run_id = path.split("/")[2]
        if path.endswith("/set_state"):
            return 201, self.set_state(run_id, sent["state"]["type"])
        shown = next(iter(self.runs)) if self.fault == "another run is read" else run_id
        return 200, self.runs[shown]

    def create(self, sent: dict[str, Any]) -> dict[str, Any]:
        run_id = str(uuid.uuid4())
        state = sent["state"]["type"]
        books = {"state_type": state, "run_count": 0, "start_time": None, "end_time": None, "total_run_time": 0.0}
        run = {"id": run_id, **sent, "state": {"type": state}, **books}
        lost = self.fault == "a run is lost" and len(self.runs) == 5
        if not lost:
            self.runs[run_id] = run
        if self.fault == "parameters are lost":
            run["parameters"] = {}
        self.history[run_id] = [state]
        return run

    def set_state(self, run_id: str, state: str) -> dict[str, Any]:
        run = self.runs[run_id]
        run["state_type"] = state
        if not (self.fault == "a state is lost" and state == "RUNNING"):
            self.history[run_id].append(state)
        if state == "RUNNING":
            run |= {"run_count": 0 if self.fault == "a run is not counted" else 1, "start_time": "2026-01-01T00:00:00Z"}
        if state == "COMPLETED":
            run |= {"end_time": "2026-01-01T00:00:01Z", "total_run_time": 1.0}
        refused = self.fault == "a state is refused" and state == "COMPLETED"
        return {"status": "REJECT" if refused else "ACCEPT"}

    def find(self, sent: dict[str, Any]) -> list[dict[str, Any]]:
        wanted = sent["flow_runs"]
        tags = set(wanted.get("tags", {}).get("all_", ()))
        states = wanted.get("state", {}).get("type", {}).get("any_")
        ids = wanted.get("id", {}).get("any_")
        return [
            run
            for run in list(self.runs.values())
            if tags <= set(run["tags"])
            and (states is None or run["state_type"] in states)
            and (ids is None or run["id"] in ids)
        ]


def run_benchmark(store: TinyStore, workload: str, output: Path) -> tuple[int, str, list[dict[str, Any]]]:
    """The exit status, what was printed, and the windows written."""
    with serving(store) as server:
        arguments = ["--base", f"http://127.0.0.1:{server.address[1]}/api", "--workloads", workload]
        options = ["--concurrency", "1,3", "--seconds", "0.1", "--warmup", "0", "--output", str(output)]
        result = CliRunner().invoke(app, [*arguments, *options, "--cpu", f"server={os.getpid()}"])
    records = [json.loads(line) for line in output.read_text().splitlines()]
    return result.exit_code, result.output, [record for record in records if record["kind"] == "window"]


@pytest.mark.parametrize("workload", ["create", "lifecycle", "read-one"])
def test_a_window_whose_work_is_in_the_store_is_verified(workload: str, tmp_path: Path) -> None:
    status, printed, windows = run_benchmark(TinyStore(), workload, tmp_path / "out.jsonl")
    assert (status, [window["problems"] for window in windows]) == (0, [[], []]), printed
    assert [window["concurrency"] for window in windows] == [1, 3]
    for window in windows:
        assert window["requests_per_second"] > 0
        assert 0 < window["p50_ms"] <= window["p99_ms"]
        assert window["cpu_ms"]["server"] >= 0


@pytest.mark.parametrize(
    ("workload", "fault", "problem"),
    [
        ("create", "a run is lost", "PENDING runs"),
        ("create", "parameters are lost", "not created as asked"),
        ("lifecycle", "a state is lost", "went through"),
        ("lifecycle", "a state is refused", "REJECT"),
        ("lifecycle", "a run is not counted", "not booked"),
        ("read-one", "another run is read", "chains broken"),
    ],
)
def test_work_that_was_not_done_is_noticed(workload: str, fault: str, problem: str, tmp_path: Path) -> None:
    status, printed, windows = run_benchmark(TinyStore(fault), workload, tmp_path / "out.jsonl")
    assert status == 1
    assert problem in " ".join(windows[0]["problems"])
    assert "NOT VERIFIED" in printed


@pytest.mark.parametrize(
    "arguments",
    [[], ["--base", "https://x/api"], ["--base", "http://x/api", "--workloads", "wait"], ["compare", "--workers", "0"]],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_a_call_that_is_not_answered_with_success_says_what_it_got() -> None:
    with (
        serving(lambda request: [http(404, b"no such run")]) as server,
        pytest.raises(UnexpectedAnswer, match="GET /flow_runs/x was answered 404: no such run"),
    ):
        Api(f"http://127.0.0.1:{server.address[1]}/api").get("/flow_runs/x")


def test_a_base_url_without_a_host_is_refused() -> None:
    with pytest.raises(BadBaseUrl):
        Api("127.0.0.1:4200/api")


# ---- figures ----

BUSY_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"


def test_cpu_time_of_a_process_counts_its_children_and_grows() -> None:
    parent = subprocess.Popen([sys.executable, "-c", BUSY_CHILD], start_new_session=True)
    with stopped_afterwards(parent):
        seen = [tree_cpu_seconds(parent.pid)]

        def has_grown() -> bool:
            seen.append(tree_cpu_seconds(parent.pid))
            return seen[-1] >= seen[0] + 0.3

        assert wait_until(has_grown, parent, seconds=30)
        assert seen == sorted(seen)


def test_stopping_a_process_leaves_nothing_of_its_group_behind() -> None:
    parent = subprocess.Popen([sys.executable, "-c", BUSY_CHILD], start_new_session=True)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    with stopped_afterwards(parent):
        assert wait_until(lambda: bool(children.read_text()), parent, seconds=30)
        child = int(children.read_text())
    assert parent.returncode is not None
    assert gone(child)


def gone(pid: int) -> bool:
    """Whether the process ends within seconds; one that only its new parent has not reaped yet has ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_there_is_no_cpu_time_of_a_process_that_is_not_there() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(ProcessGone):
        tree_cpu_seconds(process.pid)


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_the_smallest_value_that_covers_its_share(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], share) == value


def window(server: str, repetition: int, rate: float, cpu: float, workload: str = "create") -> Window:
    costs = {"server": cpu * 0.75, "db": cpu * 0.25}
    return Window(server, workload, 64, repetition, requests_per_second=rate, cpu_ms=costs)


def test_ratios_are_taken_within_a_repetition_and_summed_up_by_their_median() -> None:
    windows = [
        *(window("flowledger-1", each, rate, 0.5) for each, rate in enumerate((1000, 2000, 4000))),
        *(window("flowledger-2", each, rate, 0.5) for each, rate in enumerate((2000, 3000, 4000))),
        *(window("prefect", each, 100, cpu) for each, cpu in enumerate((10, 12, 20))),
        *(window("echo", each, 20_000, 0.05, "echo") for each in range(3)),
    ]
    found = {(ratio.measure, ratio.over, ratio.under): ratio for ratio in ratios(windows)}
    spreads = {key: (ratio.median, ratio.lowest, ratio.highest) for key, ratio in found.items()}
    assert spreads == {
        ("cpu", "prefect", "flowledger-1"): (24, 20, 40),
        ("rate", "flowledger-1", "prefect"): (20, 10, 40),
        ("rate", "flowledger-1", "echo"): (0.1, 0.05, 0.2),
        ("cpu", "prefect", "flowledger-2"): (24, 20, 40),
        ("rate", "flowledger-2", "prefect"): (30, 20, 40),
        ("rate", "flowledger-2", "echo"): (0.15, 0.1, 0.2),
        ("rate", "flowledger-2", "flowledger-1"): (1.5, 1, 2),
    }
    assert {ratio.repetitions for ratio in found.values()} == {3}
    assert {(ratio.workload, ratio.concurrency) for ratio in found.values()} == {("create", 64)}


def test_a_window_that_is_not_verified_bears_out_no_ratio() -> None:
    windows = [window("flowledger-1", each, 1000, 0.5) for each in range(2)]
    windows += [window("prefect", each, 100, 10) for each in range(2)]
    windows[0].problems.append("nothing was done")
    assert [(ratio.measure, ratio.repetitions) for ratio in ratios(windows)] == [("cpu", 1), ("rate", 1)]
