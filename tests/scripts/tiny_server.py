"""An HTTP server of a few lines, whose answers a test writes byte by byte."""

import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Request = tuple[str, str, bytes]
"""Method, path and body."""

Answers = Callable[[Request], Iterable[bytes | None]]


def http(status: int, body: bytes, *headers: bytes) -> bytes:
    """An answer with a length."""
    return b"\r\n".join([b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *headers, b"", body])


def chunked(*chunks: bytes) -> bytes:
    """A chunked answer."""
    sized = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + sized


class TinyServer(socketserver.ThreadingTCPServer):
    """Sends the pieces that `answer(request)` gives, one by one, and closes the connection at a None."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, answer: Answers) -> None:
        super().__init__(("127.0.0.1", 0), TinyHandler)
        self.has_closed = threading.Event()
        self.answer = answer
        self.seen: list[tuple[int, Request]] = []
        self.address: tuple[str, int] = ("127.0.0.1", self.socket.getsockname()[1])

    def shutdown_request(self, request: Any) -> None:
        """End a connection, and say that one has ended."""
        super().shutdown_request(request)
        self.has_closed.set()


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
            for piece in self.server.answer(request):
                if piece is None:
                    return
                self.wfile.write(piece)


@contextmanager
def serving(answer: Answers) -> Iterator[TinyServer]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    with TinyServer(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
