"""From errors to answers: each type of error has one status and a body that clients already parse."""

import json
from typing import Any

import psycopg
import structlog
from psycopg_pool import PoolClosed, PoolTimeout
from pydantic import ValidationError

from api.answer import Answer, answer
from domain.errors import (
    BeganInPlain,
    DefaultQueue,
    ForeignShape,
    IdTaken,
    InputKeyTaken,
    InputNotFound,
    JobVariablesSettled,
    KeyReused,
    MissingReference,
    MoreThanLimit,
    NameTaken,
    NoSlotDecay,
    NoSuchVariable,
    NoSuchWorkQueue,
    NotEnded,
    NotFound,
    NoWorkQueue,
    PayloadKeyGone,
    PayloadKeyMissing,
    PayloadKeysMissing,
    ReservedWorkPool,
    ScheduleMissing,
    SharesKey,
    SlugConflict,
    SlugsMissing,
    SlugTaken,
    StoreUnavailable,
    UnknownWorkPool,
    Unstorable,
)

log = structlog.get_logger(__name__)

INTEGRITY = (
    "Data integrity conflict. This usually means a unique or foreign key constraint was violated."
    " See server logs for details."
)
"""The sentence by which every recorded server says that a request names something that does not exist."""

INPUT_NOT_FOUND = "Flow run input not found"

TOO_LONG = "The query took too long and was stopped. Ask for less, or try again."

UNAVAILABLE = (StoreUnavailable, ForeignShape, psycopg.OperationalError, PoolTimeout, PoolClosed)


class ClientGone(Exception):
    """The client went away before its request was whole; nobody waits for an answer."""


class InvalidRequest(Exception):
    """A request whose body or parameters are not what the endpoint takes.

    `details` are pydantic's, `body` is what was sent, as far as it could be read.
    """

    def __init__(self, details: list[dict[str, Any]], body: Any) -> None:
        super().__init__("Invalid request received.")
        self.details = details
        self.body = body

    @classmethod
    def from_validation(cls, error: ValidationError, body: bytes) -> "InvalidRequest":
        """The same error with locations that begin at the request's body."""
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            reason = first.get("ctx", {}).get("error", "")
            detail = {"type": "json_invalid", "loc": ["body"], "msg": "JSON decode error", "input": {}}
            return cls([{**detail, "ctx": {"error": reason}}], body.decode(errors="replace"))
        details = json.loads(error.json(include_url=False))
        for detail in details:
            detail["loc"] = ["body", *detail["loc"]]
        return cls(details, json.loads(body or b"null"))


class Refused(Exception):
    """A request that is understood and not granted: its status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def answer_to(error: Exception, path: str, dialect: str) -> Answer:
    """The answer to a request for `path`, by a caller of that dialect, that failed with this error."""
    if isinstance(error, InvalidRequest):
        body = {"exception_message": str(error), "exception_detail": _told(error, dialect), "request_body": error.body}
        return answer(body, 422)
    if isinstance(error, Refused):
        return answer({"detail": error.sentence}, error.status)
    if isinstance(error, NotFound):
        return _not_found(error, path)
    if isinstance(error, NoSuchVariable):
        return answer({"detail": "Variable not found."}, 404)
    if isinstance(error, UnknownWorkPool | NoSuchWorkQueue):
        return answer({"detail": str(error)}, 404)
    if isinstance(error, ReservedWorkPool):
        return answer({"detail": str(error)}, 403)
    if isinstance(error, DefaultQueue):
        return answer({"detail": str(error)}, 409)
    if isinstance(error, NoWorkQueue | JobVariablesSettled):
        return answer({"detail": str(error)}, 400)
    if isinstance(error, InputNotFound):
        return answer({"detail": INPUT_NOT_FOUND}, 404)
    if isinstance(error, InputKeyTaken):
        return answer({"detail": "A flow run input with this key already exists."}, 409)
    if isinstance(error, MoreThanLimit | NoSlotDecay | KeyReused):
        return answer({"detail": str(error)}, 422)
    if isinstance(error, SlugTaken):
        return answer({"detail": str(error)}, 409)
    if isinstance(error, SlugsMissing | SlugConflict | ScheduleMissing):
        return answer({"detail": str(error)}, 422)
    if isinstance(error, MissingReference | IdTaken | NameTaken):
        log.info("a request conflicts with the ledger", reason=str(error), path=path)
        return answer({"detail": INTEGRITY}, 409)
    if isinstance(error, Unstorable):
        return answer({"exception_message": "Invalid request received.", "exception_detail": str(error)}, 422)
    if isinstance(error, BeganInPlain | NotEnded | SharesKey | PayloadKeyGone):
        return answer({"detail": str(error)}, 409)
    if isinstance(error, PayloadKeysMissing | PayloadKeyMissing):
        log.error("payload cannot be read", reason=str(error), path=path)
        return answer({"exception_message": str(error)}, 503)
    if isinstance(error, psycopg.errors.QueryCanceled):
        log.warning("a query took too long and was stopped", path=path)
        return answer({"exception_message": TOO_LONG}, 503, {"Retry-After": "5"})
    if isinstance(error, UNAVAILABLE):
        log.warning("the database does not serve a request", reason=str(error).partition("\n")[0], path=path)
        return answer({"exception_message": "Service Unavailable"}, 503, {"Retry-After": "1"})
    log.error("a request failed", path=path, exc_info=error)
    return answer({"exception_message": "Internal Server Error"}, 500)


def _told(error: InvalidRequest, dialect: str) -> list[dict[str, Any]]:
    """What is wrong with a request; servers before 3.x do not repeat the input there."""
    if dialect == "prefect-3":
        return error.details
    return [{field: value for field, value in detail.items() if field != "input"} for detail in error.details]


def _not_found(error: NotFound, path: str) -> Answer:
    """Proposals for an unknown run are answered in other words than requests for it."""
    if path.rstrip("/").endswith("/set_state"):
        return answer({"exception_message": str(error)}, 404)
    return answer({"detail": f"{error.kind} not found"}, 404)
