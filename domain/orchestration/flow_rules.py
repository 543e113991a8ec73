"""The rules of flow runs, one class a rule.

Source of every rule: the transitions recorded against server 3.9.1, unless its docstring names another.
"""

from domain.flow_run import FlowRun
from domain.orchestration import scheduling
from domain.orchestration.order_rules import PreventPending
from domain.orchestration.rule import ACCEPT, Abort, Accept, FlowRunContext, Reject, Rule, Verdict
from domain.states import ALL_STATES, TERMINAL, State, StateType, cancelled


def has_persisted_result(state: State) -> bool:
    """Whether a state carries a reference to a result that was stored somewhere."""
    data = state.data
    return data is not None and not (isinstance(data, dict) and data.get("type") == "unpersisted")


class PreventRepeatedTransition(Rule[FlowRun]):
    """A transition id that brought the run into its present state is answered with that state, once and for all.

    Dialects: prefect-2, prefect-3, strict.
    """

    def decide(self, context: FlowRunContext) -> Verdict:
        proposed_id = context.proposed.state_details.transition_id
        initial = context.initial
        if proposed_id is None or initial is None or initial.state_details.transition_id != proposed_id:
            return ACCEPT
        return Reject("This run has already made this state transition.")


class KeepFinishedFlowRuns(Rule[FlowRun]):
    """A finished run keeps a stored result, and is rescheduled only through its deployment.

    Dialects: prefect-3.
    """

    from_types = TERMINAL
    keeps_result = True

    def decide(self, context: FlowRunContext) -> Verdict:
        initial, proposed = context.initial, context.proposed
        if initial is None:
            return ACCEPT
        if proposed.type in {StateType.CRASHED, StateType.PAUSED, StateType.CANCELLING}:
            return Abort(f"Run is already in terminal state {initial.type.value}.")
        if initial.type is StateType.COMPLETED and has_persisted_result(initial):
            if not proposed.is_terminal:
                return Reject("Run is already COMPLETED.")
            if self.keeps_result and proposed.type is StateType.COMPLETED and not has_persisted_result(proposed):
                return Reject(KeepPersistedResult.REASON)
        if proposed.type is StateType.SCHEDULED and context.run.deployment_id is None:
            return Abort("Cannot reschedule a run without an associated deployment.")
        return ACCEPT if proposed.is_terminal else _begin_again(context)


def _begin_again(context: FlowRunContext) -> Verdict:
    """The verdict by which a finished run goes on, with nothing left of its pauses and retries."""
    policy = context.run.empirical_policy
    how = "reschedule" if context.proposed.type is StateType.SCHEDULED else None
    fresh = policy.model_copy(update={"resuming": False, "pause_keys": [], "retry_type": how})
    return ACCEPT if fresh == policy else Accept(facts={"empirical_policy": fresh})


class KeepFinishedFlowRunsLoosely(KeepFinishedFlowRuns):
    """As KeepFinishedFlowRuns, but a stored result may be lost to a COMPLETED without one. Source: server 2.20.25.

    Dialects: prefect-2.
    """

    keeps_result = False


class KeepPersistedResult(Rule[FlowRun]):
    """Not even force replaces a COMPLETED state that has a stored result by one that has none.

    Dialects: prefect-3.
    """

    REASON = "Cannot overwrite a COMPLETED state that carries persisted result data with one that does not."
    from_types = frozenset({StateType.COMPLETED})
    to_types = frozenset({StateType.COMPLETED})

    def decide(self, context: FlowRunContext) -> Verdict:
        if context.initial is None or not has_persisted_result(context.initial):
            return ACCEPT
        return ACCEPT if has_persisted_result(context.proposed) else Reject(self.REASON)


class FinishCancelling(Rule[FlowRun]):
    """A run that is being cancelled goes nowhere but to CANCELLED.

    Dialects: orion, prefect-3, strict.
    """

    from_types = frozenset({StateType.CANCELLING})
    to_types = ALL_STATES - {StateType.CANCELLED}

    def decide(self, context: FlowRunContext) -> Verdict:
        return Reject("Cannot transition flows that are cancelling to a state other than Cancelled.")


class FinishCancellingForGood(FinishCancelling):
    """As FinishCancelling, and a cancelled run goes nowhere else either. Source: server 2.20.25.

    Dialects: prefect-2.
    """

    from_types = frozenset({StateType.CANCELLING, StateType.CANCELLED})


class CancelWithoutInfrastructure(Rule[FlowRun]):
    """What has no process is cancelled at once: a run that is scheduled without one, resuming, or suspended.

    Dialects: prefect-2, prefect-3, strict.
    """

    from_types = frozenset({StateType.SCHEDULED, StateType.PAUSED})
    to_types = frozenset({StateType.CANCELLING})

    def decide(self, context: FlowRunContext) -> Verdict:
        initial = context.initial
        if initial is None:
            return ACCEPT
        if initial.type is StateType.PAUSED:
            bare = "Suspended" if initial.name == "Suspended" else None
        else:
            no_process = context.run.infrastructure_pid is None or initial.name == "Resuming"
            bare = "Scheduled" if no_process else None
        if bare is None:
            return ACCEPT
        state = cancelled(context.state_id, context.decided_at, context.proposed.message)
        return Reject(f"{bare} flow run has no infrastructure to terminate.", state)


class PreventPendingButForOwner(PreventPending[FlowRun]):
    """As PreventPending, but the owner may go on from Pending to Submitting to InfrastructurePending.

    Dialects: prefect-3, strict.
    """

    STEPS = ("Pending", "Submitting", "InfrastructurePending")

    def decide(self, context: FlowRunContext) -> Verdict:
        initial, steps = context.initial, self.STEPS
        if initial is None or initial.type is not StateType.PENDING or initial.name not in steps:
            return super().decide(context)
        goes_on = context.proposed.name in steps[steps.index(initial.name) + 1 :]
        return ACCEPT if goes_on else super().decide(context)


class MarkOnlyScheduledLate(Rule[FlowRun]):
    """Only a scheduled run that is not marked late yet can be marked late.

    Dialects: prefect-3, strict.
    """

    to_types = frozenset({StateType.SCHEDULED})
    once = True

    def decide(self, context: FlowRunContext) -> Verdict:
        initial = context.initial
        if context.proposed.name != "Late" or initial is None:
            return ACCEPT
        if self.once and initial.name == "Late":
            return Reject("This flow run is already marked late.")
        if initial.type is not StateType.SCHEDULED:
            return Reject("Only scheduled flows can be marked late.")
        return ACCEPT


class MarkScheduledLateAgain(MarkOnlyScheduledLate):
    """As MarkOnlyScheduledLate, but a run may be marked late over and over. Source: server 2.20.25.

    Dialects: prefect-2.
    """

    once = False


class CopyScheduledTime(Rule[FlowRun]):
    """A run that goes from SCHEDULED to PENDING takes its scheduled time along.

    Dialects: orion, prefect-2, prefect-3, strict.
    """

    from_types = frozenset({StateType.SCHEDULED})
    to_types = frozenset({StateType.PENDING})

    def decide(self, context: FlowRunContext) -> Verdict:
        return scheduling.copy_scheduled_time(context)


class WaitForScheduledTime(Rule[FlowRun]):
    """A run does not start before the time it is scheduled for.

    Dialects: orion, prefect-2, prefect-3, strict.
    """

    from_types = frozenset({StateType.SCHEDULED, StateType.PENDING})
    to_types = frozenset({StateType.RUNNING})

    def decide(self, context: FlowRunContext) -> Verdict:
        return scheduling.wait_for_scheduled_time(context)


class RetryFailedFlowRuns(Rule[FlowRun]):
    """A running run that fails is scheduled again while it has retries left; what its pauses left behind is cleared.

    Dialects: prefect-3, strict.
    """

    retry_type: str | None = "in_process"
    clears_type_at_end = True
    from_types = frozenset({StateType.RUNNING})
    to_types = frozenset({StateType.FAILED})

    def decide(self, context: FlowRunContext) -> Verdict:
        policy = context.run.empirical_policy
        if context.run_count > policy.allowed_retries:
            if policy.retry_type is None or not self.clears_type_at_end:
                return ACCEPT
            return Accept(facts={"empirical_policy": policy.model_copy(update={"retry_type": None})})
        changed = policy.model_copy(update={"retry_type": self.retry_type, "resuming": False, "pause_keys": []})
        return scheduling.retry_after(context, policy.delay, empirical_policy=changed)


class RetryFailedFlowRunsInProcess(RetryFailedFlowRuns):
    """As RetryFailedFlowRuns, but the run is still said to be retried once it has failed for good.

    Source: server 2.20.25.

    Dialects: prefect-2.
    """

    clears_type_at_end = False


class RetryFailedFlowRunsSilently(RetryFailedFlowRuns):
    """As RetryFailedFlowRuns, but nothing says how the run is retried. Source: server 2.7.12.

    Dialects: orion.
    """

    retry_type = None
    clears_type_at_end = False
