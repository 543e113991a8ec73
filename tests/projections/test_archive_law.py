"""Whatever happens between archives and what is restored: rows, keys, seals and leaves are what the events make."""

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.commands.command import Command
from domain.commands.flow_runs import SetFlowRunState
from domain.commands.flows import CreateFlow
from domain.commands.task_runs import SetTaskRunState
from domain.ledger import Ledger
from projections import statements
from projections.archive.archiving import Archiver
from projections.archive.restoring import Restorer
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from projections.tables import TABLES
from projections.verify.verification import INSPECTIONS, verify
from tests.checks import check_ledger
from tests.domain.conftest import CALLER, Clock, proposed
from tests.projections.test_projection_law import (
    FLOWS,
    _new_flow_run,
    _new_task_run,
    asked,
    commands,
    runs,
    tags,
    tasks,
)

Step = list[Command] | Literal["archive", "restore"]

ended = st.sampled_from(["COMPLETED", "FAILED", "CANCELLED", "CRASHED"])
lives = st.one_of(
    st.builds(_new_flow_run, runs, st.none() | tasks, ended, tags, st.just(0), st.none() | st.just("k")),
    st.builds(_new_task_run, tasks, st.none() | runs, ended, tags),
    asked(SetFlowRunState, id=runs, state=ended.map(proposed), force=st.just(True)),
    asked(SetTaskRunState, id=tasks, state=ended.map(proposed), force=st.just(True)),
)
"""Runs that end, so that there is something to archive."""

# One of several that are each one of many would be one of all of those, and nearly no run would end.
either = st.booleans().flatmap(lambda ends: lives if ends else commands)
batches = st.lists(either, min_size=1, max_size=8)
moves: st.SearchStrategy[Step] = st.sampled_from(["archive", "restore"])
steps = st.lists(st.booleans().flatmap(lambda moved: moves if moved else batches), min_size=1, max_size=8)


@pytest.mark.timeout(300)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_archives_leave_a_ledger_that_is_what_its_events_make(conninfo: str, steps: list[Step]) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(statements.clear([table.name for table in TABLES]))
        connection.execute(statements.NEW_IDENTITY)
    clock = Clock()
    archived: list[Path] = []
    with (
        tempfile.TemporaryDirectory() as directory,
        Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=clock) as ledger,
    ):
        for step in [[CreateFlow(caller=CALLER, id=FLOWS[0], name="f", tags=[], labels={})], *steps, "archive"]:
            if step == "archive":
                # All that has ended by now.
                archiver = Archiver(conninfo, "a test", clock)
                archived += [one.directory for one in archiver.archive(clock() + timedelta(days=1), Path(directory))]
            elif step == "restore":
                for path in archived:
                    Restorer(conninfo, "a test", clock).restore(path)
            else:
                ledger.execute(lambda batch=step: batch)
            clock.move(seconds=1)
            check_ledger(conninfo)
    report = verify(conninfo, jobs=1, inspections=[one for one in INSPECTIONS if one.checks[0].name != "tables"])
    assert report.number == 0
