"""The load client of the benchmark: what it sends, counts and notices."""

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from scripts.benchmarking.child_process import free_port
from scripts.benchmarking.http_answer import Answer, UnreadableAnswer, read_answer
from scripts.benchmarking.load import UNTIL_DRY, Chain, LoadFailed, LoadResult, Step, Timing
from scripts.benchmarking.load_client import LoadClient, run_in_own_process
from tests.scripts.tiny_server import Request, TinyServer, chunked, http, serving


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
    with serving(lambda request: [None] if request[1] == "/1" else [http(200, b"good")]) as server:
        result = load(server, [[step(f"/{number}")] for number in range(6)])
    assert (result.lost, result.chains_broken, result.chains_done) == (1, 1, 5)
    assert result.answers == 5


def test_a_connection_closed_after_its_last_chain_loses_nothing() -> None:
    def answer(request: Request) -> Iterator[bytes | None]:
        if request[1] == "/last":
            yield http(409, b"bad")
            yield None
        assert server.has_closed.wait(30)
        yield http(200, b"good")

    with serving(answer) as server:
        result = load(server, [[step("/slow")], [step("/last")]])
    assert (result.lost, result.chains_broken, result.chains_done) == (0, 1, 1)


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


def test_an_answer_that_comes_before_its_request_is_sent_costs_only_that_chain() -> None:
    head = b"POST /big HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    # To the server it ends with its head: it answers and hangs up while the client is still sending.
    too_long = Step(head + b"\n" * 20_000_000, 200, b"good")
    answered = [http(413, b"too long"), None]
    with serving(lambda request: answered if request[1] == "/big" else [http(200, b"good")]) as server:
        result = load(server, [[too_long], [step("/after")]], connections=1)
    assert (result.chains_broken, result.chains_done) == (1, 1)


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
