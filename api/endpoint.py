"""The table of endpoints: from one description come the route, the check of the body, and the page of the API."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from pydantic import BaseModel
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.answer import Answer
from api.call import Call, Services
from api.errors import ClientGone, answer_to

PREFIX = "/api"


class IdConvertor(Convertor[str]):
    """The part of a path where an id stands: any word but those that are addresses of their own."""

    regex = (
        "(?!(?:filter|count|paginate|history|lateness|(?:bulk|get|install)_[a-z_]+|(?:in|de)crement(?:-with-lease)?)$)"
        "[^/]+"
    )

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("id", IdConvertor())
Handler = Callable[..., Awaitable[Answer]]


@dataclass(frozen=True)
class Endpoint:
    """One method of one path. `body` is the model (or type) that requests must fit, `answers` what each status means.
    `query` names the parameters that the query string must have, `options` those that it may have.

    `handler` takes the call, and the parsed body where that is a model, and answers.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    body: Any = None
    answers: tuple[tuple[int, str], ...] = ((200, "The answer"),)
    query: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def route(self, services: Services) -> Route:
        """The route that serves this endpoint."""
        path = PREFIX + self.path.replace("{id}", "{id:id}").replace("{id_or_name}", "{id_or_name:id}")
        return Route(path, Served(self, services), methods=[self.method], name=self.handler.__name__)


class Served:
    """An endpoint as an ASGI application: it parses, lets the handler answer, and answers for it when it fails."""

    def __init__(self, endpoint: Endpoint, services: Services) -> None:
        self._handler = endpoint.handler
        self._services = services
        self._has_id = "{id}" in endpoint.path
        self._timings = services.metrics.timings_of(endpoint.method, PREFIX + endpoint.path)
        body = endpoint.body
        self._model: type[BaseModel] | None = body if isinstance(body, type) and issubclass(body, BaseModel) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        call = Call(scope, receive, self._services)
        try:
            call.refuse_foreign_pages()
            if self._has_id:
                await call.require_id()
            if self._model is None:
                answer = await self._handler(call)
            else:
                answer = await self._handler(call, await call.parse(self._model))
        except ClientGone:
            return
        except Exception as error:
            answer = answer_to(error, call.path, call.dialect)
        await answer.send(send, compressed=call.takes_gzip)
        if answer.timed:
            self._timings[answer.status].note(perf_counter() - started)


class Endpoints(list[Endpoint]):
    """The endpoints of one module, in the order in which they are tried."""

    def add(
        self,
        method: str,
        path: str,
        summary: str,
        *,
        body: Any = None,
        answers: dict[int, str] | None = None,
        query: tuple[str, ...] = (),
        options: tuple[str, ...] = (),
    ) -> Callable[[Handler], Handler]:
        """Add the decorated function as the handler of a path."""

        def register(handler: Handler) -> Handler:
            listed = tuple((answers or {200: "The answer"}).items())
            self.append(Endpoint(method, path, summary, handler, body, listed, query, options))
            return handler

        return register
