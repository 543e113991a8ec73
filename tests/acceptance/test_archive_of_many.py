"""Fifty thousand runs go into an archive, into an empty ledger and back, and whoever asks is told the same."""

import random
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from projections.verify.verification import verify
from scripts.benchmarking.seeding import seed
from tests.acceptance.test_archive import command
from tests.checks import check_counts
from tests.support.server_process import serving

FLOW_RUNS = 53_000
"""Of which one in twenty has not ended."""

ENDED = {"state": {"type": {"any_": ["COMPLETED", "FAILED"]}}}
HISTORY = {
    "history_start": "2026-11-21T00:00:00Z",
    "history_end": "2026-11-22T00:00:00Z",
    "history_interval_seconds": 3600,
    "flow_runs": ENDED,
}
ASKED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("flow_runs/count", {"flow_runs": ENDED}),
    ("task_runs/count", {"flow_runs": ENDED}),
    ("flow_runs/history", HISTORY),
    ("flow_runs/filter", {"flow_runs": ENDED, "sort": "START_TIME_DESC"}),
    ("flow_runs/filter", {"flow_runs": ENDED, "sort": "ID_DESC", "offset": 20_000}),
    ("flow_runs/filter", {"flow_runs": {**ENDED, "tags": {"all_": ["tag-3"]}}, "sort": "NAME_ASC"}),
    ("task_runs/filter", {"flow_runs": ENDED, "sort": "ID_DESC", "offset": 5_000}),
    ("flows/filter", {"flow_runs": ENDED, "sort": "NAME_ASC"}),
)


def answers(conninfo: str, log: Path, ids: list[str]) -> list[Any]:
    with serving(log, database_url=conninfo, services_enabled=False) as server, server.client() as client:
        found = [_asked(client.post(path, json=body)) for path, body in ASKED]
        return [*found, *(_asked(client.get(f"flow_runs/{id}")) for id in ids), *(_events(client, id) for id in ids)]


def _asked(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    found = answer.json()
    for document in found if isinstance(found, list) else [found]:
        if isinstance(document, dict):
            for moves_with_the_clock in ("estimated_run_time", "estimated_start_time_delta"):
                document.pop(moves_with_the_clock, None)
    return found


def _events(client: httpx.Client, id: str) -> list[Any]:
    """The events of a run, but for their positions and for those that tell of the archive."""
    events = client.get(f"flow_runs/{id}/events").json()["events"]
    told = [event for event in events if event["topic"] not in ("FlowRun.Archived", "FlowRun.Restored")]
    return [{**event, "position": None} for event in told]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_thousand_runs_are_the_same_wherever_they_are_restored(
    conninfo: str, second_conninfo: str, tmp_path: Path
) -> None:
    seed(conninfo, FLOW_RUNS)
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute("SELECT id::text FROM read.flow_runs WHERE state_type <> 'RUNNING'").fetchall()
    ids = [id for (id,) in random.Random(7).sample(rows, 50)]  # noqa: S311
    assert len(rows) >= 50_000
    before = answers(conninfo, tmp_path / "log", ids)
    archives = tmp_path / "archives"
    done = command(conninfo, "archive", "--older-than", "0m", "--to", str(archives), "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    [archive] = archives.iterdir()
    assert verify(conninfo).number == 0

    filled = command(second_conninfo, "restore", str(archive), "--yes")
    assert filled.returncode == 0, filled.stdout + filled.stderr
    assert verify(second_conninfo).number == 0
    assert answers(second_conninfo, tmp_path / "log", ids) == before

    restored = command(conninfo, "restore", str(archive), "--yes")
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert verify(conninfo).number == 0
    assert answers(conninfo, tmp_path / "log", ids) == before
    check_counts(conninfo)
