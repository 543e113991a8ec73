"""The rules of concurrency limits on tags: a task run starts only while every limited tag has a slot for it.

Source: the transitions recorded against servers 2.7.12, 2.20.25 and 3.9.1.
"""

from math import ceil

from domain.orchestration.rule import (
    ACCEPT,
    Abort,
    Accept,
    Fact,
    LimitFacts,
    Rule,
    TaskRunContext,
    Verdict,
    Wait,
)
from domain.orchestration.scheduling import jittered
from domain.states import StateType
from domain.task_run import TaskRun

TAG = "tag:"
"""How the names of limits on tags begin."""

WAIT_SECONDS = 30

SPREAD = 0.3
"""The factor by which waiting times are spread, so that not all who wait ask again at once."""

HOLDS_SLOTS = frozenset({StateType.RUNNING, StateType.CANCELLING})
"""The states in which a task run holds slots of the limits on its tags."""


def tag_limit(tag: str) -> str:
    """The name of the limit on a tag."""
    return TAG + tag


def tag_of(limit: LimitFacts) -> str:
    return limit.name.removeprefix(TAG)


class TakeTagSlots(Rule[TaskRun]):
    """A task run takes a slot of each limit on its tags when it starts, or waits half a minute where there is none.

    Dialects: orion, prefect-2.
    """

    to_types = frozenset({StateType.RUNNING})
    before_any = True
    needs = frozenset({Fact.TAG_LIMITS})

    def decide(self, context: TaskRunContext) -> Verdict:
        for limit in context.limits:
            if limit.limit == 0:
                return deadlock(limit)
            if limit.free < 1:
                return Wait(f"Concurrency limit for the {tag_of(limit)} tag has been reached", WAIT_SECONDS)
        return take(context)


class TakeTagSlotsTogether(TakeTagSlots):
    """As TakeTagSlots, but it waits about as long as slots have been held lately. Source: server 3.9.1.

    Dialects: prefect-3, strict.
    """

    def decide(self, context: TaskRunContext) -> Verdict:
        for limit in context.limits:
            if limit.limit == 0:
                return deadlock(limit)
        full = [limit for limit in context.limits if limit.free < 1]
        if not full:
            return take(context)
        tags = ", ".join(tag_of(limit) for limit in context.limits)
        delay = max(limit.wait_seconds for limit in full)
        spread = jittered(delay, SPREAD, context.proposed.id)
        return Wait(f"Concurrency limit reached for tags: {tags}", ceil(spread))


def deadlock(limit: LimitFacts) -> Abort:
    """The verdict on a start that no waiting would ever make possible."""
    return Abort(
        f'The concurrency limit on tag "{tag_of(limit)}" is 0 and will deadlock if the task tries to run again.'
    )


def take(context: TaskRunContext) -> Verdict:
    """The verdict by which a task run holds a slot of every limit on its tags."""
    if not context.limits:
        return ACCEPT
    return Accept(facts={"slots": {limit.id: context.run.id for limit in context.limits}})
