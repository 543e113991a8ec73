"""The FlowRun aggregate: one run of a flow, from its creation to whatever became of it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, ClassVar, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_serializer, model_validator

from domain import keys
from domain.events import Event
from domain.flow import Labels
from domain.keys import Key
from domain.payloads import Payload, without_payload
from domain.run import Archived, PayloadErased, Restored, Run, StateSet, TransitionRefused
from domain.run_policy import FlowRunPolicy
from domain.states import State, StateType

INPUT_KEY = r"^[a-z0-9-]+$"
"""What keys of inputs look like. Source: servers 2.20.25 and 3.9.1."""


class FlowRunFacts(BaseModel):
    """What a flow run is from its creation on, apart from its id and its state.

    A run that was planned by a schedule of its deployment has the schedule's id, and the name by which that is shown.
    """

    model_config = ConfigDict(frozen=True)

    flow_id: UUID
    name: str
    parameters: Annotated[dict[str, Any], Payload({})]
    context: Annotated[dict[str, Any], Payload({})]
    tags: list[str]
    labels: Labels
    empirical_policy: FlowRunPolicy
    idempotency_key: str | None = None
    flow_version: str | None = None
    deployment_id: UUID | None = None
    deployment_version: str | None = None
    parent_task_run_id: UUID | None = None
    infrastructure_document_id: UUID | None = None
    work_pool_name: str | None = None
    work_queue_name: str | None = None
    job_variables: Annotated[dict[str, Any] | None, Payload()] = None
    work_queue_id: UUID | None = None
    schedule_id: UUID | None = None
    schedule_name: str | None = None


class FlowRunCreated(FlowRunFacts, Event):
    """A flow run came to be. Its first state, if any, is an event of its own.

    `payload_key` is the key under which the payload of the run and its task runs is sealed, if it is.
    """

    TOPIC: ClassVar[str] = "FlowRun.Created"

    payload_key: UUID | None = None


class FlowRunStateSet(StateSet):
    """`empirical_policy` is there where the transition changed it."""

    TOPIC: ClassVar[str] = "FlowRun.StateSet"

    empirical_policy: FlowRunPolicy | None = None


class FlowRunTransitionRefused(TransitionRefused):
    """`empirical_policy` is there where even the refused proposal changed it, as one to leave a pause does."""

    TOPIC: ClassVar[str] = "FlowRun.TransitionRefused"

    empirical_policy: FlowRunPolicy | None = None


class FlowRunChanges(BaseModel):
    """The fields of a flow run that a caller may update; only those that were set are meant. A run keeps a name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = None
    flow_version: str | None = None
    parameters: Annotated[dict[str, Any], Payload({})] = Field(default_factory=dict)
    empirical_policy: FlowRunPolicy = Field(default_factory=FlowRunPolicy)
    tags: list[str] = Field(default_factory=list)
    infrastructure_pid: str | None = None
    job_variables: Annotated[dict[str, Any] | None, Payload()] = None

    @model_validator(mode="before")
    @classmethod
    def _keeps_its_name(cls, changes: Any) -> Any:
        if isinstance(changes, dict) and changes.get("name", "") is None:
            return {field: value for field, value in changes.items() if field != "name"}
        return changes


class FlowRunUpdated(Event):
    """A caller changed those fields of a flow run that are set in `changes`; here null is a value, not an absence."""

    TOPIC: ClassVar[str] = "FlowRun.Updated"

    changes: FlowRunChanges

    @field_serializer("changes")
    def _only_what_was_set(self, changes: FlowRunChanges) -> dict[str, Any]:
        return changes.model_dump(mode="json", exclude_unset=True)


class FlowRunLabelled(Event):
    """A caller added labels, or gave existing ones another value."""

    TOPIC: ClassVar[str] = "FlowRun.Labelled"

    labels: Labels


class FlowRunInputWritten(Event):
    """Someone gave a flow run something to read under a key of its own; `sender` is who they say they are.

    `id` is that of the input, `value` the text that readers of the key get back, to the letter.
    """

    TOPIC: ClassVar[str] = "FlowRun.InputWritten"

    id: UUID
    key: str
    value: Annotated[str, Payload("null")]
    sender: str | None = None


class FlowRunInputDeleted(Event):
    """An input of a flow run was taken away; its key is free again."""

    TOPIC: ClassVar[str] = "FlowRun.InputDeleted"

    key: str


class FlowRunDeleted(Event):
    TOPIC: ClassVar[str] = "FlowRun.Deleted"


class FlowRunPayloadErased(PayloadErased):
    TOPIC: ClassVar[str] = "FlowRun.PayloadErased"


class FlowRunArchived(Archived):
    TOPIC: ClassVar[str] = "FlowRun.Archived"


class FlowRunRestored(Restored):
    TOPIC: ClassVar[str] = "FlowRun.Restored"


class Stretch(NamedTuple):
    """What can be asked of a flow run's past, as it was from the event of a version on, until the next stretch began.

    `began` is when that event was recorded.
    """

    version: int
    began: datetime
    state_type: StateType | None
    state_name: str | None
    tags: list[str]


class FlowRun(Run):
    """A flow run: what it was asked to do, the state it is in, and what follows from how it got there.

    `inputs` are those there are, by key, each as it was written. `awaits_plan` says that a schedule planned the run and
    that it has never been in another state than the scheduled ones. `stretches` are all of its life, oldest first.
    """

    __slots__ = (
        "awaits_plan",
        "context",
        "deployment_id",
        "deployment_version",
        "empirical_policy",
        "flow_id",
        "flow_version",
        "idempotency_key",
        "infrastructure_document_id",
        "infrastructure_pid",
        "inputs",
        "job_variables",
        "labels",
        "parameters",
        "parent_task_run_id",
        "schedule_id",
        "schedule_name",
        "stretches",
        "work_pool_name",
        "work_queue_id",
        "work_queue_name",
    )

    kind = "Flow run"

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.flow_id: UUID = id
        self.parameters: dict[str, Any] = {}
        self.context: dict[str, Any] = {}
        self.labels: Labels = {}
        self.empirical_policy = FlowRunPolicy()
        self.idempotency_key: str | None = None
        self.flow_version: str | None = None
        self.deployment_id: UUID | None = None
        self.deployment_version: str | None = None
        self.parent_task_run_id: UUID | None = None
        self.schedule_id: UUID | None = None
        self.schedule_name: str | None = None
        self.awaits_plan = False
        self.infrastructure_document_id: UUID | None = None
        self.infrastructure_pid: str | None = None
        self.work_pool_name: str | None = None
        self.work_queue_name: str | None = None
        self.work_queue_id: UUID | None = None
        self.job_variables: dict[str, Any] | None = None
        self.inputs: dict[str, FlowRunInputWritten] = {}
        self.stretches: list[Stretch] = []

    def fold(self, event: Event) -> None:
        match event:
            case FlowRunStateSet():
                self.set_state(event)
                if event.empirical_policy is not None:
                    self.empirical_policy = event.empirical_policy
            case FlowRunCreated():
                self.take_over(event, FlowRunFacts.model_fields)
                self.awaits_plan = event.schedule_id is not None
                self.payload_key = event.payload_key
            case FlowRunTransitionRefused():
                if event.empirical_policy is not None:
                    self.empirical_policy = event.empirical_policy
            case FlowRunUpdated():
                self.take_over(event.changes, event.changes.model_fields_set)
            case FlowRunLabelled():
                self.labels = {**self.labels, **event.labels}
            case FlowRunInputWritten():
                self.inputs[event.key] = event
            case FlowRunInputDeleted():
                self.inputs.pop(event.key, None)
            case FlowRunDeleted():
                self.deleted = True
            case FlowRunPayloadErased():
                self.forget_payload()
            case _:
                super().fold(event)

    def forget_payload(self) -> None:
        super().forget_payload()
        self.parameters, self.context, self.job_variables = {}, {}, None
        self.inputs = {key: without_payload(written) for key, written in self.inputs.items()}

    def apply(self, event: Event) -> None:
        super().apply(event)
        if isinstance(event, FlowRunStateSet | FlowRunCreated | FlowRunUpdated):
            self._begin_stretch(event)

    def _begin_stretch(self, event: Event) -> None:
        state = self.state
        type, name = (state.type, state.name) if state else (None, None)
        last = self.stretches[-1] if self.stretches else None
        if last is None or (type, name, self.tags) != last[2:]:
            self.stretches.append(Stretch(event.originator_version, event.recorded_at, type, name, self.tags))

    def enter(self, state: State) -> None:
        """A run that resumes goes on with the attempt it was paused in, and no longer counts as resuming.

        Source: servers 2.7.12, 2.20.25 and 3.9.1.
        """
        attempts = self.run_count
        super().enter(state)
        self.awaits_plan = self.awaits_plan and state.type is StateType.SCHEDULED
        if state.type is StateType.RUNNING and self.empirical_policy.resuming:
            self.run_count = attempts
            self.empirical_policy = self.empirical_policy.model_copy(update={"resuming": False})

    def plan_key(self) -> Key | None:
        """The key of a run that a schedule planned, for as long as it waits to begin for the first time."""
        if not self.awaits_plan or self.deployment_id is None or self.schedule_id is None:
            return None
        return keys.planned_run(self.deployment_id, self.schedule_id, self.id)

    def related_ids(self) -> Iterable[UUID]:
        if self.parent_task_run_id is not None:
            yield self.parent_task_run_id
        if self.deployment_id is not None:
            yield self.deployment_id
        yield from self.slots
