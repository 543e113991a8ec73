"""Reports of a client about its task run give one and the same run, in whatever order and however often they come."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.commands.command import Command
from domain.commands.task_runs import ReportTaskRunState
from domain.ids import new_id
from domain.run_policy import TaskRunPolicy
from domain.states import State, StateType
from domain.task_run import ReportedCounters, TaskRun, TaskRunCreated, TaskRunStateReported
from tests.domain.conftest import CALLER, Desk, create_task_run

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


courses = st.permutations(range(len(COURSE))).flatmap(
    lambda order: st.lists(st.integers(0, len(COURSE) - 1), max_size=6).map(lambda again: [*order, *again])
)
"""Every step at least once, in any order; some again."""


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=courses, skew=skews, batched=st.booleans())
def test_the_ledger_keeps_one_history_however_often_and_in_whatever_order_reports_come(
    desk: Desk, order: list[int], skew: list[float], batched: bool
) -> None:
    id, facts = new_id(), create_task_run(None).facts
    reports: list[Command] = []
    for step in order:
        told = report(step, skew[step])
        told.pop("occurred_at")
        # States of different runs have different ids.
        state = told["state"].model_copy(update={"id": UUID(int=id.int ^ told["state"].id.int)})
        follows = UUID(int=id.int ^ told["follows"].int) if told["follows"] else None
        reports.append(
            ReportTaskRunState(
                caller=CALLER, id=id, facts=facts, state=state, follows=follows, counters=told["counters"]
            )
        )
    for some in [reports] if batched else [[one] for one in reports]:
        assert [outcome.error for outcome in desk.ledger.execute(lambda some=some: some)] == [None] * len(some)
    run = desk.run(id)
    assert isinstance(run, TaskRun)
    assert run.state is not None
    assert (run.state.name, run.run_count) == ("Completed", 2)
    assert run.version == 1 + len(COURSE)
    assert len(run.reports) == len(COURSE)


def test_a_late_report_of_an_earlier_state_does_not_bring_the_run_back() -> None:
    run = fold([report(0), report(4), report(1)])

    assert run.state is not None
    assert run.state.name == "Completed"
    assert run.run_count == 2
