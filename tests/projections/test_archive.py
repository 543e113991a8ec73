"""What goes into an archive, what is left of it, and that it comes back as it was."""

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from domain.commands.flow_runs import DeleteFlowRun, UpdateFlowRun
from domain.errors import NotFound
from domain.flow_run import FlowRunChanges
from domain.ledger import Ledger
from projections.archive import choosing, trees
from projections.archive.archiving import Archiver, Outcome, plan
from projections.archive.manifest import Damaged
from projections.archive.restoring import NotForThisLedger, Restorer
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from projections.verify.verification import verify
from tests.checks import check_ledger, live_rows
from tests.domain.conftest import CALLER, Clock, Desk, proposed

ACTOR = "an archivist"


@dataclass
class Store:
    """A ledger, a directory for its archives, and short ways to move things between them."""

    conninfo: str
    clock: Clock
    directory: Path

    def archive(self, **older_than: float) -> list[Outcome]:
        cutoff = self.clock() - timedelta(**older_than)
        return Archiver(self.conninfo, ACTOR, self.clock).archive(cutoff, self.directory)

    def restore(self, directory: Path) -> Any:
        return Restorer(self.conninfo, ACTOR, self.clock).restore(directory)

    def rows(self) -> Any:
        with psycopg.connect(self.conninfo) as connection:
            return live_rows(connection)

    def ask(self, query: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.conninfo) as connection:
            return connection.execute(query.encode(), values).fetchall()


@pytest.fixture
def store(conninfo: str, clock: Clock, tmp_path: Path) -> Store:
    return Store(conninfo, clock, tmp_path / "archives")


def tree(desk: Desk, **facts: Any) -> tuple[UUID, UUID, UUID]:
    """A flow run that ended, with a task run that stands for a subflow run."""
    run = desk.flow_run(**facts)
    desk.propose("flow", run, proposed("RUNNING"))
    task = desk.task_run(run)
    desk.propose("task", task, proposed("RUNNING"))
    child = desk.flow_run(parent_task_run_id=task)
    for state in ("RUNNING", "COMPLETED"):
        desk.propose("flow", child, proposed(state))
    desk.propose("task", task, proposed("COMPLETED"))
    desk.propose("flow", run, proposed("COMPLETED"))
    return run, task, child


def assert_clean(conninfo: str) -> None:
    check_ledger(conninfo)
    report = verify(conninfo, jobs=1)
    assert [finding.sentence for one in report.checked for finding in one.found.findings] == []


def test_a_run_goes_with_all_that_belongs_to_it_and_comes_back_as_it_was(
    desk: Desk, store: Store, clock: Clock
) -> None:
    ids = tree(desk, idempotency_key="k", tags=["t"])
    stays = desk.flow_run()
    before = store.rows()
    clock.move(days=10)
    [outcome] = store.archive(days=5)
    assert (outcome.moved.runs, outcome.moved.left) == (3, [])
    assert store.ask("SELECT topic, originator_version FROM ledger.events WHERE originator_id = ANY(%s)", list(ids))
    assert [row["id"] for row in store.rows()["flow_runs"]] == [str(stays)]
    assert store.rows()["task_runs"] == []
    assert_clean(store.conninfo)
    moved = store.restore(outcome.directory)
    assert (moved.runs, moved.left) == (3, [])
    assert store.rows() == before
    assert_clean(store.conninfo)


def test_nothing_goes_of_a_tree_that_has_not_ended_long_enough_ago_as_a_whole(
    desk: Desk, store: Store, clock: Clock
) -> None:
    _, _, child = tree(desk)
    running = desk.flow_run()
    desk.propose("flow", running, proposed("RUNNING"))
    done = desk.task_run(running)
    desk.propose("task", done, proposed("COMPLETED"))
    clock.move(days=10)
    desk.ask(UpdateFlowRun(caller=CALLER, id=child, changes=FlowRunChanges(name="lately")))
    clock.move(days=1)
    assert store.archive(days=5) == []
    assert not list(store.directory.iterdir())
    assert store.ask("SELECT count(*) FROM ledger.archives") == [(0,)]
    clock.move(days=10)
    [outcome] = store.archive(days=5)
    assert outcome.moved.runs == 3


def test_a_task_run_on_its_own_and_what_was_deleted_go_by_themselves(desk: Desk, store: Store, clock: Clock) -> None:
    alone = desk.task_run(None)
    desk.propose("task", alone, proposed("COMPLETED"))
    deleted = desk.flow_run()
    desk.ask(DeleteFlowRun(caller=CALLER, id=deleted))
    before = store.rows()
    clock.move(days=10)
    [outcome] = store.archive(days=5)
    assert outcome.chosen is not None
    assert (outcome.chosen.flow_runs, outcome.chosen.task_runs, outcome.moved.runs) == (1, 1, 2)
    assert store.rows()["flow_run_intervals"] == []
    assert_clean(store.conninfo)
    store.restore(outcome.directory)
    assert store.rows() == before
    assert_clean(store.conninfo)


def test_an_archived_run_takes_no_commands_and_its_keys_are_free(desk: Desk, store: Store, clock: Clock) -> None:
    run, task, _ = tree(desk, idempotency_key="k")
    clock.move(days=10)
    [outcome] = store.archive(days=5)
    with pytest.raises(NotFound):
        desk.propose("flow", run, proposed("RUNNING"))
    with pytest.raises(NotFound):
        desk.ask(DeleteFlowRun(caller=CALLER, id=run))
    other = desk.flow_run(idempotency_key="k")
    assert other != run
    moved = store.restore(outcome.directory)
    assert moved.runs == 0
    [left] = moved.left
    assert left.tree == run
    assert f"stands for {other} by now" in left.why
    assert_clean(store.conninfo)
    desk.ask(DeleteFlowRun(caller=CALLER, id=other))
    assert store.restore(outcome.directory).runs == 3
    assert_clean(store.conninfo)
    assert desk.propose("task", task, proposed("RUNNING")).status


def test_a_run_that_came_back_goes_again_later_and_comes_back_again(desk: Desk, store: Store, clock: Clock) -> None:
    tree(desk)
    before = store.rows()
    clock.move(days=10)
    first = store.archive(days=5)[0]
    store.restore(first.directory)
    assert store.archive(days=5) == []
    clock.move(days=10)
    [second] = store.archive(days=5)
    assert second.manifest.events == first.manifest.events + 6
    assert_clean(store.conninfo)
    assert store.restore(first.directory).runs == 0
    assert store.restore(second.directory).runs == 3
    assert store.rows() == before
    assert_clean(store.conninfo)


def test_large_trees_and_small_files_are_moved_in_pieces(
    desk: Desk, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "STREAMS_AT_ONCE", 2)
    monkeypatch.setattr(choosing, "EVENTS_PER_FILE", 20)
    for _ in range(4):
        tree(desk)
        clock.move(seconds=1)
    before = store.rows()
    clock.move(days=10)
    [outcome] = store.archive(days=5)
    assert len(outcome.manifest.files) > 1
    assert outcome.moved.runs == 12
    assert_clean(store.conninfo)
    assert store.restore(outcome.directory).runs == 12
    assert store.rows() == before


def test_what_would_go_is_told_without_doing_anything(desk: Desk, store: Store, clock: Clock) -> None:
    tree(desk)
    clock.move(days=10)
    before = store.rows()
    planned = plan(store.conninfo, clock.time - timedelta(days=5))
    assert (planned.chosen.flow_runs, planned.chosen.task_runs, planned.unfinished) == (2, 1, [])
    assert store.rows() == before
    assert not store.directory.exists()


def test_an_empty_ledger_is_filled_with_the_same_events_in_the_same_order(
    desk: Desk, store: Store, clock: Clock, second_conninfo: str, tmp_path: Path
) -> None:
    tree(desk, idempotency_key="k")
    clock.move(days=1)
    tree(desk)
    before = store.rows()
    clock.move(days=10)
    [outcome] = store.archive(days=5)
    other = Store(second_conninfo, clock, tmp_path / "others")
    assert other.restore(outcome.directory).runs == 6
    after = other.rows()
    assert {name: rows for name, rows in after.items() if name != "snapshots"} == {
        name: rows for name, rows in before.items() if name != "snapshots"
    }
    assert_clean(second_conninfo)
    assert other.restore(outcome.directory).events == 0
    assert store.restore(outcome.directory).runs == 6


def test_a_ledger_of_another_kind_takes_no_archive(
    desk: Desk, store: Store, clock: Clock, second_conninfo: str, tmp_path: Path
) -> None:
    tree(desk)
    clock.move(days=10)
    [outcome] = store.archive(days=5)
    with Ledger(PostgresLedgerRecorder(LedgerConnection(second_conninfo)), clock=clock) as ledger:
        Desk(ledger, clock)
    with pytest.raises(NotForThisLedger, match="not empty"):
        Store(second_conninfo, clock, tmp_path / "others").restore(outcome.directory)


@pytest.mark.parametrize("name", ["manifest.json", "events-00001.jsonl.zst", "context.jsonl.zst"])
def test_a_file_that_was_changed_is_named_and_nothing_is_restored(
    desk: Desk, store: Store, clock: Clock, name: str
) -> None:
    tree(desk)
    clock.move(days=10)
    [outcome] = store.archive(days=5)
    file = outcome.directory / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(Damaged, match=name):
        Restorer(store.conninfo, ACTOR, clock).plan(outcome.directory)
    if name != "context.jsonl.zst":
        with pytest.raises(Damaged, match=name):
            store.restore(outcome.directory)
    assert_clean(store.conninfo)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE ledger.archived SET leaf = sha256('x') WHERE position = LAST", "was changed"),
        ("DELETE FROM ledger.archived WHERE position = LAST", "No event is at position"),
        ("UPDATE ledger.archived SET originator_version = 99 WHERE position = LAST", "a leaf|not of those"),
        ("UPDATE ledger.archived SET originator_id = gen_random_uuid() WHERE position = LAST", "no event says"),
        ("UPDATE ledger.archived SET archive_id = gen_random_uuid() WHERE position = LAST", "knows nothing"),
        ("UPDATE ledger.archives SET id = gen_random_uuid()", "knows nothing"),
        ("DELETE FROM ledger.events WHERE topic = 'FlowRun.Archived'", "no event says in which archive"),
        ("UPDATE ledger.events SET state = replace(state, 'archivist', 'anarchist') WHERE topic = 'TaskRun.Archived'",
         "was changed"),
        ("INSERT INTO ledger.archived SELECT 1, gen_random_uuid(), 1, leaf, archive_id FROM ledger.archived LIMIT 1",
         "is here and in an archive"),
    ],
)  # fmt: skip
def test_whatever_is_changed_of_what_is_left_is_found(
    desk: Desk, store: Store, clock: Clock, change: str, named: str
) -> None:
    tree(desk)
    clock.move(days=10)
    store.archive(days=5)
    with psycopg.connect(store.conninfo) as connection:
        connection.execute(change.replace("LAST", "(SELECT max(position) FROM ledger.archived)").encode())
    report = verify(store.conninfo, jobs=1)
    sentences = [finding.sentence for one in report.checked for finding in one.found.findings]
    assert any(re.search(named, sentence) for sentence in sentences), sentences
    assert all(finding.first or finding.stream for one in report.checked[:8] for finding in one.found.findings)


def test_what_followers_of_the_log_have_yet_to_see_or_to_tell_stays(desk: Desk, store: Store, clock: Clock) -> None:
    (run, _, _), (position,) = tree(desk), store.ask("SELECT max(position) FROM ledger.events")[0]
    tree(desk)
    clock.move(days=10)
    with psycopg.connect(store.conninfo) as connection:
        connection.execute(
            "INSERT INTO telemetry.followers (name, ledger_id, position, last_success)"
            " SELECT 'a follower', id, %s, now() FROM ledger.identity",
            [position],
        )
        connection.execute(
            "INSERT INTO telemetry.notifications (id, policy_id, policy_version, position, flow_run_id,"
            " flow_run_version, state_name, status, created, next_attempt_at)"
            " VALUES (gen_random_uuid(), gen_random_uuid(), 1, 1, %s, 1, 'Completed', 'queued', now(), now())",
            [run],
        )
    planned = plan(store.conninfo, clock.time - timedelta(days=5))
    assert (planned.chosen.runs, planned.chosen.held_up_by) == (0, "a follower")
    with psycopg.connect(store.conninfo) as connection:
        connection.execute("UPDATE telemetry.notifications SET status = 'delivered'")
    assert plan(store.conninfo, clock.time - timedelta(days=5)).chosen.runs == 3
    with psycopg.connect(store.conninfo) as connection:
        connection.execute("UPDATE telemetry.followers SET position = 1000")
    planned = plan(store.conninfo, clock.time - timedelta(days=5))
    assert (planned.chosen.runs, planned.chosen.held_up_by) == (6, None)


def test_of_a_large_tree_nothing_comes_back_without_its_root(
    desk: Desk, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "STREAMS_AT_ONCE", 1)
    tree(desk, idempotency_key="k")
    clock.move(days=10)
    [outcome] = store.archive(days=5)
    desk.flow_run(idempotency_key="k")
    moved = store.restore(outcome.directory)
    assert (moved.runs, len(moved.left)) == (0, 1)
    assert_clean(store.conninfo)


def test_a_tree_to_which_something_came_since_it_was_written_stays(
    desk: Desk, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, grown, ended = (tree(desk) for _ in range(3))
    clock.move(days=10)
    check = Archiver._check

    def change(*arguments: Any) -> None:
        check(*arguments)
        desk.ask(UpdateFlowRun(caller=CALLER, id=changed[2], changes=FlowRunChanges(name="late")))
        desk.task_run(grown[0])

    monkeypatch.setattr(Archiver, "_check", change)
    [outcome] = store.archive(days=5)
    assert (outcome.moved.runs, {left.tree for left in outcome.moved.left}) == (3, {changed[0], grown[0]})
    assert store.ask("SELECT count(*) FROM read.flow_runs WHERE id = ANY(%s)", list(ended)) == [(0,)]
    assert_clean(store.conninfo)
