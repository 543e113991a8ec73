"""The states a run can be in: their types, their details and the names given to them."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from domain.payloads import Payload
from domain.times import Time


class StateType(StrEnum):
    """The nine kinds of state; a state's name may be any word, its type is one of these."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CRASHED = "CRASHED"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"


TERMINAL = frozenset({StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED})
ALL_STATES = frozenset(StateType)


class StateDetails(BaseModel):
    """What goes with a state beyond its name: back-references, times, cache and pause keys.

    An absent field means null, here and in stored events, so that a later change of a default cannot change history.
    """

    model_config = ConfigDict(frozen=True)

    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None
    child_flow_run_id: UUID | None = None
    scheduled_time: Time | None = None
    cache_key: str | None = None
    cache_expiration: Time | None = None
    deferred: bool | None = None
    untrackable_result: bool = False
    pause_timeout: Time | None = None
    pause_reschedule: bool = False
    pause_key: str | None = None
    run_input_keyset: dict[str, str] | None = None
    refresh_cache: bool | None = None
    retriable: bool | None = None
    transition_id: UUID | None = None
    task_parameters_id: UUID | None = None
    traceparent: str | None = None
    deployment_concurrency_lease_id: UUID | None = None


class State(BaseModel):
    """One state of one run. Frozen: a rule that wants another state makes another one.

    `timestamp` is the time the ledger decided it, or, for states reported after the fact, the client's time.
    """

    model_config = ConfigDict(frozen=True)

    id: UUID
    type: StateType
    name: str
    timestamp: Time
    message: Annotated[str | None, Payload()] = None
    data: Annotated[Any, Payload()] = None
    state_details: StateDetails = Field(default_factory=StateDetails)

    @property
    def is_terminal(self) -> bool:
        return self.type in TERMINAL

    def altered(self, *, name: str | None = None, **details: Any) -> "State":
        """The same state under another name or with other details."""
        changes: dict[str, Any] = {}
        if name is not None:
            changes["name"] = name
        if details:
            changes["state_details"] = self.state_details.model_copy(update=details)
        return self.model_copy(update=changes)


def default_name(type: StateType) -> str:
    """The name of a state whose caller gave none: its type as a word."""
    return type.value.capitalize()


def awaiting_retry(id: UUID, at: datetime, scheduled_time: datetime, failed: State) -> State:
    """The state a failed run waits in until it is tried again; it keeps the message and data of the failure."""
    return State(
        id=id,
        type=StateType.SCHEDULED,
        name="AwaitingRetry",
        timestamp=at,
        message=failed.message,
        data=failed.data,
        state_details=StateDetails(deferred=False, scheduled_time=scheduled_time),
    )


def cancelled(id: UUID, at: datetime, message: str | None) -> State:
    """The state of a run that was cancelled before anything had to be stopped."""
    return State(
        id=id,
        type=StateType.CANCELLED,
        name="Cancelled",
        timestamp=at,
        message=message,
        state_details=StateDetails(deferred=False),
    )
