"""What is told of rebuilds under load: every request of the load in its order, and the figures of each rebuild."""

import itertools
import threading

from rich.console import Console

from scripts.benchmarking.load import Step
from scripts.benchmarking.paced_load import Answered, PacedResult, milliseconds, under_load
from scripts.benchmarking.rebuilds import RebuildWindow, rebuild_table
from tests.scripts.tiny_server import Request, http, serving

FAST = 10_000.0


def step(path: str, text: bytes = b"good") -> Step:
    return Step(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), 200, text)


def test_the_steps_of_a_chain_are_asked_in_order_and_each_once() -> None:
    answered, done = itertools.count(1), threading.Event()

    def answer(request: Request) -> list[bytes]:
        if next(answered) == 120:
            done.set()
        return [http(200, b"good")]

    with serving(answer) as server:
        chains = [[step(f"/{chain}/{place}") for place in range(3)] for chain in range(40)]
        with under_load(server.address, chains, FAST) as load:
            done.wait()
        asked = [path for _, (_, path, _) in server.seen]
    assert sorted(asked) == sorted(f"/{chain}/{place}" for chain in range(40) for place in range(3))
    assert all(asked.index(f"/{chain}/0") < asked.index(f"/{chain}/2") for chain in range(40))
    assert (len(load.answered), load.bad) == (120, 0)


def test_a_bad_answer_ends_its_chain_and_is_told() -> None:
    answered, done = itertools.count(1), threading.Event()

    def answer(request: Request) -> list[bytes]:
        if next(answered) == 8:
            done.set()
        return [http(500 if request[1] == "/1/1" else 200, b"good")]

    with serving(answer) as server:
        chains = [[step(f"/{chain}/{place}") for place in range(3)] for chain in range(3)]
        with under_load(server.address, chains, FAST) as load:
            done.wait()
        assert "/1/2" not in [path for _, (_, path, _) in server.seen]
    assert (len(load.answered), load.bad) == (7, 1)
    assert load.first_problem is not None and "got 500" in load.first_problem


def test_latencies_are_those_of_the_requests_that_were_due_in_a_span() -> None:
    load = PacedResult([Answered(due, due / 1000) for due in (5.0, 1.0, 3.0, 4.0, 2.0)])
    assert load.within(2.0, 5.0) == [0.002, 0.003, 0.004]
    assert milliseconds(load.within(0, 9), 0.5) == 3.0
    assert milliseconds(load.within(0, 9), 1.0) == 5.0


def test_the_table_has_a_row_for_each_rebuild() -> None:
    window = RebuildWindow(0, 1000, 2.0, 2000.0, 3.0, 4.0, 5, 6, 1.5, 2.5, 3.5, 4.5, 9.0, 0.01, 0, 0)
    console = Console(record=True, width=300)
    console.print(rebuild_table([window, window]))
    rows = [line for line in console.export_text().splitlines() if "1,000" in line]
    assert [cell.strip() for cell in rows[0].split("│")[1:-1]] == [
        *("1,000", "2.0", "500", "0.25", "3.0", "4", "5", "1.5", "3.5", "2.5", "4.5", "9", "1%", "0", "0")
    ]
    assert len(rows) == 2
