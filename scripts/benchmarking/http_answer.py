"""Reads HTTP/1.1 answers out of received bytes, at the price of a few searches per answer."""

from __future__ import annotations

from typing import NamedTuple


class UnreadableAnswer(Exception):
    """The received bytes are not one HTTP/1.1 answer; `received` holds the first of them."""

    def __init__(self, reason: str, received: bytes) -> None:
        super().__init__(f"The answer cannot be read: {reason}.")
        self.reason = reason
        self.received = received[:300]


class Answer(NamedTuple):
    """One whole answer: its status, its body and whether the connection may be used again."""

    status: int
    body: bytes
    keeps_alive: bool


def read_answer(received: bytes) -> Answer | None:
    """Reads the one answer that `received` holds, or returns None while some of it is still missing.

    Knows bodies with a length and chunked bodies. Raises UnreadableAnswer for anything else, and for bytes beyond
    the answer: a closed-loop client has asked only one question.
    """
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        if received[:5] != b"HTTP/"[: len(received)]:
            raise UnreadableAnswer("it is not HTTP", received)
        return None
    head = received[:head_end].lower()
    if head[:7] != b"http/1." or not head[9:12].isdigit():
        raise UnreadableAnswer("its status line is not HTTP/1.x", received)
    status = int(head[9:12])
    body_start = head_end + 4
    length_at = head.find(b"\r\ncontent-length:")
    if length_at >= 0:
        line_end = head.find(b"\r\n", length_at + 2)
        try:
            length = int(head[length_at + 17 : line_end if line_end >= 0 else head_end])
        except ValueError:
            raise UnreadableAnswer("its length is not a number", received) from None
        if len(received) < body_start + length:
            return None
        if len(received) > body_start + length:
            raise UnreadableAnswer("more bytes follow it", received)
        body = received[body_start:]
    elif b"\r\ntransfer-encoding: chunked" in head:
        chunks = _read_chunks(received, body_start)
        if chunks is None:
            return None
        body = chunks
    elif status in (204, 304):
        body = b""
    else:
        raise UnreadableAnswer("it has neither a length nor chunks", received)
    return Answer(status, body, b"\r\nconnection: close" not in head)


def _read_chunks(received: bytes, position: int) -> bytes | None:
    chunks: list[bytes] = []
    while True:
        line_end = received.find(b"\r\n", position)
        if line_end < 0:
            return None
        try:
            size = int(received[position:line_end].split(b";")[0], 16)
        except ValueError:
            raise UnreadableAnswer("a chunk has no size", received) from None
        start, end = line_end + 2, line_end + 2 + size
        if len(received) < end + 2:
            return None
        if size == 0:
            # The servers measured here send no trailers, so the empty line must follow at once.
            if received[start:] != b"\r\n":
                raise UnreadableAnswer("more bytes follow its last chunk", received)
            return b"".join(chunks)
        chunks.append(received[start:end])
        position = end + 2
