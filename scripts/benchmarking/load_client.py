"""A closed-loop HTTP/1.1 load client that leaves the processor to the server it measures.

Each connection sends the next request when the answer to the one before has come. Requests are bytes made
beforehand, answers are searched and not decoded. On the hot path it uses epoll itself: `selectors` would add about
a tenth to the cost of an answer.
"""

from __future__ import annotations

import multiprocessing
import select
import socket
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection as Pipe

from scripts.benchmarking.http_answer import Answer, UnreadableAnswer, read_answer
from scripts.benchmarking.load import Chain, LoadFailed, LoadResult, Timing

_RECEIVE_BYTES = 1 << 16


class _Connection:
    """One keep-alive connection and the chain it is working on."""

    __slots__ = ("awaits_room", "chain", "position", "received", "sent_at", "socket", "unsent")

    def __init__(self) -> None:
        self.socket: socket.socket
        self.awaits_room = False
        self.chain: Chain = ()
        self.position = 0
        self.received = b""
        self.sent_at = 0.0
        self.unsent = b""


class LoadClient:
    """Drives chains against one address over a fixed number of connections.

    `patience` is how many seconds without any answer it waits before it counts the open requests as lost.
    Raises LoadFailed when it cannot connect.
    """

    def __init__(
        self,
        address: tuple[str, int],
        chains: Iterable[Chain],
        connections: int,
        timing: Timing,
        extract: Callable[[bytes], str] | None = None,
        patience: float = 60.0,
    ) -> None:
        self._address = address
        self._chains = iter(chains)
        self._connections = connections
        self._timing = timing
        self._extract = extract
        self._patience = patience
        self._epoll: select.epoll
        self._open: dict[int, _Connection] = {}
        self._busy = 0
        self._window_start = 0.0
        self._window_end = 0.0
        self._result = LoadResult()

    def run(self) -> LoadResult:
        """Makes the load in this process and returns what it met; a client runs once."""
        with select.epoll() as self._epoll:
            try:
                return self._run()
            finally:
                for connection in self._open.values():
                    connection.socket.close()

    def _run(self) -> LoadResult:
        result = self._result
        connections = [_Connection() for _ in range(self._connections)]
        for connection in connections:
            self._connect(connection)
        cpu_before = time.process_time()
        begun = time.perf_counter()
        self._window_start = begun + self._timing.warmup
        self._window_end = self._window_start + self._timing.seconds
        for connection in connections:
            self._begin_chain(connection, time.perf_counter())
        while self._busy:
            events = self._epoll.poll(self._patience, self._connections)
            if not events:
                result.lost += self._busy
                self._note(f"no answer for {self._patience:g} s to {self._busy} requests")
                break
            for descriptor, event in events:
                connection = self._open[descriptor]
                if event & select.EPOLLOUT:
                    self._send_rest(connection)
                if event & ~select.EPOLLOUT:
                    self._receive(connection)
        result.client_cpu_seconds = time.process_time() - cpu_before
        result.seconds = max(0.0, self._window_end - self._window_start)
        return result

    def _connect(self, connection: _Connection) -> None:
        try:
            connection.socket = socket.create_connection(self._address, timeout=10)
        except OSError as error:
            raise LoadFailed(f"cannot connect to {self._address[0]}:{self._address[1]}: {error}") from error
        connection.socket.setblocking(False)
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.received = connection.unsent = b""
        connection.awaits_room = False
        self._open[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket, select.EPOLLIN)

    def _close(self, connection: _Connection) -> None:
        del self._open[connection.socket.fileno()]
        connection.socket.close()

    def _begin_chain(self, connection: _Connection, now: float) -> None:
        connection.chain = ()
        if now >= self._window_end:
            return
        chain = next(self._chains, None)
        if chain is None:
            # From here on connections fall idle: counting further would measure a lower concurrency.
            self._window_end = now
            self._result.ran_dry = True
            return
        connection.chain = chain
        connection.position = 0
        self._busy += 1
        self._send(connection, now)

    def _send(self, connection: _Connection, now: float) -> None:
        connection.sent_at = now
        connection.unsent = connection.chain[connection.position].request
        self._send_rest(connection)

    def _send_rest(self, connection: _Connection) -> None:
        try:
            sent = connection.socket.send(connection.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            # Reading from the broken connection reports the loss, in the one place that handles it.
            return
        connection.unsent = connection.unsent[sent:]
        if bool(connection.unsent) != connection.awaits_room:
            connection.awaits_room = not connection.awaits_room
            wanted = select.EPOLLIN | select.EPOLLOUT if connection.awaits_room else select.EPOLLIN
            self._epoll.modify(connection.socket, wanted)

    def _receive(self, connection: _Connection) -> None:
        if not connection.chain:
            # What comes unasked, most likely the end of the connection, concerns no request.
            self._close(connection)
            return
        try:
            received = connection.socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(connection, f"the connection broke: {error}")
            return
        if not received:
            self._lose(connection, "the server closed the connection without an answer")
            return
        if connection.received:
            received = connection.received + received
        try:
            answer = read_answer(received)
        except UnreadableAnswer as error:
            self._lose(connection, f"{error} It began {error.received!r}")
            return
        if answer is None:
            connection.received = received
            return
        connection.received = b""
        self._take(connection, answer)

    def _take(self, connection: _Connection, answer: Answer) -> None:
        now = time.perf_counter()
        result = self._result
        step = connection.chain[connection.position]
        result.statuses[answer.status] += 1
        # A server that answers before it has read the whole request takes no other one on this connection.
        if not answer.keeps_alive or connection.unsent:
            self._close(connection)
            self._connect(connection)
        if answer.status != step.status or step.text not in answer.body:
            self._note(
                f"expected {step.status} with {step.text!r}, got {answer.status} with {answer.body[:300]!r} "
                f"for {step.request[:80]!r}"
            )
            result.chains_broken += 1
        else:
            if self._window_start <= now <= self._window_end:
                result.latencies.append(now - connection.sent_at)
            if self._extract:
                result.extracted.append(self._extract(answer.body))
            connection.position += 1
            if connection.position < len(connection.chain):
                self._send(connection, now)
                return
            result.chains_done += 1
        self._busy -= 1
        self._begin_chain(connection, now)

    def _lose(self, connection: _Connection, problem: str) -> None:
        """Gives up a connection, and the chain under way on it, and takes a new one for the next chain."""
        self._close(connection)
        self._connect(connection)
        self._note(problem)
        self._result.lost += 1
        self._result.chains_broken += 1
        self._busy -= 1
        self._begin_chain(connection, time.perf_counter())

    def _note(self, problem: str) -> None:
        self._result.first_problem = self._result.first_problem or problem


def run_in_own_process(client: LoadClient) -> LoadResult:
    """Makes the load in a forked process, so that its CPU time and its pauses are nobody else's.

    Raises LoadFailed when the process cannot connect or ends without a result.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run_and_send, args=(client, sender), daemon=True)
    process.start()
    sender.close()
    try:
        outcome: LoadResult | str = receiver.recv()
    except EOFError:
        raise LoadFailed("its process ended without a result") from None
    finally:
        process.terminate()
        process.join()
    if isinstance(outcome, str):
        raise LoadFailed(outcome)
    return outcome


def _run_and_send(client: LoadClient, sender: Pipe) -> None:
    try:
        sender.send(client.run())
    except LoadFailed as error:
        sender.send(error.reason)
