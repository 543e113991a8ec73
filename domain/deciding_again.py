"""Recorded proposals decided again: by the rules of today, from what the ledger held just before they were made.

The same rules give the same verdict, for time and dialect, force and random draws are recorded with the proposal. Of a
proposal that rules accepted in another form that form is recorded, which they leave as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

from domain.commands.command import Caller, ProposedState
from domain.commands.flow_run_inputs import RESUME_ONLY_PAUSED, RESUME_WITH_FITTING_INPUT
from domain.commands.flow_runs import flow_run_proposal
from domain.commands.task_runs import task_run_proposal
from domain.events import Event
from domain.flow_run import FlowRun
from domain.orchestration.policies import DIALECTS
from domain.orchestration.policy import Ruling
from domain.run import Run
from domain.session import Session, View
from domain.states import State, StateType
from domain.task_run import TaskRun
from domain.transitions import Transition


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, or would be: ACCEPT, REJECT, WAIT or ABORT, by which rule (None where all accepted), and the
    type and name of the state that was entered, if any was.
    """

    verdict: str
    rule: str | None
    state_type: StateType | None
    state_name: str | None


class CannotDecideAgain(Exception):
    """What is recorded does not suffice to decide a proposal again; the message says what is missing."""


def recorded_decision(transition: Transition) -> Decision:
    """What was decided about a proposal when it was made."""
    return _decision(transition.verdict or "", transition.rule, transition.state)


def decide_again(event: Event, transition: Transition, before: View, renews_leases: Callable[[str], bool]) -> Decision:
    """What the rules of today would decide about a proposal that an event records. Raises CannotDecideAgain.

    `before` is the ledger as it stood then, `renews_leases` tells it of a client by its name.
    """
    proposed, dialect = transition.proposed, transition.dialect
    if proposed is None or dialect is None:
        raise CannotDecideAgain("the dialect of the caller is not recorded")
    if dialect not in DIALECTS:
        raise CannotDecideAgain(f"the dialect {dialect} is not known any more")
    run = before.load(event.originator_id)
    if transition.rule == RESUME_WITH_FITTING_INPUT:
        raise CannotDecideAgain("the input that was given is not recorded")
    if transition.rule == RESUME_ONLY_PAUSED and isinstance(run, Run) and not _is_paused(run):
        return Decision("ABORT", RESUME_ONLY_PAUSED, None, None)
    caller = Caller(event.actor, dialect, event.request_id, event.traceparent, renews_leases(event.actor))
    session = Session(caller, event.recorded_at, before)
    state = ProposedState(
        proposed.id, proposed.type, proposed.name, proposed.message, proposed.data, proposed.state_details
    )
    ruling = _ruling(session, run, state, force=bool(transition.force))
    return _decision(type(ruling.verdict).__name__.upper(), ruling.rule, ruling.state)


def _ruling(session: Session, run: object, state: ProposedState, *, force: bool) -> Ruling:
    match run:
        case FlowRun():
            policy, context = flow_run_proposal(session, run, state, force=force)
            return policy.decide(context)
        case TaskRun():
            task_policy, task_context = task_run_proposal(session, run, state, force=force)
            return task_policy.decide(task_context)
        case _:
            raise CannotDecideAgain("the run was not there")


def _decision(verdict: str, rule: str | None, state: State | None) -> Decision:
    return Decision(verdict, rule, state.type if state else None, state.name if state else None)


def _is_paused(run: Run) -> bool:
    return run.state is not None and run.state.type is StateType.PAUSED
