"""What is done to runs without anyone asking: each looks again whether there is something to do, then proposes it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.commands.command import CommandOnOne, ProposedState
from domain.commands.flow_runs import propose
from domain.commands.task_runs import SetTaskRunState
from domain.flow_run import FlowRun
from domain.ids import new_id
from domain.run import Run
from domain.session import Session
from domain.states import StateDetails, StateType
from domain.task_run import TaskRun

NEVER_RESUMED = "The flow was paused and never resumed."
PARENT_CANCELLED = "The parent flow run was cancelled."
CANCELLING_TIMED_OUT = "Flow run cancellation timed out; marked this flow run as Cancelled."
"""What runs are told. Source: server 3.9.1."""

LATE = "Late"
SCHEDULED = "Scheduled"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkLate(CommandOnOne):
    """Mark a run late that should have begun by the time `due`."""

    due: datetime

    def decide(self, session: Session) -> None:
        run = session.get(FlowRun, self.id)
        planned = run.next_scheduled_start_time
        if run.state is None or run.state.name != SCHEDULED or planned is None or planned > self.due:
            return
        details = StateDetails(deferred=False, scheduled_time=planned)
        propose(session, run, _state(StateType.SCHEDULED, None, LATE, details))


@dataclass(frozen=True, slots=True, kw_only=True)
class EndPause(CommandOnOne):
    """Let a run fail whose pause has timed out."""

    def decide(self, session: Session) -> None:
        run = session.get(FlowRun, self.id)
        if run.state is None or run.state.type is not StateType.PAUSED:
            return
        timeout = run.state.state_details.pause_timeout
        if timeout is not None and timeout < session.now:
            propose(session, run, _state(StateType.FAILED, NEVER_RESUMED), force=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndCancelling(CommandOnOne):
    """Take a run for cancelled that has been about to cancel since `before` or longer, for nobody seems to do it."""

    before: datetime

    def decide(self, session: Session) -> None:
        run = session.get(FlowRun, self.id)
        if run.state is not None and run.state.type is StateType.CANCELLING and run.state.timestamp <= self.before:
            propose(session, run, _state(StateType.CANCELLED, CANCELLING_TIMED_OUT))


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTaskRun(CommandOnOne):
    """Cancel a task run of a flow run that was cancelled."""

    flow_run_id: UUID

    def ids(self) -> Iterable[UUID | None]:
        return (self.id, self.flow_run_id)

    def decide(self, session: Session) -> None:
        run = session.get(TaskRun, self.id)
        if _is_cancelled(session, self.flow_run_id) and not _has_ended(run):
            state = _state(StateType.CANCELLED, PARENT_CANCELLED)
            SetTaskRunState(caller=self.caller, id=run.id, state=state, force=True).decide(session)


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSubflowRun(CommandOnOne):
    """Cancel a run that a cancelled flow run began; one of a deployment has a process of its own, which is told to."""

    flow_run_id: UUID

    def ids(self) -> Iterable[UUID | None]:
        return (self.id, self.flow_run_id)

    def decide(self, session: Session) -> None:
        run = session.get(FlowRun, self.id)
        if not _is_cancelled(session, self.flow_run_id) or run.state is None or _has_ended(run):
            return
        if run.deployment_id is None:
            propose(session, run, _state(StateType.CANCELLED, PARENT_CANCELLED))
        elif run.state.type is not StateType.CANCELLING:
            propose(session, run, _state(StateType.CANCELLING, PARENT_CANCELLED))


def _state(
    type: StateType, message: str | None, name: str | None = None, details: StateDetails | None = None
) -> ProposedState:
    return ProposedState(new_id(), type, name, message, details=details or StateDetails(deferred=False))


def _is_cancelled(session: Session, flow_run_id: UUID) -> bool:
    run = session.find(FlowRun, flow_run_id)
    return run is not None and run.state is not None and run.state.type is StateType.CANCELLED


def _has_ended(run: Run) -> bool:
    return run.state is not None and run.state.is_terminal
