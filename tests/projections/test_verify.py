"""Whatever is changed in a ledger behind the back of the service is found, and named by position."""

import subprocess
import sys
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.commands.command import Command
from domain.commands.flow_runs import DeleteFlowRun
from domain.commands.flows import CreateFlow
from domain.ids import new_id
from domain.ledger import Ledger
from projections import statements
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from projections.seals import GENESIS, OF_EVENTS, OF_LEAVES, Digest
from projections.tables import TABLES
from projections.verify import log, streams
from projections.verify.expected import Expected
from projections.verify.verification import INSPECTIONS, Report, verify
from tests.domain.conftest import CALLER, Clock, Desk, create_flow_run, proposed
from tests.projections.test_projection_law import FLOWS, commands
from tests.support.server_process import REPOSITORY, is_alive, wait_until

FLIP = "UPDATE ledger.events SET state = replace(state, 'a test', 'b test') WHERE position = %s"


@pytest.fixture
def books(conninfo: str, desk: Desk, clock: Clock) -> str:
    """A ledger of 12 events in 7 transactions.

    1 the flow; 2-3 a run is made and 4, 5 goes on; 6-9 two runs are made in one transaction; 10, 11 the first of them
    goes on; 12 the flow gets a sibling.
    """
    run = desk.flow_run()
    for state in ("RUNNING", "COMPLETED"):
        clock.move(seconds=1)
        desk.propose("flow", run, proposed(state))
    clock.move(seconds=1)
    two = [create_flow_run(desk.flow_id, idempotency_key=key) for key in "kl"]
    desk.ledger.execute(lambda: two)
    for state in ("RUNNING", "COMPLETED"):
        clock.move(seconds=1)
        desk.propose("flow", two[0].id, proposed(state))
    clock.move(seconds=1)
    desk.flow("another-flow")
    return conninfo


def tamper(conninfo: str, *changes: Any) -> None:
    """Change a ledger as no command would; each change is a statement and its values."""
    with psycopg.connect(conninfo) as connection:
        for change in changes:
            statement, *values = (change,) if isinstance(change, str) else change
            connection.execute(statement, values)


LOG_AND_STREAMS = INSPECTIONS[:2]
"""What looks at events and keys: whether rows are right is another question, to which there are tests of their own."""


def look(conninfo: str, expect: Expected | None = None) -> Report:
    """What verifying finds, whether it looks at the ledger as one or in parts so small that all lies at a border."""
    reports = []
    for rows in (1, 3, 20_000):
        with pytest.MonkeyPatch.context() as patch:
            for module in (log, streams):
                patch.setattr(module, "ROWS_PER_PART", rows)
            reports.append(verify(conninfo, jobs=1, expected=expect, inspections=LOG_AND_STREAMS))
    assert reports[0].as_data() == reports[1].as_data() == reports[2].as_data()
    return reports[0]


def found(report: Report) -> dict[str, list[str]]:
    """The sentences of each check that found something."""
    sentences = {one.check.name: [finding.sentence for finding in one.found.findings] for one in report.checked}
    assert report.number == sum(map(len, sentences.values()))
    return {name: those for name, those in sentences.items() if those}


def places(report: Report) -> dict[str, list[tuple[int | None, int | None]]]:
    """The positions that each check names."""
    return {
        one.check.name: [(finding.first, finding.last) for finding in one.found.findings]
        for one in report.checked
        if one.found.number
    }


def head(conninfo: str) -> Expected:
    head = look(conninfo).head
    return Expected(head.hash, head.position)


def test_a_ledger_that_nobody_touched_is_clean(books: str) -> None:
    report = look(books)
    assert found(report) == {}
    looked_at = {one.check.name: one.found.looked_at for one in report.checked}
    assert looked_at["positions"] == looked_at["events"] == 12
    assert (looked_at["versions"], looked_at["seals"], looked_at["keys"]) == (5, 8, 4)
    assert report.as_data()["clean"]


def test_an_empty_ledger_is_clean_and_stands_at_the_beginning(conninfo: str) -> None:
    report = look(conninfo, Expected(GENESIS, 0))
    assert found(report) == {}
    assert (report.head.position, report.head.hash, report.grown_by) == (0, GENESIS, 0)


@pytest.mark.parametrize("position", [1, 4, 10])
def test_one_byte_of_an_event_that_was_sealed_alone_is_named_exactly(books: str, position: int) -> None:
    tamper(books, (FLIP, position))
    report = look(books)
    assert places(report) == {"seals": [(position, position)]}
    (sentence,) = found(report)["seals"]
    assert f"The event at position {position} (" in sentence
    assert sentence.endswith("was changed.")


def test_one_byte_of_the_last_event_may_as_well_be_one_of_its_seal(books: str) -> None:
    tamper(books, (FLIP, 12))
    (sentence,) = found(look(books))["seals"]
    assert "The event at position 12 (Flow.Created" in sentence
    assert sentence.endswith("was changed (or the hash of the seal was).")


def test_one_byte_among_events_that_were_sealed_together_is_named_by_their_positions(books: str) -> None:
    tamper(books, (FLIP, 7))
    report = look(books)
    assert places(report) == {"seals": [(6, 9)]}
    assert "positions 6 to 9" in found(report)["seals"][0]


def test_what_other_checks_find_narrows_a_broken_seal_down(books: str) -> None:
    tamper(books, "UPDATE ledger.events SET state = '{}' WHERE position = 7")
    report = look(books)
    assert places(report) == {"seals": [(6, 9)], "events": [(7, 7)]}
    assert found(report)["seals"][0].endswith("other checks speak of position 7.")


def test_an_event_that_is_missing_among_those_sealed_with_it_is_named(books: str) -> None:
    tamper(books, "DELETE FROM ledger.events WHERE position = 7")
    assert found(look(books))["seals"] == [
        "Of the events at positions 6 to 9, which were sealed together, some are missing: 7."
    ]


def test_a_key_that_is_not_as_it_should_be_tells_where_to_look_in_a_broken_seal(books: str) -> None:
    tamper(books, "UPDATE ledger.events SET state = replace(state, '\"k\"', '\"m\"') WHERE position = 6")
    report = look(books)
    assert places(report) == {"seals": [(6, 9)], "keys": [(None, None), (None, None)]}
    assert found(report)["seals"][0].endswith("other checks speak of position 6, position 7.")


def test_every_broken_seal_is_found_not_only_the_first(books: str) -> None:
    tamper(books, (FLIP, 1), (FLIP, 5), (FLIP, 11))
    assert places(look(books)) == {"seals": [(1, 1), (5, 5), (11, 11)]}


def test_an_event_that_was_removed_leaves_a_gap(books: str) -> None:
    tamper(books, "DELETE FROM ledger.events WHERE position = 4")
    report = look(books)
    assert places(report) == {"positions": [(4, 4)], "seals": [(4, 4)], "versions": [(5, 5)]}
    assert "no version 3" in found(report)["versions"][0]


def test_a_transaction_that_was_removed_from_the_middle_leaves_a_gap_in_the_chain(books: str) -> None:
    tamper(books, "DELETE FROM ledger.events WHERE position = 4", "DELETE FROM ledger.seals WHERE last_position = 4")
    report = look(books)
    assert places(report) == {"positions": [(4, 4)], "seals": [(4, 5)], "versions": [(5, 5)]}
    assert found(report)["seals"][0].startswith("No seal covers position 4")


def test_an_event_that_was_added_at_the_end_is_covered_by_no_seal(books: str) -> None:
    tamper(
        books,
        (
            "INSERT INTO ledger.events SELECT 13, %s, 1, topic, replace(state, 'another', 'a-third')"
            " FROM ledger.events WHERE position = 12",
            new_id(),
        ),
    )
    report = look(books)
    assert places(report) == {"seals": [(13, 13)], "keys": [(None, None)]}


def test_an_event_that_was_added_in_between_breaks_the_seal_that_covers_it(books: str) -> None:
    """Whoever adds it moves all that comes after it, seals included."""
    tamper(
        books,
        "UPDATE ledger.events SET position = -1 - position WHERE position > 3",
        "UPDATE ledger.events SET position = -position WHERE position < 0",
        "UPDATE ledger.seals SET last_position = -1 - last_position WHERE last_position > 3",
        "UPDATE ledger.seals SET last_position = -last_position WHERE last_position < 0",
        "UPDATE ledger.seals SET first_position = first_position + 1 WHERE last_position > 5",
        (
            "INSERT INTO ledger.events SELECT 4, %s, 1, topic, replace(state, 'another', 'a-third')"
            " FROM ledger.events WHERE topic = 'Flow.Created' AND position > 3",
            new_id(),
        ),
    )
    assert places(look(books))["seals"] == [(4, 5)]


def test_events_that_changed_places_break_both_seals_and_the_order_of_their_stream(books: str) -> None:
    tamper(
        books,
        "UPDATE ledger.events SET position = -5 WHERE position = 4",
        "UPDATE ledger.events SET position = 4 WHERE position = 5",
        "UPDATE ledger.events SET position = 5 WHERE position = -5",
    )
    report = look(books)
    assert places(report) == {"seals": [(4, 4), (5, 5)], "versions": [(4, 5)], "times": [(4, 4)]}


def test_a_time_that_was_changed_is_found_twice(books: str) -> None:
    tamper(books, "UPDATE ledger.events SET state = replace(state, ':00:03', ':00:00') WHERE position = 7")
    assert places(look(books)) == {"seals": [(6, 9)], "times": [(7, 7)]}
    tamper(books, "UPDATE ledger.seals SET recorded_at = recorded_at - interval '1 hour' WHERE last_position = 5")
    assert places(look(books))["times"] == [(5, 5), (7, 7)]


def test_a_seal_whose_hash_was_changed_is_told_from_events_that_were(books: str) -> None:
    tamper(books, ("UPDATE ledger.seals SET hash = %s WHERE last_position = 4", bytes(range(32))))
    report = look(books)
    assert places(report) == {"seals": [(4, 4)]}
    assert found(report)["seals"] == [
        "The hash of the seal over position 4 was changed; the events are as they were sealed."
    ]


@pytest.mark.parametrize(("first", "said"), [(4, "begins at position 4"), (6, "begins at position 6")])
def test_a_seal_that_says_it_begins_elsewhere_is_named(books: str, first: int, said: str) -> None:
    tamper(books, ("UPDATE ledger.seals SET first_position = %s WHERE last_position = 5", first))
    (sentence,) = found(look(books))["seals"]
    assert sentence == f"The seal over position 5 says that it {said}."


def test_a_seal_that_was_removed_is_named_by_what_it_covered(books: str) -> None:
    tamper(books, "DELETE FROM ledger.seals WHERE last_position = 9")
    report = look(books)
    assert places(report) == {"seals": [(6, 10)]}
    assert found(report)["seals"][0].startswith("No seal covers positions 6 to 9")


def test_the_removal_of_the_last_transaction_is_found_by_a_head_noted_down_before(books: str) -> None:
    noted = head(books)
    tamper(
        books,
        "DELETE FROM ledger.events WHERE position = 12",
        "DELETE FROM ledger.seals WHERE last_position = 12",
        "DELETE FROM ledger.keys WHERE key = 'another-flow'",
    )
    assert found(look(books)) == {}
    (sentence,) = found(look(books, noted))["expected head"]
    assert sentence.startswith("The seals end at position 11, but reached 12")
    assert "No seal has the expected hash" in found(look(books, Expected(noted.hash)))["expected head"][0]


def test_a_ledger_that_has_grown_since_its_head_was_noted_down_is_clean(books: str, desk: Desk) -> None:
    noted = head(books)
    desk.flow_run()
    for expected in (noted, Expected(noted.hash)):
        report = look(books, expected)
        assert (found(report), report.grown_by) == ({}, 2)
    wrong = Expected(noted.hash, 11)
    assert "position 12, not of 11" in found(look(books, wrong))["expected head"][0]


def test_a_ledger_that_was_sealed_anew_lacks_the_head_that_was_noted_down(books: str) -> None:
    noted = head(books)
    tamper(books, ("UPDATE ledger.seals SET hash = %s WHERE last_position = 12", bytes(range(32))))
    assert found(look(books, noted))["expected head"][0].startswith("No seal at position 12")


@pytest.mark.parametrize("text", ["", "12", "12:", "zz" * 32, "-1:" + "00" * 32, "00" * 31])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no head"):
        Expected.parse(text)
    assert Expected.parse("12:" + "0A" * 32) == Expected(b"\n" * 32, 12)


def test_a_key_that_was_removed_is_named_with_the_one_who_holds_it(books: str) -> None:
    tamper(books, "DELETE FROM ledger.keys WHERE key = 'another-flow'")
    (sentence,) = found(look(books))["keys"]
    assert sentence.startswith("The key flow_name 'another-flow' is that of flow ")
    assert sentence.endswith("and is not claimed.")


def test_a_key_that_was_added_is_named(books: str, desk: Desk) -> None:
    nobody = UUID(int=2**128 - 1)
    tamper(
        books,
        ("INSERT INTO ledger.keys VALUES ('flow_name', 'mine', %s)", desk.flow_id),
        ("INSERT INTO ledger.keys VALUES ('flow_name', 'ours', %s)", nobody),
        ("INSERT INTO ledger.keys VALUES ('flow_name', 'yours', %s)", UUID(int=0)),
    )
    none, mine, ours = sorted(found(look(books))["keys"])
    assert none == f"The key flow_name 'mine' stands for flow {desk.flow_id}, which does not hold it."
    assert mine == f"The key flow_name 'ours' stands for {nobody}, of which there is no event."
    assert ours == f"The key flow_name 'yours' stands for {UUID(int=0)}, of which there is no event."


def test_a_key_that_stands_for_another_is_named_once_with_both(books: str, desk: Desk) -> None:
    tamper(books, ("UPDATE ledger.keys SET id = %s WHERE key = 'another-flow'", desk.flow_id))
    (sentence,) = found(look(books))["keys"]
    assert sentence.endswith(f"and stands for {desk.flow_id} instead.")


def test_a_key_of_something_deleted_is_named(books: str, desk: Desk) -> None:
    run = desk.flow_run(idempotency_key="m")
    desk.ask(DeleteFlowRun(caller=CALLER, id=run))
    assert found(look(books)) == {}
    tamper(books, ("INSERT INTO ledger.keys VALUES ('flow_run_idempotency', 'm', %s)", run))
    assert found(look(books))["keys"][0].endswith("which was deleted.")


def test_a_topic_or_a_version_that_nobody_knows_is_named(books: str) -> None:
    tamper(
        books,
        "UPDATE ledger.events SET topic = 'Flow.Vanished' WHERE position = 1",
        "UPDATE ledger.events SET state = '{\"class_version\":7,' || substr(state, 2) WHERE position = 4",
    )
    report = look(books)
    assert places(report) == {"seals": [(1, 1), (4, 4)], "events": [(1, 1), (4, 4)]}
    assert "the topic Flow.Vanished, which is not known" in found(report)["events"][0]
    assert "the topic FlowRun.StateSet in version 7" in found(report)["events"][1]


def test_an_event_that_is_no_json_any_more_is_named(books: str) -> None:
    tamper(books, "UPDATE ledger.events SET state = substr(state, 1, 40) WHERE position = 4")
    assert places(look(books)) == {"seals": [(4, 4)], "events": [(4, 4)]}


@pytest.mark.parametrize(
    ("topic", "said"),
    [("FlowRun.Created", "can only be the first"), ("TaskRun.Deleted", "cannot be folded: Flow run cannot fold")],
)
def test_an_event_that_cannot_follow_is_named(books: str, topic: str, said: str) -> None:
    tamper(
        books,
        (
            "INSERT INTO ledger.events SELECT 13, originator_id, 3, %s, (SELECT state FROM ledger.events"
            " WHERE position = 2) FROM ledger.events WHERE position = 9",
            topic,
        ),
    )
    assert said in found(look(books))["folds"][0]


def test_an_event_after_a_deletion_is_named(books: str, desk: Desk) -> None:
    run = desk.flow_run()
    desk.ask(DeleteFlowRun(caller=CALLER, id=run))
    tamper(
        books,
        ("INSERT INTO ledger.events SELECT 16, %s, 4, topic, state FROM ledger.events WHERE position = 4", run),
    )
    assert "comes after the deletion" in found(look(books))["folds"][0]


def test_a_stream_whose_beginning_is_gone_is_named(books: str) -> None:
    tamper(
        books,
        "DELETE FROM ledger.events WHERE position = 8",
        "UPDATE ledger.events SET originator_version = 1 WHERE position = 9",
    )
    report = look(books)
    assert "position 9 (FlowRun.StateSet), version 1" in found(report)["folds"][0]
    assert places(report)["positions"] == [(8, 8)]


def test_only_so_many_findings_are_kept_and_all_are_counted(
    books: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.verify.findings.MOST_KEPT", 3)
    add = "INSERT INTO ledger.keys SELECT 'flow_name', 'n' || n, %s FROM generate_series(1, 50) AS n"
    tamper(books, (add, desk.flow_id))
    keys = next(one.found for one in look(books).checked if one.check.name == "keys")
    assert (keys.number, len(keys.findings)) == (50, 3)


def test_several_processes_find_what_one_finds_and_tell_how_far_they_are(books: str) -> None:
    tamper(books, (FLIP, 7), "DELETE FROM ledger.keys WHERE key = 'another-flow'")
    told: list[tuple[int, int]] = []
    report = verify(books, jobs=2, progress=lambda done, total: told.append((done, total)))
    assert found(report) == found(look(books))
    assert (told[0], told[-1]) == ((0, 48), (48, 48))
    assert told == sorted(told)


def test_what_is_written_meanwhile_is_not_seen(books: str, desk: Desk) -> None:
    def write(done: int, total: int) -> None:
        desk.flow_run(idempotency_key=new_id().hex)

    report = verify(books, jobs=2, progress=write)
    assert (found(report), report.head.position) == ({}, 12)
    assert found(look(books)) == {}


def test_rows_that_are_not_what_the_events_make_are_found_both_ways(books: str) -> None:
    tamper(
        books,
        "DELETE FROM read.flows WHERE name = 'another-flow'",
        ("INSERT INTO read.flow_run_documents VALUES (%s, '{}')", UUID(int=7)),
        "UPDATE read.flow_run_states SET doc = doc || ' ' WHERE version = 3",
        "UPDATE read.run_counts SET runs = runs + 1 WHERE (dimension, state_name) = ('all', 'Running')",
    )
    sentences = sorted(found(verify(books, jobs=1))["tables"])
    assert [sentence.rpartition("read.")[2] for sentence in sentences if "run_counts" not in sentence] == [
        "flow_run_documents is there, though no event makes it.",
        "flow_run_states is not what the events make of it.",
        "flow_run_states is not what the events make of it.",
        "flows is missing.",
    ]
    assert any("read.run_counts" in sentence for sentence in sentences)


def test_tables_of_another_version_are_a_finding(books: str) -> None:
    tamper(books, "UPDATE read.shape SET id = 'another'")
    assert "another version" in found(verify(books, jobs=1))["tables"][0]


HOLDING = """
import os, sys, time
from projections.verify.scene import scene
with scene(sys.argv[1], 2) as moment:
    print(moment.executor.submit(os.getpid).result(), flush=True)
    sys.stdin.read()
"""


def test_whoever_reads_for_a_process_that_was_killed_ends_too(conninfo: str) -> None:
    command = [sys.executable, "-c", HOLDING, conninfo]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        reader = int(process.stdout.readline())
        assert is_alive(reader)
        process.kill()
        wait_until(lambda: not is_alive(reader))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(commands, min_size=1, max_size=8), min_size=1, max_size=6))
def test_whatever_was_asked_of_a_ledger_it_is_clean(conninfo: str, batches: list[list[Command]]) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(statements.clear([table.name for table in TABLES]))
        connection.execute(statements.NEW_IDENTITY)
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=Clock()) as ledger:
        for batch in [[CreateFlow(caller=CALLER, id=FLOWS[0], name="f", tags=[], labels={})], *batches]:
            ledger.execute(lambda batch=batch: batch)
    assert found(look(conninfo)) == {}


def test_what_was_sealed_by_the_formula_of_before_still_verifies_and_is_found_when_changed(books: str) -> None:
    seal_as_before(books, until=9)
    assert look(books).number == 0
    tamper(books, (FLIP, 4))
    assert places(look(books)) == {"seals": [(4, 4)]}


def seal_as_before(conninfo: str, until: int) -> None:
    """Seal a ledger anew: by the formula of before up to a position, by that of today from there on."""
    with psycopg.connect(conninfo) as connection:
        hash = GENESIS
        for first, last in connection.execute("SELECT first_position, last_position FROM ledger.seals ORDER BY 2"):
            formula = OF_EVENTS if last <= until else OF_LEAVES
            digest = Digest(hash, formula)
            for id, version, topic, state in connection.execute(
                "SELECT originator_id::text, originator_version, topic, state FROM ledger.events"
                " WHERE position BETWEEN %s AND %s ORDER BY position",
                [first, last],
            ):
                digest.cover(id.encode(), version, topic.encode(), state.encode())
            hash = digest.hash()
            connection.execute(
                "UPDATE ledger.seals SET hash = %s, formula = %s WHERE last_position = %s", [hash, formula, last]
            )
