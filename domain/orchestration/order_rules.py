"""The rules about the order of states that flow runs and task runs have in common."""

from typing import ClassVar, Generic

from domain.orchestration.rule import ACCEPT, Abort, Context, R, Rule, Verdict, cannot_transition
from domain.states import TERMINAL, State, StateType

HELD = frozenset({StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.CANCELLED})
"""The states from which no run is handed out: someone has it, or it was cancelled."""


def already_held(initial: State) -> Abort:
    """The verdict on handing out a run that is in one of those states."""
    return Abort(f"This run is in a {initial.type.value} state and cannot transition to a PENDING state.")


class KeepTerminated(Rule[R], Generic[R]):
    """A run that has ended stays as it ended. Source: server 2.7.12."""

    from_types = TERMINAL

    def decide(self, context: Context[R]) -> Verdict:
        return Abort("This run has already terminated.")


class GoForward(Rule[R], Generic[R]):
    """A run goes from scheduled to pending to running, neither back nor on the spot. Source: server 2.7.12."""

    STEPS: ClassVar[tuple[StateType, ...]] = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING)
    from_types = frozenset(STEPS)
    to_types = frozenset(STEPS)

    def decide(self, context: Context[R]) -> Verdict:
        initial, proposed = context.initial, context.proposed
        if initial is None or self.STEPS.index(proposed.type) > self.STEPS.index(initial.type):
            return ACCEPT
        return Abort(cannot_transition(initial, proposed))
