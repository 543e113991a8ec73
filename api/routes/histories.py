"""How runs are spread over time and states, and how late they are."""

from datetime import timedelta

from api.answer import Answer, answer
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused
from api.routes.listing import ActivityFilters, RunFilters
from domain.times import Time
from projections import history, queries
from projections.history import IntervalTooShort

endpoints = Endpoints()
INTERVALS = {200: "The intervals, oldest first, each with what there is in each state"}


class History(ActivityFilters):
    """Intervals of so many seconds from a time on, until one has the end in it."""

    history_start: Time
    history_end: Time
    history_interval_seconds: timedelta


class Lateness(RunFilters):
    pass


async def _history(call: Call, kind: queries.Kind, body: History) -> Answer:
    try:
        found = await call.services.reads.run(
            history.read_history,
            kind,
            start=body.history_start,
            end=body.history_end,
            interval=body.history_interval_seconds,
            **body.filters(),
        )
    except IntervalTooShort as error:
        raise Refused(422, str(error)) from None
    return Answer(found)


@endpoints.add("POST", "/flow_runs/history", "Count flow runs by time and state", body=History, answers=INTERVALS)
async def flow_run_history(call: Call, body: History) -> Answer:
    return await _history(call, queries.LISTED_FLOW_RUNS, body)


@endpoints.add("POST", "/task_runs/history", "Count task runs by time and state", body=History, answers=INTERVALS)
async def task_run_history(call: Call, body: History) -> Answer:
    return await _history(call, queries.LISTED_TASK_RUNS, body)


@endpoints.add(
    "POST",
    "/flow_runs/lateness",
    "Tell how late flow runs are on average",
    body=Lateness,
    answers={200: "Seconds, or null where there is no run"},
)
async def average_flow_run_lateness(call: Call, body: Lateness) -> Answer:
    late = call.services.reads.run(history.average_lateness, queries.LISTED_FLOW_RUNS, **body.filters())
    return answer(await late)
