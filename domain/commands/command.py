"""What a command is: something one caller asks for, decided alone, answered once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from domain.keys import Key
from domain.states import State, StateDetails, StateType, default_name

if TYPE_CHECKING:
    from datetime import datetime

    from domain.aggregate import Aggregate
    from domain.session import Session


NO_DETAILS = StateDetails()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the authenticated name or the client's user agent, and the dialect it speaks.

    `renews_leases` says whether the client keeps the lease of a run's slot alive while it runs.
    """

    actor: str
    dialect: str
    request_id: str | None = None
    traceparent: str | None = None
    renews_leases: bool = False


@dataclass(frozen=True, slots=True)
class ProposedState:
    """A state as a caller proposes it. It gets its time when it is decided."""

    id: UUID
    type: StateType
    name: str | None = None
    message: str | None = None
    data: Any = None
    details: StateDetails = NO_DETAILS

    def at(self, timestamp: datetime, *, flow_run_id: UUID | None, task_run_id: UUID | None) -> State:
        """The state, entered at that time by a run with these ids (its own, and that of what it runs in).

        A scheduled state that names no time is scheduled for then.
        """
        changes: dict[str, Any] = {"flow_run_id": flow_run_id, "task_run_id": task_run_id}
        if self.type is StateType.SCHEDULED and self.details.scheduled_time is None:
            changes["scheduled_time"] = timestamp
        details = self.details.model_copy(update=changes)
        return State(
            id=self.id,
            type=self.type,
            name=self.name or default_name(self.type),
            timestamp=timestamp,
            message=self.message,
            data=self.data,
            state_details=details,
        )


@dataclass(frozen=True, slots=True)
class Made:
    """The answer to a creation: the aggregate's id, whether this command made it, and the document it is read by."""

    id: UUID
    created: bool
    document: bytes = b""


@dataclass(frozen=True, slots=True)
class OrchestrationResult:
    """The answer to a proposal: ACCEPT, REJECT, WAIT or ABORT, the state the run is in now, and why.

    `wrote` says whether a new state was set; callers are answered 201 then, else 200.
    """

    status: str
    state: State | None
    details: dict[str, Any]
    wrote: bool


@dataclass(frozen=True, slots=True)
class LimitName:
    """A concurrency limit in short."""

    id: UUID
    name: str
    limit: int


@dataclass(frozen=True, slots=True)
class Slots:
    """The answer to a request for slots, or to giving them back: the limits it was about.

    Where they were not `granted`, asking again is worth while after `retry_after` seconds, because of `blocked_by`.
    """

    limits: tuple[LimitName, ...]
    granted: bool = True
    retry_after: float = 0.0
    blocked_by: str = ""


@dataclass(frozen=True, slots=True)
class Deleted:
    """The answer to a deletion: whether it is finished, or must be asked for again because there was more than fits."""

    finished: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to the question what would become of a proposal: of which policy, and what each rule said in order.

    `rule` is the one that decided, None where all accepted.
    """

    policy: str
    result: OrchestrationResult
    rule: str | None
    opinions: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class HandedOut:
    """The answer to a request to hand a run in the background out: whether it was."""

    granted: bool


@dataclass(frozen=True, slots=True)
class Erased:
    """The answer to an erasure: the key that is to be destroyed, or was."""

    payload_key: UUID


Answer = Made | OrchestrationResult | Slots | Deleted | Explanation | HandedOut | Erased | None


@dataclass(frozen=True, slots=True)
class Once:
    """What makes sure that a request has one effect, however often it comes: its key, and a hash over what it asks."""

    key: str
    request: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(ABC):
    """What one caller asks. `ids` and `natural_keys` name what deciding it looks at, for a batch to load at once.

    A command that is to happen `once` and did already is answered as it was then.
    """

    caller: Caller
    once: Once | None = None

    def ids(self) -> Iterable[UUID | None]:
        return ()

    def natural_keys(self) -> Iterable[Key]:
        return ()

    def further_keys(self, find: Callable[[UUID], Aggregate | None]) -> Iterable[Key]:
        """Keys that follow from the aggregates named by `ids`, which `find` has by now."""
        return ()

    @abstractmethod
    def decide(self, session: Session) -> Answer:
        """Say to the session what happens, and answer. Raises LedgerError, and then nothing happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOnOne(Command):
    """What is asked of one aggregate that must exist. Raises NotFound where it does not."""

    id: UUID

    def ids(self) -> Iterable[UUID | None]:
        return (self.id,)
