"""Counters and times follow from the transitions alone."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.flow_run import FlowRun
from domain.states import TERMINAL, State, StateDetails, StateType

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)

courses = st.lists(st.tuples(st.sampled_from(StateType), st.integers(0, 100)), min_size=1, max_size=12)


def run_through(course: list[tuple[StateType, int]]) -> FlowRun:
    """A run that entered these states, each so many seconds after the one before it."""
    run, at = FlowRun(UUID(int=1)), AT
    for number, (type, seconds) in enumerate(course):
        at += timedelta(seconds=seconds)
        details = StateDetails(scheduled_time=at) if type is StateType.SCHEDULED else StateDetails()
        run.enter(State(id=UUID(int=number), type=type, name=type, timestamp=at, state_details=details))
    return run


@given(courses)
def test_run_count_is_how_often_the_run_began_to_run(course: list[tuple[StateType, int]]) -> None:
    assert run_through(course).run_count == sum(type is StateType.RUNNING for type, _ in course)


@given(courses)
def test_total_run_time_is_the_time_spent_running_and_left(course: list[tuple[StateType, int]]) -> None:
    spent = sum(after for (type, _), (_, after) in pairwise(course) if type is StateType.RUNNING)
    assert run_through(course).total_run_time == spent


@given(courses)
def test_a_run_has_an_end_exactly_while_it_is_in_a_terminal_state(course: list[tuple[StateType, int]]) -> None:
    run = run_through(course)
    assert (run.end_time is not None) == (course[-1][0] in TERMINAL)


@given(courses)
def test_the_start_is_the_first_time_the_run_ran_or_ended(course: list[tuple[StateType, int]]) -> None:
    at, first = AT, None
    for type, seconds in course:
        at += timedelta(seconds=seconds)
        if first is None and (type is StateType.RUNNING or type in TERMINAL):
            first = at
    assert run_through(course).start_time == first
