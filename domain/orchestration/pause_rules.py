"""The rules of pausing flow runs and of leaving a pause.

A pause keeps its process waiting; a suspension (`pause_reschedule`) lets it end, so that only a deployment can go on.
Source: the transitions recorded against servers 2.7.12, 2.20.25 and 3.9.1.
"""

from domain.flow_run import FlowRun
from domain.orchestration.rule import ACCEPT, Abort, Accept, FlowRunContext, Reject, Rule, Verdict, cannot_transition
from domain.states import State, StateDetails, StateType

NO_KEY = ""
"""What stands for the key of a pause that names none."""


class PauseRunningOnce(Rule[FlowRun]):
    """Only a running run is paused, once for each pause key; only a deployed run that is no subflow is suspended.

    Dialects: prefect-2, prefect-3, strict.
    """

    to_types = frozenset({StateType.PAUSED})
    before_any = True

    def verb(self, details: StateDetails) -> str:
        """The word for what the run was to do."""
        return "suspend" if details.pause_reschedule else "pause"

    def not_suspended(self, what: str) -> Abort:
        """The verdict on suspending what cannot be suspended."""
        return Abort(f"Cannot suspend {what}.")

    def decide(self, context: FlowRunContext) -> Verdict:
        run, details = context.run, context.proposed.state_details
        verb = self.verb(details)
        if context.initial is None or context.initial.type is not StateType.RUNNING:
            return Reject(f"Cannot {verb} flows that are not currently running.")
        key = NO_KEY if details.pause_key is None else details.pause_key
        if key in run.empirical_policy.pause_keys:
            return Reject(f"This {verb} has already fired.")
        if details.pause_reschedule and run.parent_task_run_id is not None:
            return self.not_suspended("subflows")
        if details.pause_reschedule and run.deployment_id is None:
            return self.not_suspended("flows without a deployment")
        keys = [*run.empirical_policy.pause_keys, key]
        return Accept(facts={"empirical_policy": run.empirical_policy.model_copy(update={"pause_keys": keys})})


class PauseRunningOnceInOneWord(PauseRunningOnce):
    """As PauseRunningOnce, which calls suspending a pause with the reschedule option. Source: server 2.7.12.

    Dialects: orion.
    """

    def verb(self, details: StateDetails) -> str:
        return "pause"

    def not_suspended(self, what: str) -> Abort:
        return Abort(f"Cannot pause {what} with the reschedule option.")


class LeavePauseInTime(Rule[FlowRun]):
    """A paused run leaves its pause before the pause times out, a suspended one only through its deployment.

    Whatever becomes of the proposal, the run is noted to be resuming; one whose process ended in a pause, so that it is
    scheduled again, forgets its pauses.

    Dialects: prefect-3, strict.
    """

    from_types = frozenset({StateType.PAUSED})
    barred = frozenset({StateType.PENDING})
    forgets_pauses = True

    def reached(self, initial: State, proposed: State) -> str:
        """The word for what the run was, when it is said that it never left its pause."""
        return proposed.type.value.lower()

    def decide(self, context: FlowRunContext) -> Verdict:
        initial, proposed = context.initial, context.proposed
        policy = context.run.empirical_policy
        resuming = {"empirical_policy": policy.model_copy(update={"resuming": True})}
        if initial is None:
            return ACCEPT
        details = initial.state_details
        word = self.reached(initial, proposed)
        if proposed.type in self.barred:
            return Reject(cannot_transition(initial, proposed), facts=resuming)
        if proposed.type is StateType.CANCELLING:
            return Accept(facts=resuming)
        if details.pause_reschedule and context.run.deployment_id is None:
            return Reject(f"Cannot reschedule a {word} flow run without a deployment.", facts=resuming)
        if details.pause_timeout is not None and details.pause_timeout < context.decided_at:
            failed = _never_resumed(context, word)
            return Reject("The flow run pause has timed out and can no longer resume.", failed, resuming)
        if self.forgets_pauses and proposed.type is StateType.SCHEDULED and not details.pause_reschedule:
            forgotten = {"resuming": False, "pause_keys": [], "retry_type": "reschedule"}
            return Accept(facts={"empirical_policy": policy.model_copy(update=forgotten)})
        return Accept(facts=resuming)


class LeavePauseBeforeCancelling(LeavePauseInTime):
    """As LeavePauseInTime, and a paused run cannot be asked to cancel itself. Source: server 2.20.25.

    Dialects: prefect-2.
    """

    barred = frozenset({StateType.PENDING, StateType.CANCELLING})
    forgets_pauses = False


class LeavePauseAsPaused(LeavePauseBeforeCancelling):
    """As LeavePauseBeforeCancelling, in other words. Source: server 2.7.12.

    Dialects: orion.
    """

    def reached(self, initial: State, proposed: State) -> str:
        return initial.type.value.lower()


def _never_resumed(context: FlowRunContext, word: str) -> State:
    return State(
        id=context.state_id,
        type=StateType.FAILED,
        name="Failed",
        timestamp=context.decided_at,
        message=f"The flow was {word} and never resumed.",
        state_details=StateDetails(deferred=False),
    )
