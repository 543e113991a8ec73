"""What requests must look like: the bodies of commands, field for field as clients 2.7 to 3.9 send them."""

from typing import Any
from uuid import UUID

from coolname import generate_slug
from pydantic import BaseModel, ConfigDict, Field, field_validator

from domain.commands.command import ProposedState
from domain.flow import Labels
from domain.flow_run import INPUT_KEY
from domain.ids import new_id
from domain.run_policy import FlowRunPolicy, TaskRunPolicy
from domain.states import StateDetails, StateType
from domain.task_run import TaskInputs
from domain.times import Time

FLOW_NAME = r"^[^/%&><]+$"
LONGEST_FLOW_NAME = 500
LONGEST_CACHE_KEY = 2000

LATER_THAN_2_20 = frozenset({"deferred", "traceparent", "deployment_concurrency_lease_id"})
LATER_THAN_2_7 = frozenset({"retriable", "run_input_keyset", "task_parameters_id", "transition_id"})
UNKNOWN_DETAILS: dict[str, frozenset[str]] = {"prefect-2": LATER_THAN_2_20, "orion": LATER_THAN_2_20 | LATER_THAN_2_7}
"""The details of states that the server of a dialect takes no notice of. Source: the recorded API descriptions."""


class Body(BaseModel):
    """A body that must not hold fields nobody knows."""

    model_config = ConfigDict(extra="forbid")


class StateDetailsBody(StateDetails):
    deferred: bool | None = False


class StateBody(Body):
    """A proposed state. `id` and `timestamp` are accepted from 2.x clients and not used: the ledger makes both."""

    type: StateType
    name: str | None = None
    message: str | None = None
    data: Any = None
    state_details: StateDetailsBody = Field(default_factory=StateDetailsBody)
    id: UUID | None = None
    timestamp: Time | None = None

    def proposed(self, dialect: str) -> ProposedState:
        """The state as the server of that dialect would understand it."""
        details = self.state_details
        ignored = details.model_fields_set & UNKNOWN_DETAILS.get(dialect, frozenset())
        if ignored:
            fields = type(details).model_fields
            details = details.model_copy(update={name: fields[name].default for name in ignored})
        return ProposedState(new_id(), self.type, self.name, self.message, self.data, details)


def pending() -> ProposedState:
    """The state of a run whose creator gave none."""
    return ProposedState(new_id(), StateType.PENDING, details=StateDetailsBody())


def first_state(dialect: str) -> ProposedState:
    """The state of a run of a deployment whose creator gave none: due at once, or pending where 2.7 is spoken.

    Source: runs made so on servers 2.7.12, 2.20.25 and 3.9.1.
    """
    return pending() if dialect == "orion" else ProposedState(new_id(), StateType.SCHEDULED, details=StateDetailsBody())


class SetStateBody(BaseModel):
    state: StateBody
    force: bool = False


class ResumeBody(BaseModel):
    run_input: dict[str, Any] | None = None


class InputCreate(BaseModel):
    key: str = Field(pattern=INPUT_KEY)
    value: str
    sender: str | None = None


class FilterInputs(BaseModel):
    prefix: str
    limit: int = 1
    exclude_keys: list[str] = Field(default_factory=list)


class FlowCreate(Body):
    name: str = Field(pattern=FLOW_NAME, max_length=LONGEST_FLOW_NAME)
    tags: list[str] = Field(default_factory=list)
    labels: Labels | None = None


class FlowUpdate(Body):
    tags: list[str] = Field(default_factory=list)


class FlowRunCreate(Body):
    flow_id: UUID
    name: str | None = None
    state: StateBody | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    context: dict[str, Any] = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list)
    labels: Labels | None = None
    empirical_policy: FlowRunPolicy = Field(default_factory=FlowRunPolicy)
    idempotency_key: str | None = None
    flow_version: str | None = None
    deployment_id: UUID | None = None
    parent_task_run_id: UUID | None = None
    infrastructure_document_id: UUID | None = None
    work_pool_name: str | None = None
    work_queue_name: str | None = None
    job_variables: dict[str, Any] | None = Field(default_factory=dict)


class TaskRunCreate(Body):
    id: UUID | None = None
    flow_run_id: UUID | None = None
    name: str | None = None
    task_key: str
    dynamic_key: str
    state: StateBody | None = None
    tags: list[str] = Field(default_factory=list)
    labels: Labels | None = None
    task_inputs: TaskInputs = Field(default_factory=dict)
    empirical_policy: TaskRunPolicy = Field(default_factory=TaskRunPolicy)
    cache_key: str | None = None
    cache_expiration: Time | None = None
    task_version: str | None = None

    @field_validator("cache_key")
    @classmethod
    def _fits(cls, key: str | None) -> str | None:
        if key is not None and len(key) > LONGEST_CACHE_KEY:
            raise ValueError(f"Cache key exceeded maximum allowed length of {LONGEST_CACHE_KEY} characters.")
        return key


class TaskRunUpdate(Body):
    name: str | None = None


def run_name(given: str | None) -> str:
    """The name of a run: the given one, else two words that nobody has to agree on."""
    return given or generate_slug(2)
