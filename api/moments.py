"""Points in time to look back to, as callers name them: versions, and times that leave no doubt."""

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator

from api.errors import InvalidRequest
from domain.times import in_utc
from projections.as_of import Moment

PLUS = re.compile(r"(?<=:\d\d) (?=\d\d:?\d\d$)|(?<=\.\d{6}) (?=\d\d:?\d\d$)")
"""The plus of an offset as it reads in a query string whose sender did not escape it."""

A_TIME = "an ISO 8601 time with a zone, such as 2026-11-01T03:12:00Z"

LAST_VERSION = 2**31 - 1


def _time_with_zone(text: Any) -> datetime:
    """A time from its text. Raises ValueError, also where it has no zone: a guess could be hours off."""
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ValueError(f"This must be {A_TIME}.") from None
    if time.tzinfo is None:
        raise ValueError(f"This must be {A_TIME}; it has no zone.")
    return in_utc(time)


PastTime = Annotated[AwareDatetime, BeforeValidator(_time_with_zone)]
"""A time in a body."""


def moment_of(text: str) -> Moment:
    """The moment that `as_of` in a query string names: digits are a version, else it is a time.

    Raises InvalidRequest (422).
    """
    if text.isascii() and text.isdigit():
        return Moment(version=int(text) if len(text) < len(str(LAST_VERSION)) else LAST_VERSION)
    try:
        return Moment(time=_time_with_zone(PLUS.sub("+", text)))
    except ValueError:
        sentence = f"as_of must be the number of a version, or {A_TIME}."
        detail = {"type": "moment", "loc": ["query", "as_of"], "msg": sentence, "input": text}
        raise InvalidRequest([detail], None) from None
