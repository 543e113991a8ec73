"""What an ordered list of rules adds up to: the ruling on a proposal, and the explanation of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from domain.orchestration.rule import ACCEPT, Abort, Accept, Context, Fact, R, Reject, Rule, Verdict, Wait
from domain.states import State, StateType


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a policy decided: the verdict, the rule that gave it (None where all accepted), the state to enter if any.

    `facts` are what rules on the way added to the event that will record the transition.
    """

    verdict: Verdict
    rule: str | None
    state: State | None
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one rule said of one proposal.

    `said` is ACCEPT, ALTER (accepted in another form), REJECT, WAIT or ABORT; SILENT where the rule does not speak
    about such transitions, NOT ASKED where an earlier rule had decided. `state` is the one it put in the place of the
    proposed one, `states` the sentence that the rule states.
    """

    rule: str
    states: str
    said: str
    reason: str | None = None
    delay_seconds: float | None = None
    state: State | None = None


Plan = tuple[Rule[R], ...]


class Policy(Generic[R]):
    """Rules in order. The first that does not accept decides; each sees the proposal as those before it left it."""

    def __init__(self, name: str, rules: Sequence[Rule[R]]) -> None:
        self.name = name
        self.rules = tuple(rules)
        self._plans: dict[tuple[StateType | None, StateType], tuple[Plan[R], frozenset[Fact]]] = {}

    def needs(self, initial: State | None, proposed: State) -> frozenset[Fact]:
        """The facts that the rules about such a transition look at."""
        return self._plan(initial, proposed)[1]

    def decide(self, context: Context[R], heard: list[Opinion] | None = None) -> Ruling:
        """The ruling on a proposal; it leaves the context's proposal as the rules altered it.

        What each rule said on the way is added to `heard`. Where no state is entered, what rules that accepted would
        have brought about does not happen.
        """
        facts: dict[str, Any] = {}
        for rule in self._plan(context.initial, context.proposed)[0]:
            verdict = rule.decide(context)
            if heard is not None:
                heard.append(opinion(rule, verdict))
            if verdict is ACCEPT:
                continue
            if isinstance(verdict, Accept):
                context.proposed = verdict.state or context.proposed
                facts.update(verdict.facts)
                if facts.get("resets_run_count"):
                    context.run_count = 0
            elif isinstance(verdict, Reject):
                kept = facts if verdict.state is not None else {}
                return Ruling(verdict, rule.name, verdict.state, {**kept, **verdict.facts})
            else:
                return Ruling(verdict, rule.name, None, {})
        return Ruling(ACCEPT, None, context.proposed, facts)

    def explain(self, context: Context[R]) -> tuple[Ruling, list[Opinion]]:
        """The ruling on a proposal, and for each rule in order what it said."""
        heard: list[Opinion] = []
        plan = self._plan(context.initial, context.proposed)[0]
        ruling = self.decide(context, heard)
        said = dict(zip((rule.name for rule in plan), heard, strict=False))
        opinions = []
        for rule in self.rules:
            silent = "NOT ASKED" if rule in plan else "SILENT"
            opinions.append(said.get(rule.name) or Opinion(rule.name, rule.states, silent))
        return ruling, opinions

    def _plan(self, initial: State | None, proposed: State) -> tuple[Plan[R], frozenset[Fact]]:
        key = (initial.type if initial else None, proposed.type)
        found = self._plans.get(key)
        if found is None:
            rules = tuple(rule for rule in self.rules if rule.concerns(*key))
            needs: frozenset[Fact] = frozenset().union(*(rule.needs for rule in rules))
            found = self._plans[key] = rules, needs
        return found


def opinion(rule: Rule[R], verdict: Verdict) -> Opinion:
    """A verdict as what its rule said."""
    match verdict:
        case Accept(state=state):
            return Opinion(rule.name, rule.states, "ACCEPT" if state is None else "ALTER", state=state)
        case Reject(reason=reason, state=state):
            return Opinion(rule.name, rule.states, "REJECT", reason, state=state)
        case Wait(reason=reason, delay_seconds=delay):
            return Opinion(rule.name, rule.states, "WAIT", reason, delay)
        case Abort(reason=reason):
            return Opinion(rule.name, rule.states, "ABORT", reason)
