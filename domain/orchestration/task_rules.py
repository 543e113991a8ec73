"""The rules of task runs whose transitions are proposed to the ledger, one class a rule.

Source of every rule: the transitions recorded against server 3.9.1, unless its docstring names another.
"""

from domain.flow_run import FlowRun
from domain.orchestration import scheduling
from domain.orchestration.flow_rules import has_persisted_result
from domain.orchestration.order_rules import GoForward, KeepTerminated
from domain.orchestration.rule import ACCEPT, Abort, Accept, Fact, Reject, Rule, TaskRunContext, Verdict
from domain.states import TERMINAL, State, StateDetails, StateType
from domain.task_run import TaskRun


class KeepFinishedTaskRuns(Rule[TaskRun]):
    """A finished task run is run again only where no result is stored, and then counts its attempts anew.

    Dialects: prefect-2, prefect-3.
    """

    from_types = TERMINAL
    needs = frozenset({Fact.FLOW_RUN})

    def decide(self, context: TaskRunContext) -> Verdict:
        initial, proposed = context.initial, context.proposed
        if initial is None:
            return ACCEPT
        if proposed.type in {StateType.CRASHED, StateType.PAUSED, StateType.CANCELLING}:
            return Abort(f"Run is already {initial.type.value}.")
        if initial.type is StateType.COMPLETED and has_persisted_result(initial):
            return Reject("This run is already completed.")
        if proposed.is_terminal:
            return ACCEPT
        retries = proposed.type is StateType.RUNNING and _flow_run_retries(context)
        renamed = proposed.altered(name="Retrying") if retries else None
        return Accept(renamed, {"resets_run_count": True})


class KeepTerminatedTaskRuns(KeepTerminated[TaskRun]):
    """A task run that has ended stays so, but one that did not complete runs again in a next attempt of its flow run.

    Source: server 2.7.12.

    Dialects: orion.
    """

    needs = frozenset({Fact.FLOW_RUN})

    def decide(self, context: TaskRunContext) -> Verdict:
        completed = context.initial is not None and context.initial.type is StateType.COMPLETED
        if context.proposed.type is not StateType.RUNNING or completed or not _flow_run_retries(context):
            return super().decide(context)
        return Accept(context.proposed.altered(name="Retrying"), {"resets_run_count": True})


class GoForwardToCancelling(GoForward[TaskRun]):
    """As GoForward, with cancelling as the step after running. Source: server 2.7.12.

    Dialects: orion.
    """

    STEPS = (*GoForward.STEPS, StateType.CANCELLING)
    from_types = frozenset(STEPS)
    to_types = frozenset(STEPS)


class RunOnlyInRunningFlowRuns(Rule[TaskRun]):
    """A task run starts only while its flow run is running; while that is paused, it is told to get ready later.

    Dialects: prefect-2, prefect-3, strict.
    """

    to_types = frozenset({StateType.RUNNING})
    needs = frozenset({Fact.FLOW_RUN})

    def decide(self, context: TaskRunContext) -> Verdict:
        if context.run.flow_run_id is None or context.flow_run is None:
            return ACCEPT
        held = context.flow_run.state.type if context.flow_run.state else None
        if held is StateType.RUNNING:
            return ACCEPT
        if held is not StateType.PAUSED:
            return Abort("The enclosing flow must be running to begin task execution.")
        reason = f"The flow is paused, new tasks can execute after resuming flow run: {context.flow_run.id}."
        return Reject(reason, self.not_ready(context, context.flow_run))

    def not_ready(self, context: TaskRunContext, flow_run: FlowRun) -> State:
        """The state in which a task run waits for its flow run: paused for as long."""
        pause = flow_run.state.state_details if flow_run.state else StateDetails()
        timeout, reschedule = pause.pause_timeout, pause.pause_reschedule
        return not_ready(context, StateDetails(deferred=False, pause_timeout=timeout, pause_reschedule=reschedule))


class RunOnlyInRunningFlowRunsPlainly(RunOnlyInRunningFlowRuns):
    """As RunOnlyInRunningFlowRuns, but the task run is not told for how long it waits. Source: server 2.7.12.

    Dialects: orion.
    """

    def not_ready(self, context: TaskRunContext, flow_run: FlowRun) -> State:
        return not_ready(context, StateDetails(deferred=False))


class CopyScheduledTime(Rule[TaskRun]):
    """A run that goes from SCHEDULED to PENDING takes its scheduled time along.

    Dialects: orion, prefect-2, prefect-3, strict.
    """

    from_types = frozenset({StateType.SCHEDULED})
    to_types = frozenset({StateType.PENDING})

    def decide(self, context: TaskRunContext) -> Verdict:
        return scheduling.copy_scheduled_time(context)


class WaitForScheduledTime(Rule[TaskRun]):
    """A run does not start before the time it is scheduled for.

    Dialects: orion, prefect-2, prefect-3, strict.
    """

    from_types = frozenset({StateType.SCHEDULED, StateType.PENDING})
    to_types = frozenset({StateType.RUNNING})

    def decide(self, context: TaskRunContext) -> Verdict:
        return scheduling.wait_for_scheduled_time(context)


class RetryFailedTaskRuns(Rule[TaskRun]):
    """A running task run that fails is scheduled again while it has retries left, unless it says none would help.

    Dialects: prefect-2, prefect-3, strict.
    """

    from_types = frozenset({StateType.RUNNING})
    to_types = frozenset({StateType.FAILED})
    asks_whether_retriable = True

    def decide(self, context: TaskRunContext) -> Verdict:
        policy = context.run.empirical_policy
        hopeless = self.asks_whether_retriable and context.proposed.state_details.retriable is False
        if hopeless or context.run_count > policy.allowed_retries:
            return ACCEPT
        return scheduling.retry_after(context, policy.delay(context.run_count), jitter=policy.retry_jitter_factor)


class RetryAnyFailedTaskRuns(RetryFailedTaskRuns):
    """As RetryFailedTaskRuns, whatever the task run says about its retries. Source: server 2.7.12.

    Dialects: orion.
    """

    asks_whether_retriable = False


class NameReruns(Rule[TaskRun]):
    """A run that starts for the second time says so in its name: Retrying after a failure, else Rerunning.

    Dialects: orion, prefect-2, prefect-3, strict.
    """

    to_types = frozenset({StateType.RUNNING})

    def decide(self, context: TaskRunContext) -> Verdict:
        if context.run_count == 0 or context.initial is None:
            return ACCEPT
        after_failure = context.initial.name == "AwaitingRetry"
        return Accept(context.proposed.altered(name="Retrying" if after_failure else "Rerunning"))


class NoteAttemptOfFlowRun(Rule[TaskRun]):
    """A task run that starts notes which attempt of its flow run it belongs to.

    Dialects: orion, prefect-2, prefect-3, strict.
    """

    to_types = frozenset({StateType.RUNNING})
    before_any = True
    needs = frozenset({Fact.FLOW_RUN})

    def decide(self, context: TaskRunContext) -> Verdict:
        if context.flow_run is None:
            return ACCEPT
        return Accept(facts={"flow_run_run_count": context.flow_run.run_count})


def _flow_run_retries(context: TaskRunContext) -> bool:
    """Whether the flow run is at a later attempt than the one that the task run belongs to."""
    flow_run = context.flow_run
    return flow_run is not None and context.run.flow_run_run_count < flow_run.run_count


def not_ready(context: TaskRunContext, details: StateDetails) -> State:
    """The state of a task run whose flow run is paused."""
    return State(
        id=context.state_id,
        type=StateType.PAUSED,
        name="NotReady",
        timestamp=context.decided_at,
        state_details=details,
    )
