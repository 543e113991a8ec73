"""The ordered rule lists: one policy for each dialect and kind of run, and what a list of rules adds up to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from domain.flow_run import FlowRun
from domain.orchestration import flow_rules, order_rules, pause_rules, task_rules
from domain.orchestration.rule import ACCEPT, Accept, Context, R, Reject, Rule, Verdict
from domain.states import State
from domain.task_run import TaskRun


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a policy decided: the verdict, the rule that gave it (None where all accepted), the state to enter if any.

    `facts` are what rules on the way added to the event that will record the transition.
    """

    verdict: Verdict
    rule: str | None
    state: State | None
    facts: Mapping[str, Any]


class Policy(Generic[R]):
    """Rules in order. The first that does not accept decides; each sees the proposal as those before it left it."""

    def __init__(self, name: str, rules: Sequence[Rule[R]]) -> None:
        self.name = name
        self.rules = tuple(rules)

    def decide(self, context: Context[R]) -> Ruling:
        """The ruling on a proposal; it leaves the context's proposal as the rules altered it."""
        facts: dict[str, Any] = {}
        for rule in self.rules:
            if not rule.concerns(context.initial, context.proposed):
                continue
            verdict = rule.decide(context)
            if verdict is ACCEPT:
                continue
            if isinstance(verdict, Accept):
                context.proposed = verdict.state or context.proposed
                facts.update(verdict.facts)
                if facts.get("resets_run_count"):
                    context.run_count = 0
            elif isinstance(verdict, Reject):
                return Ruling(verdict, rule.name, verdict.state, {**facts, **verdict.facts})
            else:
                return Ruling(verdict, rule.name, None, facts)
        return Ruling(ACCEPT, None, context.proposed, facts)


PREFECT_3_FLOW_RUNS = Policy[FlowRun](
    "prefect-3",
    [
        flow_rules.PreventRepeatedTransition(),
        flow_rules.KeepFinishedFlowRuns(),
        flow_rules.FinishCancelling(),
        flow_rules.CancelWithoutInfrastructure(),
        flow_rules.PreventPendingButForOwner(),
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
        flow_rules.RetryFailedFlowRuns(),
    ],
)
ORION_FLOW_RUNS = Policy[FlowRun](
    "orion",
    [
        order_rules.KeepTerminated(),
        flow_rules.FinishCancelling(),
        order_rules.GoForward(),
        pause_rules.PauseRunningOnce(),
        pause_rules.LeavePauseAsPaused(),
        flow_rules.CopyScheduledTime(),
        flow_rules.WaitForScheduledTime(),
        flow_rules.RetryFailedFlowRuns(),
    ],
)
FORCED_FLOW_RUNS = {
    "orion": Policy[FlowRun]("orion, by force", []),
    "prefect-2": Policy[FlowRun]("prefect-2, by force", [flow_rules.CancelWithoutInfrastructure()]),
    "prefect-3": Policy[FlowRun](
        "prefect-3, by force", [flow_rules.KeepPersistedResult(), flow_rules.CancelWithoutInfrastructure()]
    ),
}
PREFECT_3_TASK_RUNS = Policy[TaskRun](
    "prefect-3",
    [
        task_rules.KeepFinishedTaskRuns(),
        task_rules.RunOnlyInRunningFlowRuns(),
        task_rules.CopyScheduledTime(),
        task_rules.WaitForScheduledTime(),
        task_rules.RetryFailedTaskRuns(),
        task_rules.NameReruns(),
        task_rules.NoteAttemptOfFlowRun(),
    ],
)
BACKGROUND_TASK_RUNS = Policy[TaskRun](
    "prefect-2, without a flow run",
    [
        task_rules.KeepFinishedTaskRuns(),
        order_rules.PreventPending(),
        task_rules.CopyScheduledTime(),
        task_rules.WaitForScheduledTime(),
        task_rules.RetryFailedTaskRuns(),
        task_rules.NameReruns(),
    ],
)
ORION_TASK_RUNS = Policy[TaskRun](
    "orion",
    [
        task_rules.KeepTerminatedTaskRuns(),
        task_rules.GoForwardToCancelling(),
        task_rules.RunOnlyInRunningFlowRuns(),
        task_rules.CopyScheduledTime(),
        task_rules.WaitForScheduledTime(),
        task_rules.RetryAnyFailedTaskRuns(),
        task_rules.NameReruns(),
        task_rules.NoteAttemptOfFlowRun(),
    ],
)
FORCED_TASK_RUNS = Policy[TaskRun]("by force", [])

DIALECTS = ("orion", "prefect-2", "prefect-3")
FLOW_RUN_POLICIES = {"orion": ORION_FLOW_RUNS, "prefect-2": PREFECT_2_FLOW_RUNS, "prefect-3": PREFECT_3_FLOW_RUNS}
TASK_RUN_POLICIES = {"orion": ORION_TASK_RUNS, "prefect-2": PREFECT_3_TASK_RUNS, "prefect-3": PREFECT_3_TASK_RUNS}


def flow_run_policy(dialect: str, force: bool) -> Policy[FlowRun]:
    """The policy that decides about a flow run for a caller of that dialect."""
    return (FORCED_FLOW_RUNS if force else FLOW_RUN_POLICIES)[dialect]


def task_run_policy(dialect: str, force: bool, in_flow_run: bool) -> Policy[TaskRun]:
    """The policy that decides about a task run for a caller of that dialect.

    Server 2.20.25 has one of its own, which knows no force, for task runs without a flow run.
    """
    if dialect == "prefect-2" and not in_flow_run:
        return BACKGROUND_TASK_RUNS
    return FORCED_TASK_RUNS if force else TASK_RUN_POLICIES[dialect]
