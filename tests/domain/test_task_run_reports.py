"""Reports of a client about its task run give one and the same run, in whatever order and however often they come."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.run_policy import TaskRunPolicy
from domain.states import State, StateType
from domain.task_run import ReportedCounters, TaskRun, TaskRunCreated, TaskRunStateReported

RUN = UUID(int=7)
AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
COURSE = [
    ("Pending", StateType.PENDING, 0),
    ("Running", StateType.RUNNING, 1),
    ("AwaitingRetry", StateType.SCHEDULED, 1),
    ("Retrying", StateType.RUNNING, 2),
    ("Completed", StateType.COMPLETED, 2),
]


def report(step: int, clock_skew: float = 0) -> dict[str, Any]:
    """The facts of one step of the course; `clock_skew` is how many seconds the client's clock is off by then."""
    name, type, run_count = COURSE[step]
    at = AT + timedelta(seconds=step + clock_skew)
    return {
        "state": State(id=UUID(int=100 + step), type=type, name=name, timestamp=at),
        "follows": UUID(int=99 + step) if step else None,
        "counters": ReportedCounters(run_count=run_count, total_run_time=float(run_count)),
        "occurred_at": at,
    }


def fold(reports: list[dict[str, Any]]) -> TaskRun:
    run = TaskRun(RUN)
    base: dict[str, Any] = {"originator_id": RUN, "recorded_at": AT, "actor": "a client"}
    run.apply(
        TaskRunCreated(
            **base,
            originator_version=1,
            name="t",
            task_key="t",
            dynamic_key="0",
            tags=[],
            labels={},
            task_inputs={},
            empirical_policy=TaskRunPolicy(),
            reported=True,
        )
    )
    for version, facts in enumerate(reports, 2):
        run.apply(TaskRunStateReported(**base, originator_version=version, **facts))
    return run


skews = st.lists(st.floats(-100, 100), min_size=len(COURSE), max_size=len(COURSE))


@given(order=st.permutations(range(len(COURSE))), skew=skews)
def test_the_last_state_of_the_course_wins_in_any_order_and_by_any_clock(order: list[int], skew: list[float]) -> None:
    run = fold([report(step, skew[step]) for step in order])

    assert run.state is not None
    assert run.state.name == "Completed"
    assert (run.run_count, run.total_run_time) == (2, 2.0)


@given(missing=st.integers(0, len(COURSE) - 2), order=st.permutations(range(len(COURSE))))
def test_with_a_report_missing_the_newest_by_the_clients_clock_wins(missing: int, order: list[int]) -> None:
    run = fold([report(step) for step in order if step != missing])

    assert run.state is not None
    assert run.state.name == "Completed"


def test_a_late_report_of_an_earlier_state_does_not_bring_the_run_back() -> None:
    run = fold([report(0), report(4), report(1)])

    assert run.state is not None
    assert run.state.name == "Completed"
    assert run.run_count == 2
