"""The benchmark: what its check of the work notices, how its figures are made, what it leaves behind."""

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scripts.benchmarking.api_client import Api, BadBaseUrl, UnexpectedAnswer
from scripts.benchmarking.child_process import stopped_afterwards, wait_until
from scripts.benchmarking.command import app
from scripts.benchmarking.measurement import Window, percentile
from scripts.benchmarking.process_cpu import ProcessGone, tree_cpu_seconds
from scripts.benchmarking.ratios import ratios
from tests.scripts.tiny_server import Request, http, serving

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
            return 200, len(self.find(sent)) - (self.fault == "counts are short")
        if path == "/flow_runs/filter":
            return 200, self.find(sent)[: sent["limit"]]
        if path.startswith("/flow_run_states/"):
            return 200, [{"type": state} for state in self.history[path.partition("=")[2]]]
        run_id = path.split("/")[2]
        if path.endswith("/set_state"):
            return 201, self.set_state(run_id, sent["state"]["type"])
        if self.fault == "another run is read":
            run_id = next(iter(self.runs))
        if self.fault == "another state is read":
            return 200, self.runs[run_id] | {"state": {"type": "RUNNING"}}
        return 200, self.runs[run_id]

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


def run_benchmark(
    store: TinyStore, workload: str, output: Path, concurrency: str = "2"
) -> tuple[int, str, list[dict[str, Any]]]:
    """The exit status, what was printed, and the windows written."""
    with serving(store) as server:
        arguments = ["--base", f"http://127.0.0.1:{server.address[1]}/api", "--workloads", workload]
        options = ["--concurrency", concurrency, "--seconds", "0.2", "--warmup", "0", "--output", str(output)]
        result = CliRunner().invoke(app, [*arguments, *options, "--cpu", f"server={os.getpid()}"])
    records = [json.loads(line) for line in output.read_text().splitlines()]
    return result.exit_code, result.output, [record for record in records if record["kind"] == "window"]


@pytest.mark.parametrize("workload", ["create", "lifecycle", "read-one"])
def test_a_window_whose_work_is_in_the_store_is_verified(workload: str, tmp_path: Path) -> None:
    status, printed, windows = run_benchmark(TinyStore(), workload, tmp_path / "out.jsonl", "1,3")
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
        ("create", "counts are short", "runs in any state"),
        ("create", "parameters are lost", "not created as asked"),
        ("lifecycle", "a state is lost", "went through"),
        ("lifecycle", "a state is refused", "REJECT"),
        ("lifecycle", "a run is not counted", "not booked"),
        ("lifecycle", "counts are short", "COMPLETED runs"),
        ("lifecycle", "counts are short", "untouched SCHEDULED runs"),
        ("read-one", "another run is read", "chains broken"),
        ("read-one", "another state is read", "not read as"),
        ("read-one", "counts are short", "runs to read"),
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


def test_a_comparison_without_a_postgresql_says_so_in_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["compare", "--postgres-bin", str(tmp_path)])
    assert result.exit_code == 1
    assert "there is no initdb" in result.output
    assert "Traceback" not in result.output


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

# It ends by itself in case that nothing ends it.
BUSY = "import time\nwhile time.process_time() < 20: pass"
PARENT_OF_BUSY = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"


def test_cpu_time_of_a_process_counts_its_children_and_grows() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT_OF_BUSY], start_new_session=True)
    with stopped_afterwards(parent):
        seen = [tree_cpu_seconds(parent.pid)]

        def has_grown() -> bool:
            seen.append(tree_cpu_seconds(parent.pid))
            return seen[-1] >= seen[0] + 0.3

        assert wait_until(has_grown, parent, seconds=30)
        assert seen == sorted(seen)


def test_stopping_a_process_leaves_nothing_of_its_group_behind() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT_OF_BUSY], start_new_session=True)
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
