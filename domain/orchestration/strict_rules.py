"""The rules that only the policy `strict` has: what an auditor would want. They are our own, no server has them."""

from typing import ClassVar, Generic

from domain.orchestration.rule import ACCEPT, Abort, Context, R, Rule, Verdict
from domain.states import TERMINAL, State, StateType


class ReopenForAReason(Rule[R], Generic[R]):
    """A run that has ended stays as it ended, unless it is scheduled again by a proposal whose message says why.

    Dialects: strict.
    """

    from_types = TERMINAL

    def decide(self, context: Context[R]) -> Verdict:
        initial, proposed = context.initial, context.proposed
        if initial is None or (proposed.type is StateType.SCHEDULED and (proposed.message or "").strip()):
            return ACCEPT
        ended = initial.type.value
        return Abort(f"This run has ended as {ended}; only a SCHEDULED state whose message says why reopens it.")


class StepForward(Rule[R], Generic[R]):
    """A run goes from scheduled to late, pending, submitting and running, never back and never on the spot.

    Dialects: strict.
    """

    STEPS: ClassVar[dict[StateType, tuple[str, ...]]] = {
        StateType.SCHEDULED: ("", "Late"),
        StateType.PENDING: ("", "Submitting", "InfrastructurePending"),
        StateType.RUNNING: ("",),
    }
    from_types = frozenset(STEPS)
    to_types = frozenset(STEPS)

    def decide(self, context: Context[R]) -> Verdict:
        initial, proposed = context.initial, context.proposed
        if initial is None or self._step(proposed) > self._step(initial):
            return ACCEPT
        return Abort(f"A run does not go back from {initial.name} to {proposed.name}.")

    def _step(self, state: State) -> tuple[int, int]:
        names = self.STEPS[state.type]
        return list(self.STEPS).index(state.type), names.index(state.name) if state.name in names else 0
