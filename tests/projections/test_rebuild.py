"""Read tables are made anew from the ledger, beside those in use, while commands go on; then they change places."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.commands.command import Command
from domain.commands.flow_runs import DeleteFlowRun, SetFlowRunState
from domain.commands.flows import CreateFlow
from domain.ids import new_id
from domain.ledger import Ledger
from projections import copying, statements
from projections.connection import LedgerConnection
from projections.rebuild import catching_up, moment, rebuilding, swapping
from projections.rebuild.alone import Busy, alone
from projections.rebuild.building import ALL
from projections.rebuild.rebuilding import (
    OtherShape,
    Plan,
    TablesReplaced,
    differences,
    ensure_shape,
    rebuild,
)
from projections.rebuild.shadow import PREFIX
from projections.rebuild.workers import Tools, WorkerFailed, Workers
from projections.recorder import PostgresLedgerRecorder
from projections.schema import shape
from projections.tables import TABLES
from tests.checks import check_counts, check_ledger, live_rows
from tests.domain.conftest import CALLER, Clock, create_flow_run, proposed
from tests.projections.test_projection_law import FLOWS, commands

NOT_VACUUMED = """
SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE 'autovacuum_enabled=off' = ANY(reloptions)
"""
INDEXES = "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'read' ORDER BY tablename, indexdef"
LEFT_BEHIND = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)"

batches = st.lists(st.lists(commands, min_size=1, max_size=8), min_size=1, max_size=5)
a_few_examples = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@contextmanager
def books(conninfo: str) -> Iterator[Callable[[list[Command]], None]]:
    """An empty ledger with one flow; what is yielded has commands decided in it."""
    with psycopg.connect(conninfo) as connection:
        connection.execute(statements.clear([table.name for table in TABLES]))
        connection.execute(statements.NEW_IDENTITY)
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=Clock()) as ledger:

        def execute(batch: list[Command]) -> None:
            ledger.execute(lambda: batch)

        execute([CreateFlow(caller=CALLER, id=FLOWS[0], name="f", tags=[], labels={})])
        yield execute


def some_runs(number: int) -> list[Command]:
    return [create_flow_run(FLOWS[0], state=proposed("RUNNING"), tags=["t"]) for _ in range(number)]


def rows(conninfo: str) -> object:
    with psycopg.connect(conninfo) as connection:
        return live_rows(connection)


def left_behind(conninfo: str) -> list[object]:
    with psycopg.connect(conninfo) as connection:
        return connection.execute(LEFT_BEHIND, [PREFIX]).fetchall()


@a_few_examples
@given(before=batches)
def test_whatever_was_asked_a_rebuild_makes_the_same_rows(conninfo: str, before: list[list[Command]]) -> None:
    with books(conninfo) as execute:
        for batch in before:
            execute(batch)
        written = rows(conninfo)
        rebuilt = rebuild(conninfo, Plan(jobs=1, verify=True))
        assert rebuilt.differences == []
        assert rows(conninfo) == written
        check_counts(conninfo)
        assert left_behind(conninfo) == []


def test_nobody_vacuums_tables_until_they_are_used(conninfo: str) -> None:
    seen: dict[str, set[str]] = {}

    def look(step: str, done: int, total: int) -> None:
        with psycopg.connect(conninfo) as connection:
            seen[step] = {schema for (schema,) in connection.execute(NOT_VACUUMED)}

    with books(conninfo) as execute:
        execute(some_runs(3))
        rebuild(conninfo, Plan(jobs=1, verify=True), look)
    assert all(schema.startswith(PREFIX) for schemas in seen.values() for schema in schemas)
    assert seen["Making indexes"] and seen["Comparing tables"]
    look("afterwards", 0, 0)
    assert seen["afterwards"] == set()


@a_few_examples
@given(before=batches, meanwhile=batches, after=batches, points=st.sets(st.integers(0, 120), min_size=1))
def test_what_is_asked_while_tables_are_rebuilt_is_in_them_afterwards(
    conninfo: str,
    before: list[list[Command]],
    meanwhile: list[list[Command]],
    after: list[list[Command]],
    points: set[int],
) -> None:
    with books(conninfo) as execute:
        for batch in before:
            execute(batch)
        waiting, reports = list(meanwhile), iter(range(1000))

        def report(step: str, done: int, total: int) -> None:
            if next(reports) in points and waiting:
                execute(waiting.pop())

        rebuild(conninfo, Plan(jobs=1), report)
        for batch in after:
            execute(batch)
    check_ledger(conninfo)


def test_much_that_happens_meanwhile_is_carried_over_in_parts(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catching_up, "EVENTS_AT_ONCE", 7)
    monkeypatch.setattr(catching_up, "AGGREGATES_KEPT", 5)
    monkeypatch.setattr("projections.rebuild.rebuilding.EVENTS_AT_ONCE", 7)
    with books(conninfo) as execute:
        waiting = [some_runs(30)]

        def report(step: str, done: int, total: int) -> None:
            if waiting:
                execute(waiting.pop())

        rebuilt = rebuild(conninfo, Plan(jobs=1), report)
        assert rebuilt.caught_up == 60
        assert rebuilt.locked_seconds is not None
    check_ledger(conninfo)


def test_several_processes_fold_parts_of_the_ledger(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment, "EVENTS_PER_RANGE", 10)
    with books(conninfo) as execute:
        execute(some_runs(100))
        written = rows(conninfo)
        folded: list[int] = []
        rebuilt = rebuild(
            conninfo,
            Plan(jobs=2, verify=True),
            lambda step, done, total: folded.append(done) if step == "Folding events" else None,
        )
        assert rebuilt.differences == []
        assert folded == sorted(folded)
        assert len(folded) > 10
        assert (folded[0], folded[-1]) == (0, 201)
        assert rows(conninfo) == written
    check_ledger(conninfo)


@dataclass(frozen=True)
class SayWho:
    """A task that says which process does it."""

    def __call__(self, tools: Tools) -> int:
        return os.getpid()


def test_as_few_processes_as_wanted_do_the_tasks(conninfo: str) -> None:
    with moment.moment(conninfo) as now, Workers(2, conninfo, now.snapshot) as workers:
        assert len(set(workers.results([SayWho()] * 8, at_once=workers.half))) == 1
        assert len(set(workers.results([SayWho()] * 2))) == 2


def test_streams_of_which_no_row_is_wanted_or_left_do_not_hide_those_behind_them(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "STREAMS_AT_ONCE", 1)
    with books(conninfo) as execute:
        created = some_runs(6)
        execute(created)
        gone = [command.id for command in created[:3]]  # type: ignore[attr-defined]
        execute([DeleteFlowRun(caller=CALLER, id=id) for id in gone])
        execute([CreateFlow(caller=CALLER, id=new_id(), name="a later flow", tags=[], labels={})])
        written = rows(conninfo)
        for only in (frozenset({"flows"}), frozenset({"flow_runs", "run_counts"}), None):
            rebuild(conninfo, Plan(jobs=1, only=only))
            assert rows(conninfo) == written
    check_ledger(conninfo)


def test_tables_of_a_part_of_the_events_are_not_put_to_use(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with books(conninfo) as execute:
        execute(some_runs(3))
    written = rows(conninfo)
    monkeypatch.setattr(moment, "_ranges", lambda connection, events: [(UUID(int=3), None)])
    with pytest.raises(WorkerFailed, match="6 of 7 events"):
        rebuild(conninfo, Plan(jobs=1))
    assert rows(conninfo) == written


def test_rows_that_are_not_what_the_events_make_are_found_and_replaced(conninfo: str) -> None:
    with books(conninfo) as execute:
        execute(some_runs(3))
    with psycopg.connect(conninfo) as connection:
        ids = [id for (id,) in connection.execute("SELECT id FROM read.flow_runs ORDER BY id")]
        connection.execute("UPDATE read.flow_runs SET name = name || 'x' WHERE id = %s", [ids[0]])
        connection.execute("DELETE FROM read.flow_run_documents WHERE id = %s", [ids[1]])
        connection.execute(
            "INSERT INTO read.flow_run_documents SELECT %s, doc FROM read.flow_run_documents LIMIT 1", [UUID(int=9)]
        )
        connection.execute("UPDATE read.run_counts SET runs = runs + 1 WHERE (kind, dimension) = ('flow_run', 'flow')")
    found = rebuild(conninfo, Plan(jobs=1, verify=True)).differences
    assert found is not None
    assert {(one.table, one.kind, one.key.split(" ")[0]) for one in found} == {
        ("flow_runs", "different", str(ids[0])),
        ("flow_run_documents", "missing", str(ids[1])),
        ("flow_run_documents", "unexpected", str(UUID(int=9))),
        ("run_counts", "different", "flow_run"),
    }
    check_ledger(conninfo)


def test_differences_are_those_of_the_snapshot_that_is_asked_about(conninfo: str) -> None:
    with books(conninfo) as execute, psycopg.connect(conninfo) as connection:
        execute(some_runs(3))
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        (snapshot,) = connection.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
        execute(some_runs(3))
        assert differences(conninfo, snapshot, 1) == []
        assert left_behind(conninfo) == []


def test_without_a_swap_the_tables_in_use_stay_as_they_are(conninfo: str) -> None:
    with books(conninfo) as execute:
        execute(some_runs(3))
    with psycopg.connect(conninfo) as connection:
        connection.execute("DELETE FROM read.flow_runs")
    rebuilt = rebuild(conninfo, Plan(jobs=1, verify=True, swap=False))
    assert len(rebuilt.differences or ()) == 3
    assert rebuilt.locked_seconds is None
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("SELECT count(*) FROM read.flow_runs").fetchone() == (0,)
    assert left_behind(conninfo) == []


@pytest.mark.parametrize("table", sorted(ALL))
def test_one_table_is_rebuilt_alone(conninfo: str, table: str) -> None:
    with books(conninfo) as execute:
        execute(some_runs(3))
        with psycopg.connect(conninfo) as connection:
            connection.execute(psycopg.sql.SQL("DELETE FROM read.{}").format(psycopg.sql.Identifier(table)))
            (others,) = connection.execute("SELECT 'read.flows'::regclass::oid").fetchone() or (0,)
        rebuild(conninfo, Plan(jobs=1, only=frozenset({table})))
        with psycopg.connect(conninfo) as connection:
            now = connection.execute("SELECT 'read.flows'::regclass::oid").fetchone()
            assert (now == (others,)) == (table != "flows")
        execute(some_runs(2))
    check_ledger(conninfo)


def test_a_table_that_somebody_reads_from_all_the_time_is_not_replaced(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swapping, "ATTEMPTS", 2)
    monkeypatch.setattr(swapping, "PATIENCE_MILLISECONDS", 1)
    monkeypatch.setattr(swapping, "PAUSE_SECONDS", 0)
    with books(conninfo) as execute:
        waiting = [some_runs(2)]
        with psycopg.connect(conninfo) as reader:
            reader.execute("SELECT count(*) FROM read.flows")
            with pytest.raises(swapping.TablesInUse, match="flows"):
                rebuild(
                    conninfo, Plan(jobs=1, only=frozenset({"flows"})), lambda *_: waiting and execute(waiting.pop())
                )
        assert left_behind(conninfo) == []
        execute(some_runs(2))
    check_ledger(conninfo)


def test_only_one_rebuilds_at_a_time(conninfo: str) -> None:
    def report(step: str, done: int, total: int) -> None:
        with pytest.raises(Busy):
            rebuild(conninfo, Plan(jobs=1))

    with books(conninfo):
        rebuild(conninfo, Plan(jobs=1), report)


def test_tables_stay_where_they_are_while_somebody_looks_at_them(conninfo: str) -> None:
    with books(conninfo) as execute, psycopg.connect(conninfo) as connection:
        execute(some_runs(3))
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        (snapshot,) = connection.execute("SELECT pg_export_snapshot()").fetchone() or ("",)

        def report(step: str, done: int, total: int) -> None:
            with pytest.raises(Busy):
                rebuild(conninfo, Plan(jobs=1))
            if step == "Comparing tables" and done == 0:
                assert differences(conninfo, snapshot, 1) == []

        def report_other(step: str, done: int, total: int) -> None:
            with pytest.raises(Busy):
                differences(conninfo, snapshot, 1)

        assert differences(conninfo, snapshot, 1, report) == []
        rebuild(conninfo, Plan(jobs=1), report_other)
        with pytest.raises(TablesReplaced):
            differences(conninfo, snapshot, 1)


@pytest.mark.parametrize("only", [None, "flow_runs", "run_counts"])
def test_rebuilt_tables_have_the_indexes_they_had(conninfo: str, only: str | None) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        indexes = connection.execute(INDEXES).fetchall()
        with books(conninfo) as execute:
            execute(some_runs(3))
        rebuild(conninfo, Plan(jobs=2, only=frozenset({only}) if only else None))
        assert connection.execute(INDEXES).fetchall() == indexes


def test_the_ledger_is_let_go_of_before_the_session_ends(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with books(conninfo) as execute, psycopg.connect(conninfo, autocommit=True) as session:
        execute(some_runs(1))
        monkeypatch.setattr(rebuilding, "_connect", lambda conninfo: nullcontext(session))
        rebuild(conninfo, Plan(jobs=1))
        with psycopg.connect(conninfo) as connection:
            (snapshot,) = connection.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
            differences(conninfo, snapshot, 1)
            connection.execute("UPDATE read.shape SET id = 'another'")
        for wanted in (Plan(jobs=1, verify=True), Plan(jobs=1, only=frozenset({"flows"}))):
            with pytest.raises(OtherShape):
                rebuild(conninfo, wanted)
        ensure_shape(conninfo, 1)
        with psycopg.connect(conninfo, autocommit=True) as other, alone(other):
            pass


def test_an_event_that_cannot_be_read_ends_a_rebuild_and_changes_nothing(conninfo: str) -> None:
    with books(conninfo) as execute:
        execute(some_runs(3))
    written = rows(conninfo)
    with psycopg.connect(conninfo) as connection:
        connection.execute("UPDATE ledger.events SET topic = 'FlowRun.Vanished' WHERE position = 3")
    for jobs in (1, 2):
        with pytest.raises(WorkerFailed, match=r"FlowRun\.Vanished"):
            rebuild(conninfo, Plan(jobs))
    assert rows(conninfo) == written
    assert left_behind(conninfo) == []


def test_tables_of_another_shape_are_rebuilt_as_a_whole_and_no_other_way(conninfo: str) -> None:
    with books(conninfo) as execute:
        execute(some_runs(3))
        written = rows(conninfo)
        assert ensure_shape(conninfo, 1) is None
        with psycopg.connect(conninfo) as connection:
            connection.execute("ALTER TABLE read.flow_runs RENAME COLUMN name TO called")
            connection.execute("UPDATE read.shape SET id = 'another'")
            (snapshot,) = connection.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
        for plan in (Plan(jobs=1, verify=True), Plan(jobs=1, only=frozenset({"flows"}))):
            with pytest.raises(OtherShape):
                rebuild(conninfo, plan)
        with pytest.raises(OtherShape):
            differences(conninfo, snapshot, 1)
        rebuilt = ensure_shape(conninfo, 1)
        assert rebuilt is not None
        assert rebuilt.locked_seconds is not None
        assert rows(conninfo) == written
        with psycopg.connect(conninfo) as connection:
            assert connection.execute("SELECT id FROM read.shape").fetchone() == (shape(),)
        execute(some_runs(2))
    check_ledger(conninfo)


def test_deleted_runs_and_changed_states_are_carried_over(conninfo: str) -> None:
    with books(conninfo) as execute:
        created = some_runs(2)
        execute(created)
        ids = [command.id for command in created]  # type: ignore[attr-defined]
        ended = SetFlowRunState(caller=CALLER, id=ids[0], state=proposed("COMPLETED"), force=False)
        waiting: list[list[Command]] = [[ended, DeleteFlowRun(caller=CALLER, id=ids[1])]]
        rebuild(conninfo, Plan(jobs=1), lambda *_: execute(waiting.pop()) if waiting else None)
    check_ledger(conninfo)
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("SELECT state_type FROM read.flow_runs").fetchall() == [("COMPLETED",)]
