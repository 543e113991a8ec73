"""The shapes of orchestration: what a rule is asked, and the verdicts it may give.

A rule is a pure function of a run's history (its fold), the facts named in the context, the proposal and the time of
the decision. It changes nothing itself: what a verdict brings about is an event that the command appends.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID, uuid5

from domain.flow_run import FlowRun
from domain.run import Run
from domain.states import ALL_STATES, State, StateType
from domain.task_run import TaskRun

R = TypeVar("R", bound=Run)


class Fact(Enum):
    """What a rule may need to know beyond the run itself; it is looked up only for transitions it speaks about."""

    FLOW_RUN = auto()
    TAG_LIMITS = auto()
    CACHED_STATE = auto()
    DEPLOYMENT = auto()


@dataclass(frozen=True, slots=True)
class LimitFacts:
    """What a rule gets to know of a concurrency limit.

    `free` slots are below one where there is none, `wait_seconds` is after how long asking again is worth while, and
    `holdings` are the ids by which slots are held.
    """

    id: UUID
    name: str
    limit: int
    free: float
    wait_seconds: float
    holdings: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """What a rule gets to know of the deployment of a flow run: its limit, if it has one, and what to do at the limit.

    `grace_seconds` is how long a slot is kept for a run that does not say that it is alive.
    """

    limit: LimitFacts | None
    cancels_new: bool
    grace_seconds: float


@dataclass(slots=True)
class Context(Generic[R]):
    """What a rule may look at: the run, the state it is in, the state proposed for it, and when this is decided.

    `proposed` is replaced as rules accept it in an altered form. `run_count` is the run's, if no rule reset it.
    `state_id` is the id that a state made by a rule gets, `lease_id` that of a lease it grants. The other fields are
    facts, there only where a rule declared that it needs them: the flow run of a task run, the active limits on its
    tags, the state cached under the proposed cache key, the deployment of a flow run. `renews_leases` is the caller's.
    """

    run: R
    initial: State | None
    proposed: State
    decided_at: datetime
    run_count: int
    renews_leases: bool = False
    flow_run: FlowRun | None = None
    limits: tuple[LimitFacts, ...] = ()
    cached_state: State | None = None
    deployment: DeploymentFacts | None = None

    @property
    def state_id(self) -> UUID:
        return uuid5(self.proposed.id, "replacement")

    @property
    def lease_id(self) -> UUID:
        return uuid5(self.proposed.id, "lease")


FlowRunContext = Context[FlowRun]
TaskRunContext = Context[TaskRun]


@dataclass(frozen=True, slots=True)
class Accept:
    """Go on; with `state`, go on with that one in the place of the proposed one (its name or details were altered).

    `facts` are fields of the event that will record the transition.
    """

    state: State | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reject:
    """Not this state: `state` instead, or, where it is None, the run stays as it is."""

    reason: str
    state: State | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet: ask again in `delay_seconds`."""

    reason: str
    delay_seconds: int


@dataclass(frozen=True, slots=True)
class Abort:
    """No: the caller should stop what it is doing."""

    reason: str


Verdict = Accept | Reject | Wait | Abort
ACCEPT = Accept()


class Rule(ABC, Generic[R]):
    """One rule, which speaks about transitions from some types of state to some others.

    `before_any` says whether it speaks about a run that has no state yet, too; `needs` names the facts it looks at.
    """

    from_types: ClassVar[frozenset[StateType]] = ALL_STATES
    to_types: ClassVar[frozenset[StateType]] = ALL_STATES
    before_any: ClassVar[bool] = False
    needs: ClassVar[frozenset[Fact]] = frozenset()

    @property
    def name(self) -> str:
        return type(self).__name__

    def concerns(self, initial: StateType | None, proposed: StateType) -> bool:
        """Whether this rule speaks about transitions between these types of state."""
        if proposed not in self.to_types:
            return False
        return self.before_any if initial is None else initial in self.from_types

    @property
    def states(self) -> str:
        """What the rule states, in one sentence."""
        return (self.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")

    @abstractmethod
    def decide(self, context: Context[R]) -> Verdict:
        """The verdict on a transition that this rule speaks about."""


def cannot_transition(initial: State, proposed: State) -> str:
    """The reason by which recorded servers refuse a pair of states as such."""
    return (
        f"This run cannot transition to the StateType.{proposed.type.name} state"
        f" from the StateType.{initial.type.name} state."
    )
