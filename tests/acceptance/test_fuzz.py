"""Bodies made at random from the description of the API: whatever a server is sent, it answers properly."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import ENDPOINTS
from api.openapi import describe
from tests.acceptance.conftest import Service
from tests.checks import check_ledger
from tests.support import strict_json
from tests.support.descriptions import Bodies, Operation, operations
from tests.support.one_of_each import address_of, make_one_of_each
from tests.support.stored_events import count_events

DESCRIPTION = describe(list(ENDPOINTS))
WITH_BODY = [operation for operation in operations(DESCRIPTION) if operation.schema is not None]
STAND_INS = {
    kind: f"00000000-0000-4000-8000-00000000000{at}" for at, kind in enumerate(("flows", "flow_runs", "task_runs"))
}
"""Ids in made bodies that are replaced by those of things that are there."""

BODIES = Bodies(DESCRIPTION, ids=tuple(STAND_INS.values()))


@st.composite
def requests(draw: st.DrawFn) -> tuple[Operation, str]:
    """An operation and the text of a body for it."""
    operation = draw(st.sampled_from(WITH_BODY))
    assert operation.schema is not None
    return operation, json.dumps(draw(BODIES.of(operation.schema)))


@pytest.mark.parametrize("examples", [200, pytest.param(3000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_whatever_is_sent_is_answered_properly(service: Service, client: httpx.Client, examples: int) -> None:
    there = make_one_of_each(client)

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck])
    @given(requests())
    def holds(request: tuple[Operation, str]) -> None:
        operation, text = request
        for kind, stand_in in STAND_INS.items():
            text = text.replace(stand_in, there[kind])
        before = count_events(service.conninfo)
        answer = client.request(operation.method, address_of(client, operation, there), content=text.encode())
        check_answer(answer)
        if answer.status_code >= 400:
            assert count_events(service.conninfo) == before

    holds()
    check_ledger(service.conninfo)


def check_answer(answer: httpx.Response) -> None:
    """No server error, and a body that is JSON and explains a refusal."""
    # Schedules are refused as not implemented, with a sentence that says so.
    assert answer.status_code < 500 or answer.status_code == 501, answer.text
    if answer.status_code == 204:
        return
    said: Any = strict_json.loads(answer.text)
    if answer.status_code == 422:
        assert said.get("exception_detail") or said.get("detail")
    elif answer.status_code >= 400:
        # Clients parse either, and Prefect says "exception_message" where a transition finds no run.
        assert said.get("detail") or said.get("exception_message")
