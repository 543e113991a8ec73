"""What proposals of flow runs and of task runs share: the answer that goes with a verdict, and mirroring subflows."""

from typing import Any
from uuid import UUID, uuid5

from domain.commands import slots
from domain.commands.command import Explanation, OrchestrationResult
from domain.concurrency_limit import Holder
from domain.orchestration.limit_rules import HOLDS_SLOTS
from domain.orchestration.policy import Policy, Ruling
from domain.orchestration.rule import Abort, Accept, Context, R, Reject, Wait
from domain.run import Run, TransitionRefused
from domain.session import Session
from domain.states import State
from domain.task_run import TaskRun, TaskRunStateSet


def answer(
    ruling: Ruling, entered: State | None, current: State | None, dialect: str = "prefect-3"
) -> OrchestrationResult:
    """The answer to a proposal: the state that was entered, or else the one the run stays in.

    Server 2.7.12 leaves the data of the latter out.
    """
    state, wrote = entered or current, entered is not None
    if entered is None and state is not None and state.data is not None and dialect == "orion":
        state = state.model_copy(update={"data": None})
    match ruling.verdict:
        case Accept():
            return OrchestrationResult("ACCEPT", state, {"type": "accept_details"}, wrote)
        case Reject(reason=reason):
            return OrchestrationResult("REJECT", state, {"type": "reject_details", "reason": reason}, wrote)
        case Wait(reason=reason, delay_seconds=delay):
            details = {"type": "wait_details", "delay_seconds": delay, "reason": reason}
            return OrchestrationResult("WAIT", state, details, wrote)
        case Abort(reason=reason):
            return OrchestrationResult("ABORT", state, {"type": "abort_details", "reason": reason}, wrote)


def refuse(
    session: Session, run: Run, kind: type[TransitionRefused], proposed: State, ruling: Ruling, *, force: bool = False
) -> None:
    """Record that a rule refused or delayed a proposal."""
    verdict = ruling.verdict
    if isinstance(verdict, Accept):
        raise TypeError("An accepted proposal is not a refusal")
    session.refuse(
        run,
        kind,
        proposed=proposed,
        status=type(verdict).__name__.upper(),
        rule=ruling.rule,
        reason=verdict.reason,
        delay_seconds=verdict.delay_seconds if isinstance(verdict, Wait) else None,
        dialect=session.caller.dialect,
        force=force or None,
        **ruling.facts,
    )


def transition_facts(proposed: State, entered: State, ruling: Ruling, session: Session, force: bool) -> dict[str, Any]:
    """The fields of the event that records an accepted or replaced transition."""
    dialect = session.caller.dialect
    facts: dict[str, Any] = {**ruling.facts, "state": lasting(entered, dialect), "dialect": dialect, "force": force}
    if isinstance(ruling.verdict, Reject):
        facts.update(proposed=proposed, rule=ruling.rule, reason=ruling.verdict.reason)
    return facts


def explain(session: Session, run: R, policy: Policy[R], context: Context[R]) -> Explanation:
    """What a policy would decide about a proposal, and what each of its rules says; nothing is recorded."""
    ruling, opinions = policy.explain(context)
    session.discard()
    result = answer(ruling, ruling.state, run.state, session.caller.dialect)
    return Explanation(policy.name, result, ruling.rule, tuple(opinions))


def lasting(state: State, dialect: str) -> State:
    """The state as it is kept: servers 2.20.25 and 3.9.1 do not keep the note that a result was not stored."""
    data = state.data
    if dialect == "orion" or not isinstance(data, dict) or data.get("type") != "unpersisted":
        return state
    return state.model_copy(update={"data": None})


def own_state(state: State, flow_run_id: UUID | None, task_run_id: UUID | None) -> State:
    """The state with the back-references that every state of a run carries: its own id and that of what it runs in."""
    details = state.state_details
    if (details.flow_run_id, details.task_run_id) == (flow_run_id, task_run_id):
        return state
    return state.altered(flow_run_id=flow_run_id, task_run_id=task_run_id)


def mirror(session: Session, child_id: UUID, parent_task_run_id: UUID | None, state: State) -> None:
    """Set the state of a subflow on the task run that stands for it in its parent, in the same transaction.

    Clients never set the state of that task run themselves. Source: scenario c_subflow, clients 2.7.12 to 3.9.1.
    """
    parent = session.find(TaskRun, parent_task_run_id)
    if parent is None:
        return
    details = state.state_details.model_copy(
        update={
            "flow_run_id": parent.flow_run_id,
            "task_run_id": parent.id,
            "child_flow_run_id": child_id,
            "transition_id": None,
        }
    )
    mirrored = state.model_copy(update={"id": uuid5(state.id, str(parent.id)), "state_details": details})
    facts = {"state": mirrored, "mirrored_from": child_id}
    holder = Holder(type="task_run", id=parent.id)
    slots.record_transition(session, parent, TaskRunStateSet, facts, holds_in=HOLDS_SLOTS, holder=holder)
