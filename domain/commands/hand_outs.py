"""Handing task runs in the background to those who subscribed to them: each to one, and on to another if that goes.

Three commands make up the course of a hand-out: it is given, then acknowledged or taken back. All are decided under the
ledger lock, so that of any number of server processes one hands a run out.
"""

from dataclasses import dataclass
from datetime import timedelta

from domain.commands.command import CommandOnOne, HandedOut
from domain.session import Session
from domain.task_run import HandOut, TaskRun, TaskRunHandedBack, TaskRunHandedOut, TaskRunTaken


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOutTaskRun(CommandOnOne):
    """Hand a task run to a subscriber, unless its time has not come, another has it, or it waits for none any more.

    It is the subscriber's for so many `seconds`, within which it is to be acknowledged; who has it may ask for more.
    """

    subscriber: str
    seconds: float

    def decide(self, session: Session) -> HandedOut:
        run = session.find(TaskRun, self.id)
        if run is None or run.state is None:
            return HandedOut(False)
        waits_until, held = run.waits_until, run.handed_out
        if waits_until is None or waits_until > session.now:
            return HandedOut(False)
        if held is not None and held.subscriber != self.subscriber and not held.is_over(session.now):
            return HandedOut(False)
        expires_at = session.now + timedelta(seconds=self.seconds)
        hand_out = HandOut(state_id=run.state.id, subscriber=self.subscriber, expires_at=expires_at)
        session.record(run, TaskRunHandedOut, hand_out=hand_out)
        return HandedOut(True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeTaskRun(CommandOnOne):
    """Take down that a subscriber acknowledged the run it was handed; nothing happens where another has it by now."""

    subscriber: str

    def decide(self, session: Session) -> None:
        run = session.find(TaskRun, self.id)
        if run is not None and _holds(run, self.subscriber):
            session.record(run, TaskRunTaken, subscriber=self.subscriber)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandBackTaskRun(CommandOnOne):
    """Take a run back from a subscriber that went before it acknowledged it."""

    subscriber: str

    def decide(self, session: Session) -> None:
        run = session.find(TaskRun, self.id)
        if run is not None and _holds(run, self.subscriber):
            session.record(run, TaskRunHandedBack, subscriber=self.subscriber)


def _holds(run: TaskRun, subscriber: str) -> bool:
    """Whether the run is with that subscriber, who has not acknowledged it yet."""
    held = run.handed_out
    return held is not None and held.subscriber == subscriber and held.expires_at is not None
