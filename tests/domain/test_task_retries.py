"""Failed task runs are tried again as their policies say and as was recorded; jittered delays keep their bounds."""

import json
import re
from itertools import groupby
from math import log2
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.orchestration.scheduling import LONGEST_DELAY, jittered
from domain.run_policy import TaskRunPolicy
from tests.domain.conftest import Desk, proposed

SERVERS = {"orion": "2.7.12", "prefect-2": "2.20.25", "prefect-3": "3.9.1"}
DATA = Path(__file__).parents[1] / "data"
NOTE = re.compile(r"retries=(\d+) delay=(\S+|\[.*\]) failure (\d+) retriable=(\w+)")
delays = st.floats(0, LONGEST_DELAY, allow_subnormal=False)
factors = st.floats(0, 100, allow_subnormal=False)


def courses(dialect: str) -> list[list[dict[str, Any]]]:
    """The recorded entries of each task run: its failures, and its attempts to go on after them."""
    entries = json.loads((DATA / f"task_retries_{SERVERS[dialect]}.json").read_text())
    entries = [entry for entry in entries if entry["variant"] != "retry-policy-other-terminal"]
    number = 0
    for entry in entries:
        number += "failure 1 " in entry["note"]
        entry["course"] = number
    return [list(course) for _, course in groupby(entries, key=lambda entry: entry["course"])]


@pytest.mark.parametrize("dialect", SERVERS)
def test_failures_of_task_runs_are_answered_as_recorded(desk: Desk, dialect: str) -> None:
    desk.dialect = dialect
    parent = desk.flow_run()
    desk.propose("flow", parent, proposed("RUNNING"), force=True)
    played = courses(dialect)
    assert len(played) == 4
    for course in played:
        match = NOTE.match(course[0]["note"])
        assert match is not None
        policy = TaskRunPolicy(retries=int(match[1]), retry_delay=json.loads(match[2]))
        retriable = None if match[4] == "None" else match[4] == "True"
        id = desk.task_run(parent, policy)
        desk.propose("task", id, proposed("RUNNING"))
        for entry in course:
            if entry["proposed"] == "FAILED" and desk.run(id).state.type != "RUNNING":  # type: ignore[union-attr]
                desk.propose("task", id, proposed("RUNNING"), force=True)
            details = {"retriable": retriable, "message": "boom"} if entry["proposed"] == "FAILED" else {}
            result = desk.propose("task", id, proposed(entry["proposed"], **details))
            assert result.state is not None
            found = (result.status, result.state.name, result.state.message, result.details)
            recorded = tuple(entry[part] for part in ("status", "resulting_name", "resulting_message", "details"))
            assert found == recorded, entry["note"]
            assert desk.run(id).run_count == entry["read_back"]["run_count"]


@given(delays, factors, st.uuids())
def test_a_jittered_delay_keeps_its_bounds(seconds: float, factor: float, id: UUID) -> None:
    most = 1 + factor
    least = -log2(1 - 2.0**-most)
    assert seconds * least * (1 - 1e-9) <= jittered(seconds, factor, id) <= seconds * most * (1 + 1e-9)


@given(delays, factors, st.uuids())
def test_a_jittered_delay_is_drawn_from_the_id_alone(seconds: float, factor: float, id: UUID) -> None:
    assert jittered(seconds, factor, id) == jittered(seconds, factor, UUID(str(id)))


def test_jittered_delays_are_spread_around_the_given_one() -> None:
    drawn = [jittered(10, 1, UUID(int=number)) for number in range(2000)]
    assert median(drawn) == pytest.approx(10, rel=0.05)
    assert min(drawn) < 4.3
    assert max(drawn) > 19


@pytest.mark.parametrize(("delay", "expected"), [(30, [30, 30, 30]), ([10, 20.5], [10, 20.5, 20.5]), ([], [0, 0, 0])])
@pytest.mark.parametrize("factor", [None, 0, -1])
def test_without_a_factor_delays_are_exact(desk: Desk, delay: Any, expected: list[float], factor: float | None) -> None:
    policy = TaskRunPolicy(retries=3, retry_delay=delay, retry_jitter_factor=factor)
    assert waits(desk, policy, 3) == expected


def test_with_a_factor_each_delay_of_a_list_is_jittered(desk: Desk) -> None:
    policy = TaskRunPolicy(retries=3, retry_delay=[10, 1000], retry_jitter_factor=0.5)
    first, *others = waits(desk, policy, 3)
    assert 10 * 0.6 < first <= 15
    assert all(1000 * 0.6 < other <= 1500 for other in others)
    assert len({*others}) == 2
    assert first != 10


@pytest.mark.parametrize("delay", [10**400, 1e308])
def test_no_factor_leads_beyond_the_longest_delay(desk: Desk, delay: float) -> None:
    policy = TaskRunPolicy(retries=1, retry_delay=delay, retry_jitter_factor=1e308)
    (wait,) = waits(desk, policy, 1)
    assert 0 < wait <= LONGEST_DELAY


def waits(desk: Desk, policy: TaskRunPolicy, times: int) -> list[float]:
    """Seconds between each of so many failures of a task run and its next attempt, which it then makes in time."""
    id = desk.task_run(None, policy)
    found = []
    for _ in range(times):
        desk.propose("task", id, proposed("RUNNING"))
        failed = desk.propose("task", id, proposed("FAILED"))
        assert failed.state is not None
        assert failed.state.name == "AwaitingRetry"
        scheduled = failed.state.state_details.scheduled_time
        assert scheduled is not None
        found.append((scheduled - desk.clock()).total_seconds())
        desk.clock.time = scheduled
    return found
