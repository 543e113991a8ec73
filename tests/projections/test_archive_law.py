"""Whatever happens between archives and what is restored: rows, keys, seals and leaves are what the events make."""

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Literal

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.commands.command import Command
from domain.commands.flows import CreateFlow
from domain.ledger import Ledger
from projections import statements
from projections.archive.archiving import Archiver
from projections.archive.restoring import Restorer
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from projections.tables import TABLES
from projections.verify.verification import INSPECTIONS, verify
from tests.checks import check_ledger
from tests.domain.conftest import CALLER, Clock
from tests.projections.test_projection_law import FLOWS, commands

Step = list[Command] | Literal["archive", "restore"]

steps = st.lists(
    st.one_of(st.lists(commands, min_size=1, max_size=8), st.sampled_from(["archive", "restore"])), max_size=8
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
