"""Every transition that was recorded from a real server happens here as it did there, in the dialect of that server."""

from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import Service
from tests.support.experiments import VERSIONS, Experiment, read_defects, read_experiments
from tests.support.replay import NotPrepared, Replay
from tests.support.verdicts import decide_all_again

EXPERIMENTS = list(read_experiments())
DEFECTS = read_defects()
SETTINGS = {"services_enabled": False}
"""Pauses that timed out stay as they are: what is recorded is what becomes of them when somebody asks."""


@pytest.fixture(scope="module")
def replays(service: Service) -> Iterator[dict[str, Replay]]:
    """A client of each version, on a connection of its own."""
    clients = {version: Replay(service.server, version) for version in VERSIONS}
    yield clients
    for client in clients.values():
        client.close()


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=str)
def test_what_was_recorded_happens_again(replays: dict[str, Replay], experiment: Experiment) -> None:
    try:
        wrong = replays[experiment.version].differences(experiment)
    except NotPrepared as failure:
        pytest.fail(str(failure), pytrace=False)
    for entry, reason in DEFECTS.of(experiment).items():
        assert wrong.pop(entry, []), f"entry {entry} is as recorded, and listed as a defect: {reason}"
    if wrong:
        pytest.fail(_report(experiment, wrong), pytrace=False)


def test_every_verdict_is_had_again_from_what_was_before(service: Service) -> None:
    again = decide_all_again(service.conninfo)
    assert again.differing == {}
    assert again.unknown.keys() <= {"the input that was given is not recorded"}
    assert again.decided > len(EXPERIMENTS)


def test_few_records_are_taken_for_defects_and_each_for_a_reason() -> None:
    recorded = {(experiment.version, entry) for experiment in EXPERIMENTS for entry in experiment.entries}
    assert DEFECTS.reasons.keys() <= recorded
    assert all(DEFECTS.reasons.values())
    assert len(DEFECTS.reasons) <= len(recorded) // 100


def _report(experiment: Experiment, wrong: dict[int, list[str]]) -> str:
    """What differs, below what was proposed."""
    lines = [str(experiment)]
    for step in experiment.steps:
        recorded = step.get("recorded")
        if recorded is None or recorded["entry"] not in wrong:
            continue
        lines.append(f"entry {recorded['entry']}, {recorded['variant']}: {step['propose']} {step['body']}")
        lines += [f"    {difference}" for difference in wrong[recorded["entry"]]]
    return "\n".join(lines)
