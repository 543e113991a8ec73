"""The rules of the result cache: what was computed under a cache key need not be computed again.

Source: the transitions recorded against servers 2.7.12, 2.20.25 and 3.9.1.
"""

from domain.orchestration.rule import ACCEPT, Accept, Fact, Reject, Rule, TaskRunContext, Verdict
from domain.states import StateType
from domain.task_run import TaskRun

LONGEST_CACHE_KEY = 2000


class ServeCachedResult(Rule[TaskRun]):
    """A task run that would start under the key of a cached result gets that result, unless it wants a fresh one.

    Dialects: orion, prefect-2, prefect-3, strict.
    """

    to_types = frozenset({StateType.RUNNING})
    before_any = True
    needs = frozenset({Fact.CACHED_STATE})

    def decide(self, context: TaskRunContext) -> Verdict:
        cached = context.cached_state
        if cached is None:
            return ACCEPT
        changes = {"id": context.state_id, "timestamp": context.decided_at, "name": "Cached"}
        return Reject("Retrieved state from cache", cached.model_copy(update=changes))


class CacheResult(Rule[TaskRun]):
    """A task run that completes under a cache key leaves its result for others.

    Dialects: orion, prefect-2.
    """

    to_types = frozenset({StateType.COMPLETED})
    before_any = True

    def decide(self, context: TaskRunContext) -> Verdict:
        if not context.proposed.state_details.cache_key:
            return ACCEPT
        return Accept(facts={"caches_result": True})


class CacheResultUnderShortKey(CacheResult):
    """As CacheResult, but under a key of more than 2,000 characters nothing is cached. Source: server 3.9.1.

    Dialects: prefect-3, strict.
    """

    def decide(self, context: TaskRunContext) -> Verdict:
        key = context.proposed.state_details.cache_key
        if key is None or len(key) <= LONGEST_CACHE_KEY:
            return super().decide(context)
        reason = f"Cache key exceeded maximum allowed length of {LONGEST_CACHE_KEY} characters."
        return Reject(reason, context.proposed)
