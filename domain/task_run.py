"""The TaskRun aggregate: one run of a task, orchestrated here or reported by the client that orchestrates it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from domain import keys
from domain.events import Event, Upcaster
from domain.flow import Labels
from domain.keys import Key
from domain.payloads import without_payload
from domain.run import Archived, PayloadErased, Restored, Run, StateSet, TransitionRefused
from domain.run_policy import TaskRunPolicy
from domain.states import State, StateType
from domain.times import Time


class TaskRunResult(BaseModel):
    model_config = ConfigDict(frozen=True)
    input_type: Literal["task_run"] = "task_run"
    id: UUID


class FlowRunResult(BaseModel):
    model_config = ConfigDict(frozen=True)
    input_type: Literal["flow_run"] = "flow_run"
    id: UUID


class Parameter(BaseModel):
    model_config = ConfigDict(frozen=True)
    input_type: Literal["parameter"] = "parameter"
    name: str


class Constant(BaseModel):
    model_config = ConfigDict(frozen=True)
    input_type: Literal["constant"] = "constant"
    type: str


TaskInput = Annotated[TaskRunResult | FlowRunResult | Parameter | Constant, Field(discriminator="input_type")]
TaskInputs = dict[str, list[TaskInput]]


def natural_keys(flow_run_id: UUID | None, task_key: str, dynamic_key: str) -> Iterable[Key]:
    """Two task runs of one flow run differ in their keys; those outside any flow run may not."""
    if flow_run_id is None:
        return ()
    return (keys.task_run(flow_run_id, task_key, dynamic_key),)


class TaskRunFacts(BaseModel):
    """What a task run is from its creation on, whoever orchestrates it."""

    model_config = ConfigDict(frozen=True)

    flow_run_id: UUID | None = None
    name: str
    task_key: str
    dynamic_key: str
    tags: list[str] = Field(default_factory=list)
    labels: Labels = Field(default_factory=dict)
    task_inputs: TaskInputs = Field(default_factory=dict)
    empirical_policy: TaskRunPolicy = Field(default_factory=TaskRunPolicy)
    cache_key: str | None = None
    cache_expiration: Time | None = None
    task_version: str | None = None

    def natural_keys(self) -> Iterable[Key]:
        return natural_keys(self.flow_run_id, self.task_key, self.dynamic_key)


def _with_flow_of_labels(facts: dict[str, Any]) -> dict[str, Any]:
    """In version 1 the flow was told by a label alone, where there was one."""
    label = facts["labels"].get("prefect.flow.id") if facts.get("flow_run_id") else None
    try:
        return {**facts, "flow_id": UUID(label)}
    except (TypeError, ValueError, AttributeError):
        # Clients that report their task runs may set the label to anything, or not at all.
        return facts


class TaskRunCreated(TaskRunFacts, Event):
    """A task run came to be; `reported` says that its client orchestrates it and only reports its states.

    `flow_id` is the flow of its flow run, which never changes. `payload_key` is the key under which its payload is
    sealed, if it is; `payload_erased` says that the payload of its flow run had been erased by then.
    """

    TOPIC: ClassVar[str] = "TaskRun.Created"
    class_version: ClassVar[int] = 2
    upcasters: ClassVar[dict[int, Upcaster]] = {1: _with_flow_of_labels}

    reported: bool = False
    flow_id: UUID | None = None
    payload_key: UUID | None = None
    payload_erased: Literal[True] | None = None


class TaskRunStateSet(StateSet):
    """`flow_run_run_count` is the attempt of the flow run that the transition belongs to, where it was looked up.

    `mirrored_from` names the child flow run whose state this is, for the task run that stands for a subflow.
    `resets_run_count` says that counting starts anew: a finished task run is run again. `caches_result` says that the
    state may be found by its cache key from now on.
    """

    TOPIC: ClassVar[str] = "TaskRun.StateSet"

    flow_run_run_count: int | None = None
    mirrored_from: UUID | None = None
    resets_run_count: bool = False
    caches_result: Literal[True] | None = None


class TaskRunTransitionRefused(TransitionRefused):
    TOPIC: ClassVar[str] = "TaskRun.TransitionRefused"


class ReportedCounters(BaseModel):
    """What a client that orchestrates a task run says of its counters and times, as of one state."""

    model_config = ConfigDict(frozen=True)

    run_count: int = 0
    flow_run_run_count: int = 0
    expected_start_time: Time | None = None
    next_scheduled_start_time: Time | None = None
    start_time: Time | None = None
    end_time: Time | None = None
    total_run_time: float = 0.0


class TaskRunStateReported(Event):
    """A client says that its task run entered a state. The state's id is the id of the client's event.

    `follows` is the id of the client's event before this one; reports may arrive in any order, and more than once.
    """

    TOPIC: ClassVar[str] = "TaskRun.StateReported"

    state: State
    follows: UUID | None = None
    counters: ReportedCounters


class TaskRunUpdated(Event):
    TOPIC: ClassVar[str] = "TaskRun.Updated"

    name: str


class TaskRunDeleted(Event):
    TOPIC: ClassVar[str] = "TaskRun.Deleted"


class TaskRunPayloadErased(PayloadErased):
    TOPIC: ClassVar[str] = "TaskRun.PayloadErased"


class TaskRunArchived(Archived):
    TOPIC: ClassVar[str] = "TaskRun.Archived"


class TaskRunRestored(Restored):
    TOPIC: ClassVar[str] = "TaskRun.Restored"


class HandOut(BaseModel):
    """To which subscriber a run in the background was handed, in which state; another may get it from `expires_at` on.

    Without `expires_at` the subscriber has acknowledged it, and the run is its own for as long as it is in that state.
    """

    model_config = ConfigDict(frozen=True)

    state_id: UUID
    subscriber: str
    expires_at: Time | None = None

    def is_over(self, at: datetime) -> bool:
        """Whether the time to acknowledge it has run out."""
        return self.expires_at is not None and self.expires_at <= at


class TaskRunHandedOut(Event):
    """A run in the background was handed to a subscriber, who has until `expires_at` to acknowledge it."""

    TOPIC: ClassVar[str] = "TaskRun.HandedOut"

    hand_out: HandOut


class TaskRunTaken(Event):
    """The subscriber that a run was handed to has acknowledged it: it is that subscriber's to run."""

    TOPIC: ClassVar[str] = "TaskRun.Taken"

    subscriber: str


class TaskRunHandedBack(Event):
    """The subscriber that a run was handed to went before it acknowledged it: the run may go to another at once."""

    TOPIC: ClassVar[str] = "TaskRun.HandedBack"

    subscriber: str


class TaskRun(Run):
    """A task run, in a flow run or on its own."""

    __slots__ = (
        "cache_expiration",
        "cache_key",
        "dynamic_key",
        "empirical_policy",
        "flow_id",
        "flow_run_id",
        "flow_run_run_count",
        "followed",
        "hand_out",
        "labels",
        "reported",
        "reports",
        "task_inputs",
        "task_key",
        "task_version",
        "tips",
    )

    kind = "Task run"

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.flow_run_id: UUID | None = None
        self.flow_id: UUID | None = None
        self.task_key = ""
        self.dynamic_key = ""
        self.labels: Labels = {}
        self.task_inputs: TaskInputs = {}
        self.empirical_policy = TaskRunPolicy()
        self.cache_key: str | None = None
        self.cache_expiration: datetime | None = None
        self.task_version: str | None = None
        self.flow_run_run_count = 0
        self.reported = False
        self.reports: set[UUID] = set()
        self.followed: set[UUID] = set()
        self.hand_out: HandOut | None = None
        self.tips: dict[UUID, tuple[State, ReportedCounters | None]] = {}

    def fold(self, event: Event) -> None:
        match event:
            case TaskRunStateSet():
                if event.resets_run_count:
                    self.run_count = 0
                self.set_state(event)
                self.tips = {event.state.id: (event.state, None)}
                if event.flow_run_run_count is not None:
                    self.flow_run_run_count = event.flow_run_run_count
            case TaskRunStateReported():
                self._take_report(event)
            case TaskRunCreated():
                self.take_over(event, TaskRunFacts.model_fields)
                self.reported = event.reported
                self.flow_id = event.flow_id
                self.payload_key = event.payload_key
                self.is_erased = event.payload_erased is True
            case TaskRunTransitionRefused():
                pass
            case TaskRunUpdated():
                self.name = event.name
            case TaskRunHandedOut():
                self.hand_out = event.hand_out
            case TaskRunTaken():
                if self.hand_out is not None:
                    self.hand_out = self.hand_out.model_copy(update={"expires_at": None})
            case TaskRunHandedBack():
                self.hand_out = None
            case TaskRunDeleted():
                self.deleted = True
            case TaskRunPayloadErased():
                self.forget_payload()
            case _:
                super().fold(event)

    def forget_payload(self) -> None:
        super().forget_payload()
        self.tips = {id: (without_payload(state), counters) for id, (state, counters) in self.tips.items()}

    def _take_report(self, event: TaskRunStateReported) -> None:
        """The current state is the newest report that no other known report follows.

        The links between reports order them, whatever order they arrive in; the clients' clocks speak only where a link
        has not arrived yet or where the ledger itself set a state.
        """
        state = event.state
        self.reports.add(state.id)
        if event.follows is not None:
            self.followed.add(event.follows)
            self.tips.pop(event.follows, None)
        if state.id not in self.followed:
            self.tips[state.id] = (state, event.counters)
        current, counters = max(self.tips.values(), key=lambda tip: (tip[0].timestamp, tip[0].id.int))
        if counters is None:
            return
        self.state = current
        self.run_count = counters.run_count
        self.flow_run_run_count = counters.flow_run_run_count
        self.expected_start_time = counters.expected_start_time
        self.next_scheduled_start_time = counters.next_scheduled_start_time
        self.start_time = counters.start_time
        self.end_time = counters.end_time
        self.total_run_time = counters.total_run_time

    @property
    def handed_out(self) -> HandOut | None:
        """The hand-out that stands; one of an earlier state means nothing any more."""
        hand_out = self.hand_out
        return hand_out if hand_out and self.state and hand_out.state_id == self.state.id else None

    @property
    def waits_until(self) -> datetime | None:
        """The time from which on the run may be handed to a subscriber; None for a run that waits for none.

        Only deferred states wait for one: other scheduled runs are waited for by whoever runs them already.
        """
        state = self.state
        if self.flow_run_id is not None or state is None or state.type is not StateType.SCHEDULED:
            return None
        if not state.state_details.deferred or (self.handed_out is not None and self.handed_out.expires_at is None):
            return None
        return state.state_details.scheduled_time or state.timestamp

    def related_ids(self) -> Iterable[UUID]:
        if self.flow_run_id is not None:
            yield self.flow_run_id
        yield from self.slots

    def natural_keys(self) -> Iterable[Key]:
        return natural_keys(self.flow_run_id, self.task_key, self.dynamic_key)

    @property
    def runs_in(self) -> UUID | None:
        return self.flow_run_id
