"""What is said of a run is the same whichever library writes it."""

from datetime import UTC
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticSerializationError, from_json

from domain.run_policy import FlowRunPolicy, TaskRunPolicy
from domain.states import State, StateDetails, StateType
from domain.task_run import Constant, FlowRunResult, Parameter, TaskRunResult
from projections.documents import as_json, run_as_json

times = st.datetimes(timezones=st.just(UTC))
what_people_write = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
)
states = st.builds(
    State,
    id=st.uuids(),
    type=st.sampled_from(StateType),
    name=st.text(),
    timestamp=times,
    message=st.none() | st.text(),
    data=what_people_write,
    state_details=st.builds(
        StateDetails,
        flow_run_id=st.none() | st.uuids(),
        scheduled_time=st.none() | times,
        run_input_keyset=st.none() | st.dictionaries(st.text(), st.text()),
        deferred=st.none() | st.booleans(),
    ),
)
inputs = st.one_of(
    st.builds(TaskRunResult, id=st.uuids()),
    st.builds(FlowRunResult, id=st.uuids()),
    st.builds(Parameter, name=st.text()),
    st.builds(Constant, type=st.text()),
)
policies = st.one_of(
    st.builds(FlowRunPolicy, retry_delay_seconds=st.floats(), retries=st.none() | st.integers()),
    st.builds(TaskRunPolicy, retry_delay=st.none() | st.integers() | st.floats() | st.lists(st.floats())),
)


@given(st.fixed_dictionaries({"state": states, "inputs": st.lists(inputs), "policy": policies, "times": times}))
def test_a_run_is_described_the_same_by_both_writers(content: dict[str, Any]) -> None:
    assert from_json(run_as_json(content)) == from_json(as_json(content))


@pytest.mark.parametrize("content", [{UUID(int=1): 2}, {"n": 2**80}, {"n": [1e400, float("nan")]}])
def test_what_only_one_of_them_can_write_is_written_all_the_same(content: object) -> None:
    assert from_json(run_as_json(content)) == from_json(as_json(content))


def test_what_is_no_text_cannot_be_written_by_either() -> None:
    for write in (as_json, run_as_json):
        with pytest.raises(PydanticSerializationError):
            write({"text": "\ud800"})
