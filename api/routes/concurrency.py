"""Concurrency limits, as far as clients ask for them before there are any: one that does not exist limits nothing."""

from typing import Literal
from uuid import uuid4

from pydantic import BaseModel

from api.answer import Answer, answer
from api.call import Call
from api.endpoint import Endpoints

endpoints = Endpoints()


class IncrementWithLease(BaseModel):
    """Slots that a 3.x client wants to hold for `lease_duration` seconds. `holder` says for what."""

    slots: int
    names: list[str]
    mode: Literal["concurrency", "rate_limit"] = "concurrency"
    lease_duration: float = 300
    holder: dict[str, str] | None = None


@endpoints.add(
    "POST",
    "/v2/concurrency_limits/increment-with-lease",
    "Hold slots of named limits; names of limits that do not exist are left out",
    body=IncrementWithLease,
)
async def increment_with_lease(call: Call, body: IncrementWithLease) -> Answer:
    return answer({"lease_id": str(uuid4()), "limits": []})
