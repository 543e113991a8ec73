"""The scheduler: it plans the runs that the schedules of deployments name, a while ahead.

Dates are calculated from what is read, in a thread, outside of the ledger lock; the command that makes the runs does
nothing where the deployment has changed meanwhile, and makes no run twice. So any number of processes may plan.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from api.bodies import run_name
from api.call import Call
from api.errors import UNAVAILABLE
from api.services.service import Tools, actor_of
from api.settings import Settings
from domain.commands.command import Caller, Command
from domain.commands.planning import PlannedRun, PlanRuns
from domain.errors import LedgerError
from domain.ids import new_id
from domain.schedules import dates_to_plan
from projections import planning
from projections.planning import Date, ToPlan

NAME = "scheduler"

AT_ONCE = 100
"""How many runs one command makes; others need not wait for many."""

FIRST = UUID(int=0)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Horizon:
    """How far to plan: see `dates_to_plan`."""

    start: datetime
    until: datetime
    at_least_until: datetime
    least: int
    most: int

    @classmethod
    def of(cls, settings: Settings, start: datetime) -> "Horizon":
        """How far the scheduler plans from a time on."""
        return cls(
            start,
            until=later(start, settings.scheduler_max_scheduled_seconds),
            at_least_until=later(start, settings.scheduler_min_scheduled_seconds),
            least=settings.scheduler_min_runs,
            most=settings.scheduler_max_runs,
        )


def later(time: datetime, seconds: float) -> datetime:
    """So many seconds later, or at the end of the calendar."""
    end = datetime.max.replace(tzinfo=time.tzinfo)
    return time + min(timedelta(seconds=seconds), end - time)


async def plan_runs(tools: Tools, now: datetime) -> str:
    """Plan the runs of all deployments that have schedules."""
    horizon = Horizon.of(tools.settings, now)
    after, planned = FIRST, 0
    while page := await planning.read_page_to_plan(tools.connection, after, tools.settings.service_batch_size):
        dates = await asyncio.to_thread(_calculated_all, page, horizon)
        for deployment, named in zip(page, dates, strict=True):
            missing = await planning.without_planned(tools.connection, deployment, named)
            await tools.execute_each(commands_for(tools.caller, deployment, missing))
            planned += len(missing)
        after = page[-1].id
    return f"planned {planned} runs"


async def plan_deployment(call: Call, id: UUID, horizon: Horizon | None = None) -> None:
    """Plan the runs of one deployment at once, as a caller's request goes on; where that fails, the scheduler will.

    Without a `horizon` that is as far as the scheduler plans, if it runs and the deployment is not paused.
    """
    reads, settings = call.services.reads, call.services.settings
    try:
        deployment = await reads.run(planning.read_to_plan, id)
        if deployment is None or not deployment.schedules:
            return
        if horizon is None:
            if deployment.paused or not settings.services_enabled:
                return
            horizon = Horizon.of(settings, datetime.now(UTC))
        dates = await asyncio.to_thread(calculated, deployment, horizon)
        missing = await reads.run(planning.without_planned, deployment, dates)
        caller = Caller(actor_of(NAME), call.dialect, call.caller.request_id, call.caller.traceparent)
        for command in commands_for(caller, deployment, missing):
            await call.services.queue.execute(command)
    except (*UNAVAILABLE, LedgerError) as error:
        log.warning("the runs of a deployment are not planned for now", deployment=str(id), reason=str(error))


def _calculated_all(deployments: Iterable[ToPlan], horizon: Horizon) -> list[list[Date]]:
    return [calculated(deployment, horizon) for deployment in deployments]


def calculated(deployment: ToPlan, horizon: Horizon) -> list[Date]:
    """The dates that the schedules of a deployment name; a schedule that cannot be calculated names none."""
    dates: list[Date] = []
    for schedule in deployment.schedules:
        most = min(horizon.most, schedule.max_scheduled_runs or horizon.most)
        try:
            named = dates_to_plan(
                schedule.schedule,
                horizon.start,
                until=horizon.until,
                at_least_until=horizon.at_least_until,
                least=horizon.least,
                most=most,
            )
        except Exception as error:
            log.error("a schedule cannot be calculated", schedule=str(schedule.id), exc_info=error)
            continue
        dates.extend((schedule.id, at) for at in named)
    return dates


def commands_for(caller: Caller, deployment: ToPlan, dates: Iterable[Date]) -> Iterator[Command]:
    """The commands that make the runs for these dates."""
    planned = [PlannedRun(new_id(), run_name(None), schedule, at) for schedule, at in dates]
    for first in range(0, len(planned), AT_ONCE):
        yield PlanRuns(
            caller=caller,
            deployment_id=deployment.id,
            flow_id=deployment.flow_id,
            version=deployment.version,
            planned=tuple(planned[first : first + AT_ONCE]),
        )
