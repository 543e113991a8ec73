"""What flow runs and task runs have in common: a state, and counters and times that follow from every transition."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel

from domain.aggregate import Aggregate
from domain.events import Event
from domain.payloads import Payload, without_payload
from domain.states import State, StateType


class StateSet(Event):
    """A run entered a state. The shape that flow runs and task runs share; each has its own topic.

    `proposed` is there only where a rule put another state in the place of the proposed one, with that `rule` and its
    `reason`. `slots` is there where the transition changed which slots of concurrency limits the run holds: the ids of
    the limits, each with the id of the holding. `transition_id` repeats are recognised by the state's details.
    """

    state: State
    proposed: State | None = None
    rule: str | None = None
    reason: Annotated[str | None, Payload()] = None
    dialect: str | None = None
    force: bool = False
    slots: dict[UUID, UUID] | None = None


class TransitionRefused(Event):
    """A proposal was refused or delayed and nothing changed, by which rule and why. `delay_seconds` goes with WAIT.

    `force` is there where it was made by force.
    """

    proposed: State
    status: str
    rule: str
    reason: Annotated[str, Payload("")]
    delay_seconds: float | None = None
    dialect: str | None = None
    force: Literal[True] | None = None

    def same_as(self, earlier: "TransitionRefused") -> bool:
        """Whether this says nothing new: the same actor was refused the same thing for the same reason before."""
        return (
            self.actor == earlier.actor
            and self.rule == earlier.rule
            and self.reason == earlier.reason
            and self.force == earlier.force
            and self.proposed.type is earlier.proposed.type
            and self.proposed.name == earlier.proposed.name
        )


class PayloadErased(Event):
    """From here on nobody can read what people put into a run, before this or after it; its key is being destroyed.

    The shape that flow runs and task runs share; each has its own topic.
    """


class Archived(Event):
    """A run that had ended went into an archive with all its events, in the place of which this one stands.

    It is the last event of its stream, and until the run is restored the only one: the versions before it are those
    that are in the archive. `part_of` is the flow run of a task run, or the task run that stands for a subflow run, so
    that what belongs to a run can be found while all of it is away.
    """

    archive_id: UUID
    part_of: UUID | None = None


class Restored(Event):
    """A run came back from an archive with all its events: it is again what it was, as if it had never been away."""

    archive_id: UUID


class Run(Aggregate):
    """A run of something: what every run counts and times, whoever orchestrates it.

    Times are the transitions' own; `total_run_time` is in seconds and leaves out the state the run is in now.
    `payload_key` is the key its payload is sealed under, if it is; once it `is_erased`, there is no payload any more.
    A run in an archive, whose id `archive_id` is, counts as deleted.
    """

    __slots__ = (
        "_was_deleted",
        "archive_id",
        "end_time",
        "expected_start_time",
        "is_erased",
        "last_refusal",
        "name",
        "next_scheduled_start_time",
        "payload_key",
        "run_count",
        "slots",
        "start_time",
        "state",
        "tags",
        "total_run_time",
    )

    kind: ClassVar[str]

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.name = ""
        self.tags: list[str] = []
        self.state: State | None = None
        self.run_count = 0
        self.start_time: datetime | None = None
        self.end_time: datetime | None = None
        self.total_run_time = 0.0
        self.expected_start_time: datetime | None = None
        self.next_scheduled_start_time: datetime | None = None
        self.last_refusal: TransitionRefused | None = None
        self.slots: dict[UUID, UUID] = {}
        self.payload_key: UUID | None = None
        self.is_erased = False
        self.archive_id: UUID | None = None
        self._was_deleted = False

    @property
    def runs_in(self) -> UUID | None:
        """The run that this one is part of and ends with."""
        return None

    def set_state(self, event: StateSet) -> None:
        """Take in that a state was set."""
        self.enter(event.state)
        if event.slots is not None:
            self.slots = event.slots

    def enter(self, state: State) -> None:
        """Bookkeeping of one accepted transition, the same for every dialect.

        Source: the runs read back after every recorded transition of server 3.9.1.
        """
        left, at = self.state, state.timestamp
        if left is not None and left.type is StateType.RUNNING:
            self.total_run_time += max((at - left.timestamp).total_seconds(), 0.0)
        scheduled = state.state_details.scheduled_time if state.type is StateType.SCHEDULED else None
        self.next_scheduled_start_time = scheduled
        if self.expected_start_time is None:
            self.expected_start_time = scheduled or at
        if state.type is StateType.RUNNING:
            self.run_count += 1
        if self.start_time is None and (state.type is StateType.RUNNING or state.is_terminal):
            self.start_time = at
        self.end_time = at if state.is_terminal else None
        self.state = state

    def forget_payload(self) -> None:
        """Let go of all that people put into the run."""
        self.is_erased = True
        self.state = self.state and without_payload(self.state)

    def kept(self, state: State) -> State:
        """A state as a run keeps it: without its payload once that of the run was erased."""
        return without_payload(state) if self.is_erased else state

    def fold(self, event: Event) -> None:
        match event:
            case Archived():
                self._was_deleted, self.deleted = self.deleted, True
                self.archive_id = event.archive_id
            case Restored():
                self.deleted = self._was_deleted
                self.archive_id = None
            case _:
                super().fold(event)

    def apply(self, event: Event) -> None:
        if isinstance(event, Archived) and self.version == 0:
            # What came before is in the archive.
            self.version = event.originator_version - 1
        if isinstance(event, Archived | Restored):
            updated = self.updated
            super().apply(event)
            # Going into an archive and coming back changes nothing about a run.
            self.updated = updated
            return
        super().apply(event)
        # A refusal is the last one only while nothing else happens to the run.
        self.last_refusal = event if isinstance(event, TransitionRefused) else None

    def take_over(self, source: BaseModel, fields: Iterable[str]) -> None:
        """Become what these fields of an event say."""
        for field in fields:
            setattr(self, field, getattr(source, field))
