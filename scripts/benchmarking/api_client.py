"""Calls the REST dialect where speed does not matter, and makes the request bytes of where it does."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit


class BadBaseUrl(ValueError):
    """The benchmark cannot speak to `url`."""

    def __init__(self, url: str) -> None:
        super().__init__(f"The base URL must look like http://HOST:PORT/api, not {url!r}.")
        self.url = url


class UnexpectedAnswer(Exception):
    """A call was not answered with success; carries `method`, `path`, `status` and the start of the `body`."""

    def __init__(self, method: str, path: str, status: int, body: bytes) -> None:
        super().__init__(f"{method} {path} was answered {status}: {body[:300].decode(errors='replace')}")
        self.method = method
        self.path = path
        self.status = status
        self.body = body


class Api:
    """A server of the dialect under a base URL such as `http://127.0.0.1:4200/api`; raises BadBaseUrl for others."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        if parts.scheme != "http" or not parts.hostname:
            raise BadBaseUrl(base)
        self.base = base.rstrip("/")
        self.address = (parts.hostname, parts.port or 80)
        self._host = parts.netloc.rpartition("@")[2]
        self._prefix = parts.path.rstrip("/")

    def get(self, path: str) -> Any:
        """Answers the decoded body; raises UnexpectedAnswer, or OSError where nobody listens."""
        return self._call("GET", path, None)

    def post(self, path: str, body: object) -> Any:
        """Sends `body` as JSON and answers as `get` does."""
        return self._call("POST", path, body)

    def request(self, method: str, path: str, body: object = None) -> bytes:
        """Makes one complete HTTP/1.1 request that keeps its connection alive."""
        lines = [f"{method} {self._prefix}{path} HTTP/1.1", f"Host: {self._host}", "Accept: application/json"]
        data = b""
        if body is not None:
            data = _encode(body)
            lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        return "\r\n".join([*lines, "", ""]).encode() + data

    def _call(self, method: str, path: str, body: object) -> Any:
        # A connection for each call: one kept over a long window would have been closed by the server meanwhile.
        connection = http.client.HTTPConnection(*self.address, timeout=120)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, self._prefix + path, None if body is None else _encode(body), headers)
            answer = connection.getresponse()
            received = answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path} was not answered in HTTP: {error!r}") from error
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise UnexpectedAnswer(method, path, answer.status, received)
        return json.loads(received) if received else None


def _encode(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
