"""Whoever archives or restores may die at any point: every event is somewhere, and the next to try finishes."""

import random
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from projections.archive.files import read_file
from projections.archive.manifest import NAME, read_manifest
from projections.seals import leaf
from projections.verify.verification import verify
from tests.checks import check_ledger, live_rows
from tests.domain.conftest import Clock, Desk
from tests.projections.test_archive import Store, store, tree
from tests.support.server_process import REPOSITORY

__all__ = ["store"]

DEATHS = 10


def dies(store: Store, action: str, directory: Path, step: int) -> bool:
    """Whether a process that does something dies at a step, rather than being done before."""
    command = [sys.executable, "-m", "tests.support.dying", store.conninfo, action, str(directory), str(step)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode != 0


def assert_all_is_somewhere(store: Store, events: int) -> None:
    """Assert that the ledger is whole, and that each event of which it only has a leaf is in a file."""
    check_ledger(store.conninfo)
    filed = {}
    for directory in store.directory.iterdir() if store.directory.exists() else ():
        if (directory / NAME).exists():
            for file in read_manifest(directory).files:
                filed.update({entry.position: leaf(entry.event) for entry in read_file(directory, file)})
    with psycopg.connect(store.conninfo) as connection:
        left = dict(connection.execute("SELECT position, leaf FROM ledger.archived").fetchall())
        first = connection.execute("SELECT count(*) FROM ledger.events WHERE position <= %s", [events]).fetchone()
    assert {position: filed[position] for position in left} == left
    assert first == (events - sum(position <= events for position in left),)


@pytest.mark.timeout(600)
def test_killed_at_any_point_it_loses_nothing_and_is_finished_by_the_next(
    desk: Desk, store: Store, clock: Clock
) -> None:
    for _ in range(6):
        tree(desk)
        clock.move(seconds=1)
    with psycopg.connect(store.conninfo) as connection:
        before = live_rows(connection)
        (events,) = connection.execute("SELECT count(*) FROM ledger.events").fetchone() or (0,)
    chance = random.Random(7)  # noqa: S311
    deaths = {"archive": 0, "restore": 0}
    while min(deaths.values()) < DEATHS:
        while dies(store, "archive", store.directory, chance.randint(1, 120)):
            deaths["archive"] += 1
            assert_all_is_somewhere(store, events)
        assert_all_is_somewhere(store, events)
        archives = [path for path in store.directory.iterdir() if read_manifest(path)]
        assert store.ask("SELECT count(*) FROM read.flow_runs") == [(0,)]
        newest = max(archives, key=lambda path: read_manifest(path).archive_id)
        while dies(store, "restore", newest, chance.randint(1, 60)):
            deaths["restore"] += 1
            assert_all_is_somewhere(store, events)
        with psycopg.connect(store.conninfo) as connection:
            assert live_rows(connection) == before
    assert verify(store.conninfo, jobs=1).number == 0
