"""The ordered rule lists: one policy for each dialect and kind of run.

`orion`, `prefect-2` and `prefect-3` decide as servers 2.7.12, 2.20.25 and 3.9.1 do; each knows a minimal policy for
proposals by force. `strict` is our own: a run goes forward only, stays as it ended unless someone says why it is
reopened, and force is no exception.
"""

from domain.flow_run import FlowRun
from domain.orchestration import (
    cache_rules,
    deployment_rules,
    flow_rules,
    limit_rules,
    order_rules,
    pause_rules,
    strict_rules,
    task_rules,
)
from domain.orchestration.policy import Policy
from domain.task_run import TaskRun

PREFECT_3_FLOW_RUNS = Policy[FlowRun](
    "prefect-3",
    [
        flow_rules.PreventRepeatedTransition(),
        flow_rules.KeepFinishedFlowRuns(),
        flow_rules.FinishCancelling(),
        flow_rules.CancelWithoutInfrastructure(),
        flow_rules.PreventPendingButForOwner(),
        deployment_rules.KeepDeploymentSlot(),
        deployment_rules.TakeDeploymentSlot(),
        flow_rules.MarkOnlyScheduledLate(),
        pause_rules.PauseRunningOnce(),
        pause_rules.LeavePauseInTime(),
        flow_rules.CopyScheduledTime(),
        flow_rules.WaitForScheduledTime(),
        flow_rules.RetryFailedFlowRuns(),
    ],
)
PREFECT_2_FLOW_RUNS = Policy[FlowRun](
    "prefect-2",
    [
        flow_rules.PreventRepeatedTransition(),
        flow_rules.KeepFinishedFlowRunsLoosely(),
        flow_rules.FinishCancellingForGood(),
        flow_rules.CancelWithoutInfrastructure(),
        order_rules.PreventPending(),
        flow_rules.MarkScheduledLateAgain(),
        pause_rules.PauseRunningOnce(),
        pause_rules.LeavePauseBeforeCancelling(),
        flow_rules.CopyScheduledTime(),
        flow_rules.WaitForScheduledTime(),
        flow_rules.RetryFailedFlowRunsInProcess(),
    ],
)
ORION_FLOW_RUNS = Policy[FlowRun](
    "orion",
    [
        order_rules.KeepTerminated(),
        flow_rules.FinishCancelling(),
        order_rules.GoForward(),
        pause_rules.PauseRunningOnceInOneWord(),
        pause_rules.LeavePauseAsPaused(),
        flow_rules.CopyScheduledTime(),
        flow_rules.WaitForScheduledTime(),
        flow_rules.RetryFailedFlowRunsSilently(),
    ],
)
FORCED_FLOW_RUNS = {
    "orion": Policy[FlowRun]("orion, by force", []),
    "prefect-2": Policy[FlowRun]("prefect-2, by force", [flow_rules.CancelWithoutInfrastructure()]),
    "prefect-3": Policy[FlowRun](
        "prefect-3, by force",
        [
            deployment_rules.KeepDeploymentSlot(),
            flow_rules.KeepPersistedResult(),
            flow_rules.CancelWithoutInfrastructure(),
        ],
    ),
}
PREFECT_3_TASK_RUNS = Policy[TaskRun](
    "prefect-3",
    [
        cache_rules.ServeCachedResult(),
        task_rules.KeepFinishedTaskRuns(),
        task_rules.RunOnlyInRunningFlowRuns(),
        limit_rules.TakeTagSlotsTogether(),
        task_rules.CopyScheduledTime(),
        task_rules.WaitForScheduledTime(),
        task_rules.RetryFailedTaskRuns(),
        task_rules.NameReruns(),
        task_rules.NoteAttemptOfFlowRun(),
        cache_rules.CacheResultUnderShortKey(),
    ],
)
PREFECT_2_TASK_RUNS = Policy[TaskRun](
    "prefect-2",
    [
        cache_rules.ServeCachedResult(),
        task_rules.KeepFinishedTaskRuns(),
        task_rules.RunOnlyInRunningFlowRuns(),
        limit_rules.TakeTagSlots(),
        task_rules.CopyScheduledTime(),
        task_rules.WaitForScheduledTime(),
        task_rules.RetryFailedTaskRuns(),
        task_rules.NameReruns(),
        task_rules.NoteAttemptOfFlowRun(),
        cache_rules.CacheResult(),
    ],
)
DEFERRED_TASK_RUNS = Policy[TaskRun](
    "prefect-3, in the background",
    [
        cache_rules.ServeCachedResult(),
        task_rules.KeepFinishedTaskRuns(),
        order_rules.PreventPending(),
        limit_rules.TakeTagSlotsTogether(),
        task_rules.CopyScheduledTime(),
        task_rules.WaitForScheduledTime(),
        task_rules.RetryFailedTaskRuns(),
        task_rules.NameReruns(),
        task_rules.NoteAttemptOfFlowRun(),
        cache_rules.CacheResultUnderShortKey(),
    ],
)
BACKGROUND_TASK_RUNS = Policy[TaskRun](
    "prefect-2, without a flow run",
    [
        cache_rules.ServeCachedResult(),
        task_rules.KeepFinishedTaskRuns(),
        order_rules.PreventPending(),
        limit_rules.TakeTagSlots(),
        task_rules.CopyScheduledTime(),
        task_rules.WaitForScheduledTime(),
        task_rules.RetryFailedTaskRuns(),
        task_rules.NameReruns(),
        cache_rules.CacheResult(),
    ],
)
ORION_TASK_RUNS = Policy[TaskRun](
    "orion",
    [
        cache_rules.ServeCachedResult(),
        task_rules.KeepTerminatedTaskRuns(),
        task_rules.GoForwardToCancelling(),
        task_rules.RunOnlyInRunningFlowRunsPlainly(),
        limit_rules.TakeTagSlots(),
        task_rules.CopyScheduledTime(),
        task_rules.WaitForScheduledTime(),
        task_rules.RetryAnyFailedTaskRuns(),
        task_rules.NameReruns(),
        task_rules.NoteAttemptOfFlowRun(),
        cache_rules.CacheResult(),
    ],
)
FORCED_TASK_RUNS = Policy[TaskRun]("by force", [])
STRICT_FLOW_RUNS = Policy[FlowRun](
    "strict",
    [
        flow_rules.PreventRepeatedTransition(),
        strict_rules.ReopenForAReason[FlowRun](),
        flow_rules.FinishCancelling(),
        flow_rules.CancelWithoutInfrastructure(),
        flow_rules.PreventPendingButForOwner(),
        strict_rules.StepForward[FlowRun](),
        deployment_rules.KeepDeploymentSlot(),
        deployment_rules.TakeDeploymentSlot(),
        flow_rules.MarkOnlyScheduledLate(),
        pause_rules.PauseRunningOnce(),
        pause_rules.LeavePauseInTime(),
        flow_rules.CopyScheduledTime(),
        flow_rules.WaitForScheduledTime(),
        flow_rules.RetryFailedFlowRuns(),
    ],
)
STRICT_TASK_RUNS = Policy[TaskRun](
    "strict",
    [
        strict_rules.ReopenForAReason[TaskRun](),
        cache_rules.ServeCachedResult(),
        strict_rules.StepForward[TaskRun](),
        task_rules.RunOnlyInRunningFlowRuns(),
        limit_rules.TakeTagSlotsTogether(),
        task_rules.CopyScheduledTime(),
        task_rules.WaitForScheduledTime(),
        task_rules.RetryFailedTaskRuns(),
        task_rules.NameReruns(),
        task_rules.NoteAttemptOfFlowRun(),
        cache_rules.CacheResultUnderShortKey(),
    ],
)

DIALECTS = ("orion", "prefect-2", "prefect-3", "strict")
FLOW_RUN_POLICIES = {
    "orion": ORION_FLOW_RUNS,
    "prefect-2": PREFECT_2_FLOW_RUNS,
    "prefect-3": PREFECT_3_FLOW_RUNS,
    "strict": STRICT_FLOW_RUNS,
}
TASK_RUN_POLICIES = {
    "orion": ORION_TASK_RUNS,
    "prefect-2": PREFECT_2_TASK_RUNS,
    "prefect-3": PREFECT_3_TASK_RUNS,
    "strict": STRICT_TASK_RUNS,
}
FORCED_FLOW_RUN_POLICIES = {**FORCED_FLOW_RUNS, "strict": STRICT_FLOW_RUNS}
FORCED_TASK_RUN_POLICIES = {**dict.fromkeys(DIALECTS, FORCED_TASK_RUNS), "strict": STRICT_TASK_RUNS}


def flow_run_policy(dialect: str, force: bool) -> Policy[FlowRun]:
    """The policy that decides about a flow run for a caller of that dialect."""
    return (FORCED_FLOW_RUN_POLICIES if force else FLOW_RUN_POLICIES)[dialect]


def task_run_policy(dialect: str, force: bool, *, in_flow_run: bool, deferred: bool) -> Policy[TaskRun]:
    """The policy that decides about a task run for a caller of that dialect.

    Task runs in the background have policies of their own, which know no force: server 3.9.1 tells them by the proposed
    state, which is `deferred`, server 2.20.25 by their having no flow run.
    """
    if dialect == "prefect-2" and not in_flow_run:
        return BACKGROUND_TASK_RUNS
    if dialect == "prefect-3" and deferred:
        return DEFERRED_TASK_RUNS
    return (FORCED_TASK_RUN_POLICIES if force else TASK_RUN_POLICIES)[dialect]
