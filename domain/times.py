"""Times as callers give them: any offset, or none, which means UTC; kept in UTC."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator


def in_utc(time: datetime) -> datetime:
    """The same time in UTC. Raises ValueError for a time that UTC puts outside of the years 1 to 9999."""
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("The time is outside of the years 1 to 9999 in UTC") from None


Time = Annotated[datetime, AfterValidator(in_utc)]
