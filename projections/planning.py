"""What a planner reads: the deployments with schedules, which of their runs are planned already, and who polls them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from pydantic import BaseModel, TypeAdapter

from domain import keys
from domain.commands.planning import plan_of
from domain.schedules import Schedule

_TO_PLAN = "SELECT id, flow_id, version, paused, (doc::json -> 'schedules')::text FROM read.deployments"
READ_PAGE = f"{_TO_PLAN} WHERE scheduled AND id > %s ORDER BY id LIMIT %s"
READ_ONE = f"{_TO_PLAN} WHERE id = %s"

PLANNED = "SELECT key FROM ledger.keys WHERE kind = %s AND key = ANY(%s)"

MARK_POLLED = """
INSERT INTO telemetry.polls (id, last_polled)
SELECT id, %s FROM read.deployments WHERE id = ANY(%s) ORDER BY id
ON CONFLICT (id) DO UPDATE SET last_polled = greatest(polls.last_polled, excluded.last_polled)
"""


class ScheduleToPlan(BaseModel):
    """A schedule, as far as planning asks."""

    id: UUID
    schedule: Schedule
    active: bool
    max_scheduled_runs: int | None


@dataclass(frozen=True)
class ToPlan:
    """A deployment of a version, with its active schedules."""

    id: UUID
    flow_id: UUID
    version: int
    paused: bool
    schedules: tuple[ScheduleToPlan, ...]


Date = tuple[UUID, datetime]
"""A time for which the schedule of an id names a run."""

_SCHEDULES = TypeAdapter(list[ScheduleToPlan])


async def read_page_to_plan(connection: AsyncConnection, after: UUID, limit: int) -> list[ToPlan]:
    """The deployments behind an id that are not paused and have an active schedule, in order of their ids."""
    rows = await (await connection.execute(READ_PAGE, [after, limit])).fetchall()
    return [_to_plan(row) for row in rows]


async def read_to_plan(connection: AsyncConnection, id: UUID) -> ToPlan | None:
    """A deployment with its active schedules, also a paused one."""
    row = await (await connection.execute(READ_ONE, [id])).fetchone()
    return None if row is None else _to_plan(row)


async def without_planned(connection: AsyncConnection, deployment: ToPlan, dates: Iterable[Date]) -> list[Date]:
    """Those of the dates for which no run is planned yet, as it seems from outside of the ledger lock."""
    by_key = {
        keys.flow_run_idempotency(deployment.flow_id, plan_of(deployment.id, schedule, at)): (schedule, at)
        for schedule, at in dates
    }
    if not by_key:
        return []
    kind = next(iter(by_key))[0]
    rows = await (await connection.execute(PLANNED, [kind, [text for _, text in by_key]])).fetchall()
    there = {row[0] for row in rows}
    return [date for (_, text), date in by_key.items() if text not in there]


async def mark_polled(connection: AsyncConnection, deployment_ids: list[UUID], at: datetime) -> None:
    """Take note that somebody asks for the runs of these deployments. It is telemetry: no rule looks at it."""
    await connection.execute(MARK_POLLED, [at, deployment_ids])


def _to_plan(row: tuple[Any, ...]) -> ToPlan:
    id, flow_id, version, paused, schedules = row
    active = (schedule for schedule in _SCHEDULES.validate_json(schedules) if schedule.active)
    return ToPlan(id, flow_id, version, paused, tuple(active))
