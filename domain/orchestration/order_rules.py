"""The rules about the order of states that flow runs and task runs have in common."""

from typing import ClassVar, Generic

from domain.orchestration.rule import ACCEPT, Abort, Context, R, Rule, Verdict, cannot_transition
from domain.states import TERMINAL, StateType


class KeepTerminated(Rule[R], Generic[R]):
    """A run that has ended stays as it ended. Source: server 2.7.12.

    Dialects: orion.
    """

    from_types = TERMINAL

    def decide(self, context: Context[R]) -> Verdict:
        return Abort("This run has already terminated.")


class GoForward(Rule[R], Generic[R]):
    """A run goes from scheduled to pending to running, neither back nor on the spot. Source: server 2.7.12.

    Dialects: orion.
    """

    STEPS: ClassVar[tuple[StateType, ...]] = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING)
    from_types = frozenset(STEPS)
    to_types = frozenset(STEPS)

    def decide(self, context: Context[R]) -> Verdict:
        initial, proposed = context.initial, context.proposed
        if initial is None or self.STEPS.index(proposed.type) > self.STEPS.index(initial.type):
            return ACCEPT
        return Abort(cannot_transition(initial, proposed))


class PreventPending(Rule[R], Generic[R]):
    """A run that someone holds already (pending, running, cancelling) or that was cancelled is not handed out again.

    This is what makes one of many callers who race for a scheduled run its owner. Source: servers 2.20.25 and 3.9.1.

    Dialects: prefect-2, prefect-3.
    """

    from_types = frozenset({StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.CANCELLED})
    to_types = frozenset({StateType.PENDING})

    def decide(self, context: Context[R]) -> Verdict:
        if context.initial is None:
            return ACCEPT
        held = context.initial.type.value
        return Abort(f"This run is in a {held} state and cannot transition to a PENDING state.")
