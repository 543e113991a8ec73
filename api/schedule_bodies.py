"""What requests about schedules must look like, field for field as clients 2.7 to 3.9 send them."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from api.bodies import Body
from domain.commands.schedules import GivenSchedule
from domain.deployment import ScheduleChanges
from domain.ids import new_id
from domain.schedules import Schedule
from domain.times import Time

MOST_RUNS_AHEAD = 50
"""How many runs a schedule may ask to be planned ahead. Source: server 3.9.1."""

MOST_RUNS = 1000
"""How many runs one request plans for a schedule. Source: server 3.9.1."""


def _anchored(schedule: Any) -> Any:
    """An interval that nobody said from when to count is counted from now."""
    if isinstance(schedule, dict) and "interval" in schedule and schedule.get("anchor_date") is None:
        return {**schedule, "anchor_date": datetime.now(UTC)}
    return schedule


ScheduleBody = Annotated[Schedule, BeforeValidator(_anchored)]


class DeploymentScheduleUpdate(Body):
    """A schedule of a deployment, as far as it is set. 2.x clients send `max_active_runs` and `catchup`, in vain."""

    schedule: ScheduleBody | None = None
    active: bool | None = None
    max_scheduled_runs: int | None = Field(default=None, ge=1, le=MOST_RUNS_AHEAD)
    parameters: dict[str, Any] | None = None
    slug: str | None = None
    replaces: str | None = None
    max_active_runs: int | None = None
    catchup: bool | None = None

    def changes(self) -> ScheduleChanges:
        """What is set; null leaves a setting as it is. Source: server 3.9.1."""
        given = {field: getattr(self, field) for field in ScheduleChanges.model_fields}
        return ScheduleChanges(**{field: value for field, value in given.items() if value is not None})

    def given(self) -> GivenSchedule:
        return GivenSchedule(new_id(), self.changes(), self.replaces)


class DeploymentScheduleCreate(DeploymentScheduleUpdate):
    schedule: ScheduleBody


class PlanBody(BaseModel):
    """How far to plan the runs of a deployment; what is null is as the scheduler has it. `min_time` is in seconds."""

    start_time: Time | None = None
    end_time: Time | None = None
    min_time: float | None = Field(default=None, ge=0, le=1e9)
    min_runs: int | None = None
    max_runs: int | None = None
