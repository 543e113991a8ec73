"""One HTTP request as an endpoint sees it: who calls, what was sent, and what the endpoint may use to answer."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.types import Receive, Scope

from api.block_secrets import Sealing
from api.client_events import ClientEventWriter
from api.command_queue import CommandQueue
from api.dialect import STRICT, dialect_of, renews_leases
from api.errors import ClientGone, InvalidRequest, Refused
from api.herald import Herald
from api.ledger_tail import LedgerTail
from api.metrics import Metrics
from api.reads import Gathered, Reads
from api.settings import Settings
from api.text import nul_detail, readable, refuse_unrepresentable
from domain.commands.command import Answer, Caller, Command, Once
from domain.events import EventMapper
from projections.payload_keys.store import KeyStore, StoredKeys

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

MOST_QUESTIONS = 500
"""How many bodies of questions are kept."""

SHORT = 4096
"""Bytes up to which they are."""


LAST_NUMBER = 2**63 - 1
"""The greatest number that PostgreSQL counts to."""


class Question(BaseModel):
    """A body that asks and changes nothing. The same bytes are parsed once as long as they are among those that came
    last: such a body must be left as it is, and may keep what was made of it.
    """


@dataclass(frozen=True)
class Services:
    """What all endpoints share: the settings, the command queue, and what reads, runs by their ids together.

    `sealing` is what seals the data of blocks, `herald` spreads the word of what was committed, `client_events` keeps
    events that are not the ledger's, `metrics` is what this process counts, `tail` is the newest of the ledger,
    `keys` are those of payloads, if any are kept.
    """

    settings: Settings
    queue: CommandQueue
    reads: Reads
    flow_runs: Gathered
    task_runs: Gathered
    sealing: Sealing
    herald: Herald
    client_events: ClientEventWriter
    metrics: Metrics
    tail: LedgerTail
    keys: KeyStore | None = None

    def mapper(self) -> EventMapper:
        """What reads events for one request: a key that was destroyed before it is gone."""
        return EventMapper(self.ring())

    def ring(self) -> StoredKeys | None:
        """The keys of payloads for one request; None where none are kept."""
        return None if self.keys is None else StoredKeys(self.keys)


def whole_number(text: str, most: int, where: list[str]) -> int:
    """The number, from 0 to `most`, that a text of digits stands for. Raises InvalidRequest (422), which says where."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most))) or int(text) > most:
        message = f"Input should be a whole number from 0 to {most}"
        raise InvalidRequest([{"type": "int_parsing", "loc": where, "msg": message, "input": text}], None)
    return int(text)


class Call:
    """One request. Its headers are read once; of several that name the same, the last one counts."""

    __slots__ = ("_commands", "_content", "_headers", "receive", "scope", "services", "size")

    def __init__(self, scope: Scope, receive: Receive, services: Services) -> None:
        self.services = services
        self.scope = scope
        self.receive = receive
        self.size = 0
        self._commands = 0
        self._content = b""
        self._headers: dict[bytes, bytes] = dict(scope["headers"])

    def header(self, name: bytes) -> str | None:
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def path(self) -> str:
        path: str = self.scope["path"]
        return path

    @property
    def base_url(self) -> str:
        """Where the caller finds us, as it says itself."""
        return f"{self.scope['scheme']}://{self.header(b'host') or 'localhost'}"

    @property
    def user_agent(self) -> str:
        return self.header(b"user-agent") or ""

    @property
    def takes_gzip(self) -> bool:
        """Whether the caller takes answers in gzip (RFC 9110, section 12.5.3)."""
        accepted = self._headers.get(b"accept-encoding", b"")
        for coding in accepted.lower().replace(b" ", b"").split(b",") if accepted else ():
            name, _, weight = coding.partition(b";q=")
            if name == b"gzip":
                return weight.strip(b"0.") != b"" or weight == b""
        return False

    @property
    def dialect(self) -> str:
        if self.header(b"x-flowledger-dialect") == STRICT:
            return STRICT
        version = self.header(b"x-prefect-api-version") or ""
        return dialect_of(self.user_agent, version, self.services.settings.dialect)

    @property
    def caller(self) -> Caller:
        actor = self.user_agent or "unknown"
        renews = renews_leases(self.user_agent)
        return Caller(actor, self.dialect, self.header(b"x-request-id"), self.header(b"traceparent"), renews)

    def id(self, name: str = "id") -> UUID:
        """An id from the path. A malformed one is no path of server 3.x, and an invalid request to those before it."""
        text: str = self.scope["path_params"][name]
        try:
            if len(text) != 36:
                raise ValueError(text)
            return UUID(text)
        except ValueError:
            if self.dialect == "prefect-3":
                raise Refused(404, "Not Found") from None
            detail = {"loc": ["path", name], "msg": "value is not a valid uuid", "type": "type_error.uuid"}
            raise InvalidRequest([detail], None) from None

    async def require_id(self) -> None:
        """Raise what `id` raises, with the body that was sent, for that is repeated to who sent it."""
        try:
            self.id()
        except InvalidRequest as error:
            raise InvalidRequest(error.details, readable(await self.body())) from None

    def text(self, name: str) -> str:
        """A name from the path."""
        text: str = self.scope["path_params"][name]
        if "\0" in text:
            raise InvalidRequest([nul_detail(["path", name])], None)
        return text

    def query(self, name: str) -> str | None:
        """A parameter of the query string, the last of several."""
        query_string: bytes = self.scope["query_string"]
        values = parse_qs(query_string.decode("latin-1"), keep_blank_values=True).get(name) if query_string else None
        return None if values is None else values[-1]

    def queries(self, name: str) -> list[str]:
        """All values of a parameter of the query string."""
        return parse_qs(self.scope["query_string"].decode("latin-1"), keep_blank_values=True).get(name, [])

    def query_number(self, name: str, most: int = LAST_NUMBER) -> int | None:
        """A number from the query string, None where it is missing. Raises what `whole_number` does."""
        value = self.query(name)
        return None if value is None else whole_number(value, most, ["query", name])

    def query_id(self, name: str) -> UUID:
        """An id from the query string. Raises InvalidRequest (422) when it is missing or malformed."""
        value = self.query(name)
        if value is None:
            detail = {"type": "missing", "loc": ["query", name], "msg": "Field required", "input": None}
            raise InvalidRequest([detail], None)
        try:
            return UUID(value)
        except ValueError:
            what = {"type": "uuid_parsing", "msg": "Input should be a valid UUID", "input": value}
            raise InvalidRequest([{**what, "loc": ["query", name]}], None) from None

    def refuse_foreign_pages(self) -> None:
        """Raise Refused (403) for a writing request that a browser sends for a page of another origin.

        Browsers name the page's origin and ask nobody before they send, whatever page the user has open; clients do
        not name any (RFC 6454, section 7).
        """
        origin = self._headers.get(b"origin")
        if origin is None or self.scope["method"] in ("GET", "HEAD"):
            return
        if not is_own_origin(origin, self._headers.get(b"host", b"")):
            raise Refused(403, "Pages of other origins may not write here.")

    async def execute(self, command: Command) -> Answer:
        """The answer to a command, once it is durable. Raises the LedgerError that it failed with.

        With an `Idempotency-Key` header the same request has one effect and one answer, however often it is sent; of a
        request that takes several commands each is told apart by its place.
        """
        key = self.header(b"idempotency-key")
        if key:
            command = replace(command, once=Once(f"{key}#{self._commands}", self._fingerprint()))
            self._commands += 1
        return await self.services.queue.execute(command, self.size)

    def _fingerprint(self) -> bytes:
        """SHA-256 over what the request asks for."""
        scope = self.scope
        digest = hashlib.sha256(f"{scope['method']} {scope['path']}?".encode() + scope["query_string"] + b"\n")
        digest.update(self._content)
        return digest.digest()

    async def body(self) -> bytes:
        """The body as it was sent. Raises Refused (413) beyond the limit, ClientGone when it never came whole."""
        limit = self.services.settings.max_body_bytes
        if int(self._headers.get(b"content-length", b"0")) > limit:
            raise _too_large(limit)
        chunks: list[bytes] = []
        size, more = 0, True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            chunks.append(chunk)
        self.size = size
        self._content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return self._content

    async def parse(self, model: type[M]) -> M:
        """The body as the model that it must fit; no body counts as {}. Raises InvalidRequest (422), Refused (413)."""
        body = await self.body() or b"{}"
        if issubclass(model, Question) and len(body) <= SHORT:
            return cast(M, _known(model, body))
        return _parsed(model.model_validate_json, body)

    async def parse_as(self, adapter: TypeAdapter[Any]) -> Any:
        """The body as anything that pydantic can check. Raises InvalidRequest (422) and Refused (413)."""
        return _parsed(adapter.validate_json, await self.body())


def _parsed(validate: Callable[[bytes], T], body: bytes) -> T:
    try:
        parsed = validate(body)
    except ValidationError as error:
        raise InvalidRequest.from_validation(error, body) from error
    refuse_unrepresentable(body)
    return parsed


@lru_cache(MOST_QUESTIONS)
def _known(model: type[BaseModel], body: bytes) -> BaseModel:
    return _parsed(model.model_validate_json, body)


def is_own_origin(origin: bytes, host: bytes) -> bool:
    """Whether a page's origin, as a browser names it, is the host it asks, and that by an address.

    A name could be made to point here by whoever owns it (DNS rebinding); none of our own pages writes, so none needs
    one.
    """
    place = origin.partition(b"://")[2]
    try:
        name = urlsplit("//" + place.decode()).hostname or ""
        return place == host and (name == "localhost" or bool(ip_address(name)))
    except ValueError:
        return False


def _too_large(limit: int) -> Refused:
    return Refused(413, f"The request body is larger than {limit} bytes.")
