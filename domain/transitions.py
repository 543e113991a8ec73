"""What an event says of a transition of a run: what was proposed, what became of it, by which rule and why."""

from dataclasses import dataclass
from enum import StrEnum

from domain.events import Event
from domain.run import StateSet, TransitionRefused
from domain.states import State
from domain.task_run import TaskRunStateReported, TaskRunStateSet


class Origin(StrEnum):
    """How a state came to be asked for or set. Only what was proposed was decided by rules."""

    CREATED = "created"
    PROPOSED = "proposed"
    MIRRORED = "mirrored"
    REPORTED = "reported"


FIRST_STATE_VERSION = 2
"""The version of the event that sets the state with which a run was made: the one behind its creation."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One transition, or the refusal of one.

    `before` is the state that the run was in, `proposed` the one that was asked for, as it was kept: where rules
    accepted it in another form, in that form. `state` is the one that was set, None where nothing changed. `verdict` is
    ACCEPT, REJECT, WAIT or ABORT, None for what no rule decided about. `delay_seconds` goes with WAIT. `dialect`
    and `force` are those of the proposal.
    """

    origin: Origin
    before: State | None
    proposed: State | None
    state: State | None
    verdict: str | None = None
    rule: str | None = None
    reason: str | None = None
    delay_seconds: float | None = None
    dialect: str | None = None
    force: bool | None = None


def transition_of(event: Event, before: State | None) -> Transition | None:
    """The transition that an event tells of, by a run that was in the state `before`; None where it tells of none."""
    match event:
        case TaskRunStateReported():
            return Transition(Origin.REPORTED, before, None, event.state)
        case TaskRunStateSet(mirrored_from=child) if child is not None:
            return Transition(Origin.MIRRORED, before, None, event.state)
        case StateSet(originator_version=version) if version == FIRST_STATE_VERSION:
            return Transition(Origin.CREATED, before, None, event.state, dialect=event.dialect)
        case StateSet():
            return Transition(
                Origin.PROPOSED,
                before,
                event.proposed or event.state,
                event.state,
                "ACCEPT" if event.rule is None else "REJECT",
                event.rule,
                event.reason,
                dialect=event.dialect,
                force=event.force,
            )
        case TransitionRefused():
            return Transition(
                Origin.PROPOSED,
                before,
                event.proposed,
                None,
                event.status,
                event.rule,
                event.reason,
                event.delay_seconds,
                event.dialect,
                bool(event.force),
            )
        case _:
            return None
