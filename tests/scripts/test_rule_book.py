"""The README tells the rules as they are, and every rule says what it is."""

import pytest

from domain.orchestration import policies
from domain.orchestration.rule import Rule
from scripts.rule_book import README, with_rule_book

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
RULES = {
    rule.name: rule
    for of_dialect in (policies.FLOW_RUN_POLICIES, policies.TASK_RUN_POLICIES)
    for policy in of_dialect.values()
    for rule in policy.rules
}


def test_the_rule_book_of_the_readme_is_current() -> None:
    readme = README.read_text()
    assert with_rule_book(readme) == readme, "run python -m scripts.rule_book"


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
