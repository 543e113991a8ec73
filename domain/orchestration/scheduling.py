"""What the rules of flow runs and of task runs share about scheduled times."""

from datetime import timedelta
from math import ceil
from typing import Any

from domain.orchestration.rule import ACCEPT, Accept, Context, R, Reject, Verdict, Wait
from domain.states import awaiting_retry


def copy_scheduled_time(context: Context[R]) -> Verdict:
    """A run that goes from SCHEDULED to PENDING takes its scheduled time along."""
    initial, proposed = context.initial, context.proposed
    if initial is None or initial.state_details.scheduled_time is None:
        return ACCEPT
    if proposed.state_details.scheduled_time is not None:
        return ACCEPT
    return Accept(proposed.altered(scheduled_time=initial.state_details.scheduled_time))


def wait_for_scheduled_time(context: Context[R]) -> Verdict:
    """A run does not start before the time it is scheduled for; the delay is whole seconds, rounded up."""
    scheduled = context.initial.state_details.scheduled_time if context.initial else None
    if scheduled is None:
        return ACCEPT
    left = scheduled - context.decided_at
    if left <= timedelta(0):
        return ACCEPT
    return Wait("Scheduled time is in the future", delay_seconds=ceil(left.total_seconds()))


LONGEST_DELAY = 10 * 365 * 24 * 3600.0
"""Seconds after which a retry comes at the latest: ten years, so that every policy names a time there is."""


def retry_after(context: Context[R], seconds: float, **facts: Any) -> Reject:
    """The verdict that sends a failed run back to wait for its next attempt."""
    at = context.decided_at
    state = awaiting_retry(
        context.state_id, at, at + timedelta(seconds=min(max(seconds, 0.0), LONGEST_DELAY)), context.proposed
    )
    return Reject("Retrying", state, facts)
