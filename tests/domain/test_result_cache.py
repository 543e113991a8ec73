"""Results that task runs leave under a cache key, for others that would compute the same again."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from domain.commands.command import OrchestrationResult
from domain.commands.flow_runs import DeleteFlowRun
from domain.commands.task_runs import DeleteTaskRun, SetTaskRunState
from domain.ledger import Ledger
from domain.states import State
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from tests.checks import check_ledger
from tests.domain.conftest import CALLER, Desk, proposed

RESULT = {"type": "reference"}


def asks(desk: Desk, id: UUID, type: str, **details: Any) -> SetTaskRunState:
    return SetTaskRunState(
        caller=replace(CALLER, dialect=desk.dialect), id=id, state=proposed(type, **details), force=False
    )


def compute(desk: Desk, flow_run: UUID, data: Any, *, seconds: float | None = None, key: str = "key") -> UUID:
    """The id of a task run that computed something and leaves it under a key, for so many seconds if it says so."""
    expiration = None if seconds is None else desk.clock() + timedelta(seconds=seconds)
    id = desk.task_run(flow_run)
    desk.ask(asks(desk, id, "RUNNING"))
    desk.ask(asks(desk, id, "COMPLETED", data=data, cache_key=key, cache_expiration=expiration))
    desk.clock.move(seconds=1)
    return id


def start(desk: Desk, flow_run: UUID, key: str = "key", **details: Any) -> State:
    """The state that a task run gets that would start under a key."""
    answer = desk.ask(asks(desk, desk.task_run(flow_run), "RUNNING", cache_key=key, **details))
    assert isinstance(answer, OrchestrationResult)
    assert answer.state is not None
    return answer.state


@pytest.fixture
def flow_run(desk: Desk) -> UUID:
    id = desk.flow_run()
    desk.propose("flow", id, proposed("RUNNING"))
    return id


@pytest.mark.parametrize("dialect", ["orion", "prefect-2", "prefect-3", "strict"])
def test_a_cached_result_is_served_under_its_key_and_no_other(desk: Desk, flow_run: UUID, dialect: str) -> None:
    desk.dialect = dialect
    compute(desk, flow_run, RESULT)
    served = start(desk, flow_run)
    assert (served.type, served.name, served.data) == ("COMPLETED", "Cached", RESULT)
    assert start(desk, flow_run, "another key").type == "RUNNING"
    assert start(desk, flow_run, refresh_cache=True).type == "RUNNING"


def test_a_result_expires_at_the_second_it_says(desk: Desk, flow_run: UUID) -> None:
    compute(desk, flow_run, RESULT, seconds=60)
    desk.clock.move(seconds=58)
    assert start(desk, flow_run).name == "Cached"
    desk.clock.move(seconds=1)
    assert start(desk, flow_run).type == "RUNNING"


def test_the_newest_result_is_served_and_when_it_expired_the_one_before(desk: Desk, flow_run: UUID) -> None:
    compute(desk, flow_run, "old")
    compute(desk, flow_run, "expiring", seconds=60)
    compute(desk, flow_run, "new", seconds=30)
    assert start(desk, flow_run).data == "new"
    desk.clock.move(seconds=30)
    assert start(desk, flow_run).data == "expiring"
    desk.clock.move(seconds=30)
    assert start(desk, flow_run).data == "old"


def test_a_result_is_served_however_many_after_it_have_expired(desk: Desk, flow_run: UUID) -> None:
    compute(desk, flow_run, "lasting")
    for number in range(110):
        compute(desk, flow_run, number, seconds=0.5)
    assert start(desk, flow_run).data == "lasting"


@pytest.mark.parametrize("deleted", ["task run", "flow run"])
def test_the_result_of_what_was_deleted_is_gone(desk: Desk, flow_run: UUID, deleted: str) -> None:
    elsewhere = desk.flow_run()
    desk.propose("flow", elsewhere, proposed("RUNNING"))
    compute(desk, flow_run, "kept")
    id = compute(desk, elsewhere, "deleted")
    desk.ask(
        DeleteTaskRun(caller=CALLER, id=id) if deleted == "task run" else DeleteFlowRun(caller=CALLER, id=elsewhere)
    )
    assert start(desk, flow_run).data == "kept"


def test_one_batch_sees_what_it_caches_and_deletes_itself(desk: Desk, flow_run: UUID, conninfo: str) -> None:
    compute(desk, flow_run, "before")
    one, two, *others = (desk.task_run(flow_run) for _ in range(5))
    for id in (one, two):
        desk.ask(asks(desk, id, "RUNNING"))
    batch = [
        asks(desk, one, "COMPLETED", data="one", cache_key="key"),
        asks(desk, two, "COMPLETED", data="two", cache_key="key", cache_expiration=desk.clock()),
        asks(desk, others[0], "RUNNING", cache_key="key"),
        DeleteTaskRun(caller=CALLER, id=one),
        asks(desk, others[1], "RUNNING", cache_key="key"),
    ]
    outcomes = desk.ledger.execute(lambda: batch)
    assert [outcome.error for outcome in outcomes] == [None] * len(batch)
    served = [desk.run(id).state for id in others[:2]]
    assert [state and state.data for state in served] == ["one", "before"]
    desk.clock.move(seconds=1)
    assert start(desk, flow_run).data == "before"
    check_ledger(conninfo)


def test_results_outlast_the_process_and_end_with_their_rows(desk: Desk, flow_run: UUID, conninfo: str) -> None:
    long = "k" * 1_999
    id = compute(desk, flow_run, RESULT, key=long)
    waiting = desk.task_run(flow_run)
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=desk.clock) as other:
        answer = other.execute(lambda: [asks(desk, waiting, "RUNNING", cache_key=long)])[0].answer
    assert isinstance(answer, OrchestrationResult)
    assert answer.state is not None
    assert answer.state.data == RESULT
    with psycopg.connect(conninfo) as connection:
        cached = connection.execute("SELECT task_run_id FROM read.cached_results").fetchall()
    assert cached == [(id,)]
    desk.ask(DeleteTaskRun(caller=CALLER, id=id))
    check_ledger(conninfo)
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("SELECT 1 FROM read.cached_results").fetchall() == []


def test_under_a_key_that_is_too_long_nothing_is_cached(desk: Desk, flow_run: UUID) -> None:
    compute(desk, flow_run, RESULT, key="k" * 2_001)
    assert start(desk, flow_run, "k" * 2_001).type == "RUNNING"


def test_a_result_that_was_served_is_not_cached_anew(desk: Desk, flow_run: UUID) -> None:
    compute(desk, flow_run, RESULT, seconds=60)
    assert start(desk, flow_run).name == "Cached"
    desk.clock.move(seconds=60)
    assert start(desk, flow_run).type == "RUNNING"
