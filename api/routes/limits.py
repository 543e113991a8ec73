"""What both addresses of concurrency limits share: looking at a limit, and answers to requests for slots."""

from uuid import UUID

from pydantic import BaseModel, Field

from api.answer import Answer, answer
from api.call import Call
from domain.commands.command import Answer as CommandAnswer
from domain.commands.command import LimitName, Slots
from domain.commands.limits import TidyLimit
from domain.orchestration.limit_rules import SPREAD
from domain.orchestration.scheduling import jittered
from projections import limits


class Listing(BaseModel):
    limit: int | None = None
    offset: int = Field(default=0, ge=0)


async def tidy(call: Call, id: UUID | None = None) -> None:
    """End the leases that have run out, on one limit or on all, before somebody looks."""
    for stale in await call.services.reads.run(limits.limits_with_expired_leases, id):
        await call.execute(TidyLimit(caller=call.caller, id=stale))


def id_or_name(text: str) -> UUID | str:
    """What a path names a limit by."""
    try:
        return UUID(text)
    except ValueError:
        return text


def slots_of(result: CommandAnswer) -> Slots:
    if not isinstance(result, Slots):
        raise TypeError("A request for slots is answered by slots")
    return result


def in_short(names: tuple[LimitName, ...]) -> list[dict[str, object]]:
    return [{"id": limit.id, "name": limit.name, "limit": limit.limit} for limit in names]


def locked(refused: Slots, asked: UUID, detail: str = "Locked") -> Answer:
    """423, and after how many seconds asking again is worth while: spread, so that not all ask again at once."""
    wait = jittered(refused.retry_after, SPREAD, asked)
    return answer({"detail": detail}, 423, {"Retry-After": str(wait)})
