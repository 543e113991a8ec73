"""What the ledger promises about batches: keys, failures, refusals, deletion, mirroring, and other processes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from domain import keys
from domain.answers import Outcome
from domain.commands.command import Command, Deleted, Made, OrchestrationResult
from domain.commands.flow_runs import DeleteFlowRun, SetFlowRunState, UpdateFlowRun
from domain.commands.flows import CreateFlow
from domain.errors import IdTaken, MissingReference, NotFound, StoreUnavailable, Unstorable
from domain.flow_run import FlowRunChanges
from domain.ids import new_id
from domain.ledger import Ledger
from domain.task_run import TaskRun
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from tests.checks import check_ledger
from tests.domain.conftest import CALLER, Clock, Desk, create_flow_run, create_task_run, proposed


def topics(conninfo: str, id: UUID) -> list[str]:
    with psycopg.connect(conninfo) as connection:
        query = "SELECT topic FROM ledger.events WHERE originator_id = %s ORDER BY originator_version"
        return [row[0] for row in connection.execute(query, [id])]


@pytest.fixture
def second(conninfo: str, clock: Clock) -> Iterator[Ledger]:
    """The ledger of another process on the same database."""
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=clock) as ledger:
        yield ledger


def test_the_same_idempotency_key_gives_the_same_run_within_one_batch_and_later(desk: Desk, conninfo: str) -> None:
    commands = [create_flow_run(desk.flow_id, idempotency_key="k") for _ in range(3)]
    outcomes = desk.ledger.execute(lambda: commands)
    answers = [outcome.answer for outcome in outcomes]
    assert all(isinstance(answer, Made) for answer in answers)
    assert [answer.created for answer in answers if isinstance(answer, Made)] == [True, False, False]

    again = desk.ask(create_flow_run(desk.flow_id, idempotency_key="k"))
    assert isinstance(again, Made)
    assert (again.id, again.created) == (commands[0].id, False)
    assert again.document == outcomes[0].answer.document  # type: ignore[union-attr]
    check_ledger(conninfo)


def test_a_key_is_free_again_after_its_run_was_deleted(desk: Desk) -> None:
    first = desk.flow_run(idempotency_key="k")
    assert desk.ask(DeleteFlowRun(caller=CALLER, id=first)) == Deleted(finished=True)
    second = desk.flow_run(idempotency_key="k")
    assert second != first


def test_keys_of_any_length_do_their_work(desk: Desk) -> None:
    long = "é" * 5_000
    assert desk.flow_run(idempotency_key=long) == desk.flow_run(idempotency_key=long)
    assert desk.flow_run(idempotency_key=long) != desk.flow_run(idempotency_key=long + "!")


def test_a_command_that_fails_fails_alone(desk: Desk, conninfo: str) -> None:
    good, orphan = create_flow_run(desk.flow_id), create_flow_run(new_id())
    unknown = SetFlowRunState(caller=CALLER, id=new_id(), state=proposed("RUNNING"), force=False)

    outcomes = desk.ledger.execute(lambda: [orphan, good, unknown])

    assert isinstance(outcomes[0].error, MissingReference)
    assert outcomes[1].error is None
    assert isinstance(outcomes[2].error, NotFound)
    assert topics(conninfo, good.id) == ["FlowRun.Created", "FlowRun.StateSet"]
    assert topics(conninfo, orphan.id) == []


def test_data_that_the_store_refuses_fails_alone(desk: Desk, conninfo: str) -> None:
    good, bad = create_flow_run(desk.flow_id), create_flow_run(desk.flow_id, name="with \0 in it")

    outcomes = desk.ledger.execute(lambda: [good, bad])

    assert outcomes[0].error is None
    assert isinstance(outcomes[1].error, Unstorable)
    assert check_ledger(conninfo) == 3


def test_those_tried_alone_are_answered_even_when_the_store_goes_meanwhile(
    desk: Desk, conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, bad, last = (create_flow_run(desk.flow_id, name=name) for name in ("first", "with \0 in it", "last"))
    execute = desk.ledger.execute

    def goes(take: Callable[[], Sequence[Command]]) -> list[Outcome]:
        commands = list(take())
        if commands == [last]:
            raise StoreUnavailable("gone")
        return execute(lambda: commands)

    monkeypatch.setattr(desk.ledger, "execute", goes)
    outcomes = execute(lambda: [first, bad, last])

    assert [type(outcome.error) for outcome in outcomes] == [type(None), Unstorable, StoreUnavailable]
    assert check_ledger(conninfo) == 3


def test_a_database_without_our_tables_is_an_error_for_the_caller_of_the_ledger(empty_database: str) -> None:
    with (
        Ledger(PostgresLedgerRecorder(LedgerConnection(empty_database))) as ledger,
        pytest.raises(psycopg.errors.UndefinedTable),
    ):
        ledger.execute(lambda: [create_flow_run(new_id())])


def test_later_commands_of_a_batch_see_what_earlier_ones_did(desk: Desk) -> None:
    create = create_flow_run(desk.flow_id, state=proposed("SCHEDULED"))
    claims = [SetFlowRunState(caller=CALLER, id=create.id, state=proposed("PENDING"), force=False) for _ in range(3)]

    outcomes = desk.ledger.execute(lambda: [create, *claims])

    answers = [outcome.answer for outcome in outcomes[1:]]
    assert [answer.status for answer in answers if isinstance(answer, OrchestrationResult)] == [
        "ACCEPT",
        "ABORT",
        "ABORT",
    ]


def test_a_refusal_is_an_event_and_its_repetition_a_count(desk: Desk, conninfo: str) -> None:
    id = desk.flow_run(state=proposed("SCHEDULED", scheduled_time=desk.clock() + timedelta(hours=1)))
    for _ in range(3):
        assert desk.propose("flow", id, proposed("RUNNING")).status == "WAIT"
    assert topics(conninfo, id) == ["FlowRun.Created", "FlowRun.StateSet", "FlowRun.TransitionRefused"]
    with psycopg.connect(conninfo) as connection:
        counted = connection.execute("SELECT originator_version, times FROM telemetry.repeated_refusals").fetchall()
    assert counted == [(3, 2)]

    desk.ask(UpdateFlowRun(caller=CALLER, id=id, changes=FlowRunChanges(name="renamed")))
    desk.propose("flow", id, proposed("RUNNING"))
    assert topics(conninfo, id)[-2:] == ["FlowRun.Updated", "FlowRun.TransitionRefused"]


def test_a_refusal_to_another_actor_is_news(desk: Desk, conninfo: str) -> None:
    id = desk.flow_run(state=proposed("RUNNING"))
    for actor in ("one", "two"):
        caller = replace(CALLER, actor=actor)
        desk.ask(SetFlowRunState(caller=caller, id=id, state=proposed("PENDING"), force=False))
    assert topics(conninfo, id).count("FlowRun.TransitionRefused") == 2


def test_states_of_a_subflow_are_mirrored_on_its_parent_task_run(desk: Desk, conninfo: str) -> None:
    parent = desk.task_run(desk.flow_run(state=proposed("RUNNING")))
    child = desk.flow_run(parent_task_run_id=parent)
    desk.propose("flow", child, proposed("RUNNING"))
    desk.propose("flow", child, proposed("COMPLETED", data={"type": "unpersisted"}))

    run = desk.run(parent)
    assert run.state is not None
    assert (run.state.type, run.state.data) == ("COMPLETED", {"type": "unpersisted"})
    assert run.state.state_details.child_flow_run_id == child
    assert run.state.state_details.task_run_id == parent
    assert topics(conninfo, parent) == ["TaskRun.Created"] + ["TaskRun.StateSet"] * 4
    check_ledger(conninfo)


def test_deleting_a_flow_run_deletes_its_task_runs_in_chunks_and_keeps_their_history(
    desk: Desk, conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("domain.commands.flow_runs.TASK_RUNS_PER_DELETION", 2)
    id = desk.flow_run()
    other = desk.flow_run()
    task_runs = [desk.task_run(id) for _ in range(5)]
    kept = desk.task_run(other)

    answers = []
    while not answers or not answers[-1].finished:
        answer = desk.ask(DeleteFlowRun(caller=CALLER, id=id))
        assert isinstance(answer, Deleted)
        answers.append(answer)

    assert [answer.finished for answer in answers] == [False, False, True]
    for task_run in task_runs:
        assert topics(conninfo, task_run)[-1] == "TaskRun.Deleted"
    assert topics(conninfo, kept)[-1] == "TaskRun.StateSet"
    with pytest.raises(NotFound):
        desk.propose("flow", id, proposed("RUNNING"))
    with psycopg.connect(conninfo) as connection:
        kinds = connection.execute("SELECT kind, count(*) FROM ledger.keys GROUP BY 1 ORDER BY 1").fetchall()
        read = connection.execute("SELECT count(*) FROM read.task_runs").fetchone()
    assert kinds == [("flow_name", 1), ("task_run", 1)]
    assert read == (1,)
    check_ledger(conninfo)


def test_a_task_run_is_found_by_its_keys_and_its_chosen_id_is_taken_once(desk: Desk) -> None:
    flow_run = desk.flow_run()
    first = desk.task_run(flow_run, dynamic_key="0")
    assert desk.task_run(flow_run, dynamic_key="0") == first
    assert desk.task_run(flow_run, dynamic_key="1") != first
    with pytest.raises(IdTaken):
        desk.task_run(flow_run, dynamic_key="2", id=first)
    assert desk.task_run(None, dynamic_key="0") != desk.task_run(None, dynamic_key="0")


def test_keys_whose_parts_differ_are_different_keys() -> None:
    run = new_id()
    assert keys.task_run(run, "a:b", "c") != keys.task_run(run, "a", "b:c")


def test_another_process_sees_every_change_before_it_decides(desk: Desk, second: Ledger, conninfo: str) -> None:
    id = desk.flow_run(state=proposed("SCHEDULED"))
    there, here = Desk(second, desk.clock), desk
    assert there.propose("flow", id, proposed("PENDING")).status == "ACCEPT"
    assert here.propose("flow", id, proposed("PENDING")).status == "ABORT"
    assert here.propose("flow", id, proposed("RUNNING")).status == "ACCEPT"
    assert there.propose("flow", id, proposed("RUNNING")).status == "ACCEPT"
    assert here.propose("flow", id, proposed("COMPLETED")).status == "ACCEPT"
    assert here.run(id).run_count == 2
    check_ledger(conninfo)


def test_recorded_time_never_goes_back_even_when_the_clock_does(desk: Desk, conninfo: str) -> None:
    id = desk.flow_run()
    before = desk.run(id).updated
    desk.clock.move(hours=-1)
    desk.propose("flow", id, proposed("RUNNING"))
    assert desk.run(id).updated == before
    check_ledger(conninfo)


def test_aggregates_that_do_not_fit_into_memory_are_loaded_again(conninfo: str, clock: Clock) -> None:
    recorder = PostgresLedgerRecorder(LedgerConnection(conninfo))
    with Ledger(recorder, clock=clock, cache_size=3) as ledger:
        desk = Desk(ledger, clock)
        runs = [desk.flow_run() for _ in range(10)]
        tasks = ledger.execute(lambda: [create_task_run(run) for run in runs])
        assert all(outcome.error is None for outcome in tasks)
        assert all(desk.propose("flow", run, proposed("RUNNING")).status == "ACCEPT" for run in runs)
        assert sum(ledger.cached(run) is not None for run in runs) <= 3
    check_ledger(conninfo)


def test_clearing_leaves_nothing_and_other_processes_forget_what_they_knew(
    desk: Desk, second: Ledger, conninfo: str
) -> None:
    id = desk.flow_run()
    there = Desk(second, desk.clock)
    there.propose("flow", id, proposed("RUNNING"))
    desk.ledger.clear()
    assert check_ledger(conninfo) == 0
    with pytest.raises(NotFound):
        there.propose("flow", id, proposed("COMPLETED"))
    made = desk.ask(CreateFlow(caller=CALLER, id=new_id(), name="a-flow", tags=[], labels={}))
    assert isinstance(made, Made)
    assert made.created


def test_a_task_run_knows_its_flow_runs_attempt(desk: Desk) -> None:
    flow_run = desk.flow_run(state=proposed("RUNNING"))
    id = desk.task_run(flow_run)
    desk.propose("task", id, proposed("RUNNING"))
    run = desk.run(id)
    assert isinstance(run, TaskRun)
    assert run.flow_run_run_count == 1
