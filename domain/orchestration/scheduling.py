"""What the rules of flow runs and of task runs share about scheduled times."""

import hashlib
from datetime import timedelta
from math import ceil, log2
from typing import Any
from uuid import UUID

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


def retry_after(context: Context[R], seconds: float, *, jitter: float | None = None, **facts: Any) -> Reject:
    """The verdict that sends a failed run back to wait for its next attempt, `jittered` where a factor is given."""
    at = context.decided_at
    delay = min(max(seconds, 0.0), LONGEST_DELAY)
    if jitter is not None and jitter > 0:
        delay = min(jittered(delay, jitter, context.proposed.id), LONGEST_DELAY)
    state = awaiting_retry(context.state_id, at, at + timedelta(seconds=delay), context.proposed)
    return Reject("Retrying", state, facts)


def jittered(seconds: float, factor: float, drawn_from: UUID) -> float:
    """A delay around the given one: half of all are shorter, and none longer than `seconds * k` with k = 1 + `factor`.

    The shortest is `seconds * -log2(1 - 2 ** -k)`: 0.75 of the given one for a factor of 0.3, 0.42 for 1. Between
    the bounds, delays are spread as the gaps between independent arrivals are. The draw is a function of an id, so that
    the same proposal always gets the same verdict. `factor` must not be negative.
    Source of the bounds: servers 2.7.12, 2.20.25 and 3.9.1.
    """
    digits = int.from_bytes(hashlib.sha256(drawn_from.bytes).digest()[:6], "big")
    share = (digits + 0.5) / 2**48
    least = 2.0 ** -(1 + factor)
    return seconds * -log2(least + share * (1 - 2 * least))
