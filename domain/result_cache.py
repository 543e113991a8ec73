"""The result cache: completed states of task runs by their cache key, for others that would compute the same again."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.events import Event
from domain.states import State
from domain.task_run import TaskRunDeleted, TaskRunStateSet


@dataclass(frozen=True, slots=True)
class CachedResult:
    """A completed state that was cached, and the task run it is of."""

    task_run_id: UUID
    state: State

    def holds(self, at: datetime) -> bool:
        expiration = self.state.state_details.cache_expiration
        return expiration is None or expiration > at


class CachedResults:
    """The cache as one batch of commands sees it: what the store has, and what the batch itself adds and removes.

    `read` gives what the store has under a key that has not expired by a time, newest first. Within a batch time only
    goes forward, so that it is asked once for each key.
    """

    def __init__(self, read: Callable[[str, datetime], Sequence[CachedResult]]) -> None:
        self._read = read
        self._stored: dict[str, Sequence[CachedResult]] = {}
        self._added: dict[str, list[CachedResult]] = {}
        self._deleted: set[UUID] = set()

    def newest(self, cache_key: str, at: datetime) -> State | None:
        """The newest state under a key that has not expired by then."""
        if cache_key not in self._stored:
            self._stored[cache_key] = self._read(cache_key, at)
        for result in [*reversed(self._added.get(cache_key, ())), *self._stored[cache_key]]:
            if result.holds(at) and result.task_run_id not in self._deleted:
                return result.state
        return None

    def take_note(self, events: Iterable[Event]) -> None:
        """Add what these events cache, and remove what they delete."""
        for event in events:
            match event:
                case TaskRunStateSet(caches_result=True, state=state) if state.state_details.cache_key is not None:
                    added = self._added.setdefault(state.state_details.cache_key, [])
                    added.append(CachedResult(event.originator_id, state))
                case TaskRunDeleted():
                    self._deleted.add(event.originator_id)
