"""The rule book in the README, made from the policies themselves. `python -m scripts.rule_book` rewrites it."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from domain.flow_run import FlowRun
from domain.orchestration import policies
from domain.orchestration.policy import Policy
from domain.orchestration.rule import Accept, DeploymentFacts, FlowRunContext
from domain.states import TERMINAL, State, StateDetails, StateType, default_name

README = Path(__file__).parents[1] / "README.md"
BEGIN = "<!-- rules: made by scripts/rule_book.py, held current by a test -->\n"
END = "<!-- end of rules -->"

RUN = UUID(int=1)
AT = datetime(2026, 1, 1, tzinfo=UTC)


def rule_book() -> str:
    """The tables of rules and the diagrams of states."""
    # The policies of the background are asked whether or not a proposal is made by force.
    background = {
        "prefect-2, no flow run": policies.BACKGROUND_TASK_RUNS,
        "prefect-3, deferred": policies.DEFERRED_TASK_RUNS,
    }
    task = {**policies.TASK_RUN_POLICIES, **background}
    forced_task = {**policies.FORCED_TASK_RUN_POLICIES, **background}
    parts = [
        "### Rules of flow runs\n",
        _table(policies.FLOW_RUN_POLICIES, policies.FORCED_FLOW_RUN_POLICIES),
        "### Rules of task runs\n",
        _table(task, forced_task),
        "### Which states follow which\n",
        "Drawn is what is accepted, without force, message or result, for a flow run of a deployment without a limit\n"
        "that has a process, no retries, a scheduled time that is past and a pause that has not timed out. An arrow\n"
        "that is not there is refused, or leads elsewhere by a rule. A run is made in any state, without rules; the\n"
        "usual two are drawn.\n",
    ]
    for dialect in ("prefect-3", "strict"):
        parts += [f"`{dialect}`\n", _diagram(policies.flow_run_policy(dialect, False))]
    return "\n".join(parts)


def _table(of_dialect: Mapping[str, Policy[Any]], forced: Mapping[str, Policy[Any]]) -> str:
    """One row a rule: what it states, and its place in the order of each policy; bold where it holds by force, too."""
    everything = [*of_dialect.values(), *forced.values()]
    states = {rule.name: rule.states for policy in everything for rule in policy.rules}
    lines = ["| rule | " + " | ".join(of_dialect) + " |", "|---|" + "---|" * len(of_dialect)]
    for name in _in_order(everything):
        cells = [_place(name, policy, forced.get(dialect)) for dialect, policy in of_dialect.items()]
        lines.append(f"| **{name}**: {states[name]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _in_order(of_dialects: Iterable[Policy[Any]]) -> list[str]:
    """The names of all rules, each about where it stands in the policies that have it."""
    places: dict[str, list[float]] = {}
    for policy in of_dialects:
        for place, rule in enumerate(policy.rules):
            places.setdefault(rule.name, []).append(place / len(policy.rules))
    return sorted(places, key=lambda name: (sum(places[name]) / len(places[name]), name))


def _place(name: str, policy: Policy[Any], by_force: Policy[Any] | None) -> str:
    names = [rule.name for rule in policy.rules]
    holds_by_force = by_force is not None and any(rule.name == name for rule in by_force.rules)
    if name not in names:
        return "**by force**" if holds_by_force else ""
    place = str(names.index(name) + 1)
    return f"**{place}**" if holds_by_force else place


def _diagram(policy: Policy[FlowRun]) -> str:
    """The accepted transitions between types of state, in Mermaid's words."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> SCHEDULED", "    [*] --> PENDING"]
    for initial in StateType:
        followers = [proposed for proposed in StateType if _accepted(policy, initial, proposed)]
        lines += [f"    {initial.value} --> {proposed.value}" for proposed in followers]
        if initial in TERMINAL:
            lines.append(f"    {initial.value} --> [*]")
    return "\n".join([*lines, "```"]) + "\n"


def _accepted(policy: Policy[FlowRun], initial: StateType, proposed: StateType) -> bool:
    run = FlowRun(RUN)
    run.deployment_id = RUN
    run.state = _state(initial)
    # A run that may be cancelled has a process to stop.
    run.infrastructure_pid = "a-process"
    deployment = DeploymentFacts(None, cancels_new=False, grace_seconds=300)
    context = FlowRunContext(run, run.state, _state(proposed), AT, run_count=1, deployment=deployment)
    return isinstance(policy.decide(context).verdict, Accept)


def _state(type: StateType) -> State:
    details: dict[StateType, Callable[[], StateDetails]] = {
        StateType.SCHEDULED: lambda: StateDetails(scheduled_time=AT - timedelta(minutes=1)),
        StateType.PAUSED: lambda: StateDetails(pause_timeout=AT + timedelta(hours=1)),
    }
    made = details.get(type, StateDetails)()
    return State(id=RUN, type=type, name=default_name(type), timestamp=AT, state_details=made)


def with_rule_book(readme: str) -> str:
    """The README with the rule book as it should be."""
    before, _, rest = readme.partition(BEGIN)
    return before + BEGIN + rule_book() + END + rest.partition(END)[2]


if __name__ == "__main__":
    README.write_text(with_rule_book(README.read_text()))
