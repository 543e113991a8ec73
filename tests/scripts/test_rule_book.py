"""The README tells the rules as they are, and every rule says what it is."""

import pytest

from domain.orchestration import policies
from domain.orchestration.rule import Rule
from scripts.rule_book import README, rule_book, with_rule_book

POLICIES = {
    dialect: [
        policies.FLOW_RUN_POLICIES[dialect],
        policies.TASK_RUN_POLICIES[dialect],
        policies.FORCED_FLOW_RUN_POLICIES[dialect],
        policies.FORCED_TASK_RUN_POLICIES[dialect],
    ]
    for dialect in policies.DIALECTS
}
POLICIES["prefect-2"].append(policies.BACKGROUND_TASK_RUNS)
POLICIES["prefect-3"].append(policies.DEFERRED_TASK_RUNS)
# Flow runs and task runs have rules of the same name.
RULES = {
    f"{type(rule).__module__}.{rule.name}": rule
    for of_dialect in POLICIES.values()
    for policy in of_dialect
    for rule in policy.rules
}


def test_the_rule_book_of_the_readme_is_current() -> None:
    readme = README.read_text()
    assert with_rule_book(readme) == readme, "run python -m scripts.rule_book"


@pytest.mark.parametrize(("dialect", "in_flow_run"), [("prefect-2", False), ("prefect-3", True)])
def test_rules_of_the_background_hold_by_force_and_are_marked_so(dialect: str, in_flow_run: bool) -> None:
    forced = policies.task_run_policy(dialect, True, in_flow_run=in_flow_run, deferred=True)
    column = {"prefect-2": -2, "prefect-3": -1}[dialect]
    of_task_runs = rule_book().partition("Rules of task runs")[2]
    cells = {line.split("**")[1]: line.split(" | ") for line in of_task_runs.splitlines() if line.startswith("| **")}
    for place, rule in enumerate(forced.rules, 1):
        assert cells[rule.name][column].strip(" |") == f"**{place}**"


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_a_rule_states_what_it_is_in_its_own_words(rule: Rule) -> None:
    having = [
        dialect
        for dialect in policies.DIALECTS
        if any(type(one) is type(rule) for policy in POLICIES[dialect] for one in policy.rules)
    ]
    assert f"Dialects: {', '.join(having)}." in (type(rule).__doc__ or "")
    assert "\n" not in rule.states
    assert rule.states.endswith(".")
