"""Rounds that keep things in order: late runs, expired pauses, what cancelled runs left behind, old log lines."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from psycopg import AsyncConnection

from api.services.service import Tools
from domain.commands.command import Command
from domain.commands.upkeep import CancelSubflowRun, CancelTaskRun, EndCancelling, EndPause, MarkLate
from projections import notifications, upkeep
from projections.artifacts import forget_artifacts
from projections.client_events import forget_client_events

T = TypeVar("T")

CANCELLED_WITHIN = timedelta(days=1)
"""For how long what a cancelled run left behind is looked for. Source: server 3.9.1."""


async def mark_late_runs(tools: Tools, now: datetime) -> str:
    """Mark the runs late that should have begun a while ago."""
    due = now - timedelta(seconds=tools.settings.late_after_seconds)
    number = await _each(
        tools,
        lambda limit: upkeep.overdue_runs(tools.connection, due, limit),
        lambda id: MarkLate(caller=tools.caller, id=id, due=due),
    )
    return f"marked {number} runs late"


async def end_pauses(tools: Tools, now: datetime) -> str:
    """Let the runs fail whose pauses have timed out."""
    number = await _each(
        tools,
        lambda limit: upkeep.runs_paused_too_long(tools.connection, now, limit),
        lambda id: EndPause(caller=tools.caller, id=id),
    )
    return f"ended {number} pauses"


async def clean_up_cancelled(tools: Tools, now: datetime) -> str:
    """Cancel what belongs to cancelled runs, and take runs for cancelled that nobody cancels."""
    since = now - CANCELLED_WITHIN
    before = now - timedelta(seconds=tools.settings.cancelling_timeout_seconds)
    cancelled = await _each(
        tools,
        lambda limit: upkeep.runs_cancelling_since(tools.connection, before, limit),
        lambda id: EndCancelling(caller=tools.caller, id=id, before=before),
    )
    # Subflow runs first: they tell the task runs that stand for them.
    cancelled += await _each(
        tools,
        lambda limit: upkeep.subflow_runs_left(tools.connection, since, limit),
        lambda pair: CancelSubflowRun(caller=tools.caller, id=pair[0], flow_run_id=pair[1]),
    )
    cancelled += await _each(
        tools,
        lambda limit: upkeep.task_runs_left(tools.connection, since, limit),
        lambda pair: CancelTaskRun(caller=tools.caller, id=pair[0], flow_run_id=pair[1]),
    )
    return f"cancelled {cancelled} runs"


async def delete_old_logs(tools: Tools, now: datetime) -> str:
    """Delete the log lines that are older than they are to be kept, so many at a time."""
    before = now - timedelta(days=tools.settings.log_retention_days)
    number = await _forget(tools, upkeep.delete_logs, before)
    return f"deleted {number} log lines"


async def delete_old_artifacts(tools: Tools, now: datetime) -> str:
    """Delete the artifacts that are older than they are to be kept, so many at a time."""
    before = now - timedelta(days=tools.settings.artifact_retention_days)
    number = await _forget(tools, forget_artifacts, before)
    return f"deleted {number} artifacts"


async def delete_old_events(tools: Tools, now: datetime) -> str:
    """Delete the events of clients that are older than they are to be kept, so many at a time."""
    before = now - timedelta(days=tools.settings.event_retention_days)
    number = await _forget(tools, forget_client_events, before)
    return f"deleted {number} events"


async def delete_old_notifications(tools: Tools, now: datetime) -> str:
    """Delete the notifications that were settled longer ago than they are to be kept, so many at a time."""
    before = now - timedelta(days=tools.settings.notification_retention_days)
    number = await _forget(tools, notifications.forget, before)
    return f"deleted {number} notifications"


async def _forget(
    tools: Tools, delete: Callable[[AsyncConnection, datetime, int], Awaitable[int]], before: datetime
) -> int:
    """Delete what is from before a time, so many at a time; how much that was."""
    number = 0
    while deleted := await delete(tools.connection, before, tools.settings.service_batch_size):
        number += deleted
    return number


async def _each(tools: Tools, find: Callable[[int], Awaitable[Sequence[T]]], command: Callable[[T], Command]) -> int:
    """Execute a command for each thing that is found, so many at a time; how many there were.

    Things that are found again are those of which nothing came: they are left for the next round.
    """
    done: set[T] = set()
    while True:
        found = [thing for thing in await find(tools.settings.service_batch_size) if thing not in done]
        if not found:
            return len(done)
        await tools.execute_each(command(thing) for thing in found)
        done.update(found)
