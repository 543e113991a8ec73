"""The command that verifies a ledger, as a person or a job calls it, beside a server or alone."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from projections.seals import GENESIS
from tests.acceptance.conftest import Service
from tests.support.load import Acknowledged, drive_runs
from tests.support.server_process import REPOSITORY, serving

SETTINGS = {"workers": 2}
ROUNDS = 4


def verify(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "scripts.cli", "verify-ledger", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env={"PATH": "", **environment}, capture_output=True, text=True)


@pytest.fixture
def head(client: httpx.Client) -> Iterator[dict[str, Any]]:
    """The head of a ledger in which something has happened."""
    assert client.post("flows/", json={"name": "a-flow"}).status_code in (200, 201)
    yield client.get("ledger/head").json()


def test_a_ledger_under_load_from_two_processes_is_found_to_be_clean(service: Service, client: httpx.Client) -> None:
    flow = client.post("flows/", json={"name": "loaded"}).json()["id"]

    async def load_and_verify() -> list[int]:
        ended = asyncio.Event()

        def until(known: Acknowledged) -> bool:
            return ended.is_set()

        load = asyncio.create_task(drive_runs(service.server, flow, connections=8, until=until))
        noted, codes = "", []
        for _ in range(ROUNDS):
            arguments = ["--database-url", service.conninfo, *(["--expect", noted] if noted else [])]
            done = await asyncio.to_thread(verify, *arguments)
            assert done.returncode == 0, done.stdout + done.stderr
            codes.append(done.returncode)
            noted = done.stdout.split("--expect ")[-1].strip()
        ended.set()
        assert (await load).created
        return codes

    assert asyncio.run(load_and_verify()) == [0] * ROUNDS


def test_the_head_is_told_by_the_api_and_taken_back_by_the_command(
    service: Service, client: httpx.Client, head: dict[str, Any], tmp_path: Path
) -> None:
    assert head.keys() == {"position", "hash", "recorded_at", "ledger_id"}
    client.post("flows/", json={"name": "another-flow"})
    report = tmp_path / "report.json"
    noted = f"{head['position']}:{head['hash']}"
    done = verify("--expect", noted, "--json", str(report), FLOWLEDGER_DATABASE_URL=service.conninfo)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing is wrong" in done.stdout
    data = json.loads(report.read_text())
    assert (data["clean"], data["grown_by"], data["ledger_id"]) == (True, 1, head["ledger_id"])
    assert data["head"]["position"] == head["position"] + 1
    assert {check["name"]: check["number_of_findings"] for check in data["checks"]} == {
        "positions": 0,
        "times": 0,
        "seals": 0,
        "events": 0,
        "versions": 0,
        "folds": 0,
        "keys": 0,
        "archived": 0,
        "tables": 0,
        "expected head": 0,
    }


def test_findings_end_with_another_exit_code_and_stand_in_both_reports(service: Service, head: dict[str, Any]) -> None:
    forge = "INSERT INTO ledger.keys SELECT 'variable_name', 'n' || n, gen_random_uuid() FROM generate_series(1, 9) n"
    with psycopg.connect(service.conninfo) as connection:
        connection.execute(forge)
    try:
        done = verify("--json", "-", "--show", "2", FLOWLEDGER_DATABASE_URL=service.conninfo)
    finally:
        with psycopg.connect(service.conninfo) as connection:
            connection.execute("DELETE FROM ledger.keys WHERE kind = 'variable_name'")
    assert done.returncode == 2
    keys = next(check for check in json.loads(done.stdout)["checks"] if check["name"] == "keys")
    assert (keys["number_of_findings"], len(keys["findings"])) == (9, 9)
    assert keys["findings"][0]["sentence"] in done.stderr
    assert "- and 7 more." in done.stderr
    assert "9 findings" in done.stderr


def test_what_cannot_be_done_is_said_in_one_sentence(service: Service, empty_database: str, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for arguments, sentence in (
        (["--data-dir", str(nowhere)], f"There is no ledger in {nowhere}."),
        (["--database-url", empty_database], "There is no ledger in the database ("),
        (["--database-url", "host=127.0.0.1 port=1"], "cannot be reached"),
        (["--database-url", service.conninfo, "--expect", "12"], "'12' is no head"),
    ):
        done = verify(*arguments)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1
    assert not nowhere.exists()


def test_a_ledger_whose_server_is_stopped_is_verified_too(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with serving(tmp_path / "log", data_dir=data_dir) as server, server.client() as client:
        empty = client.get("ledger/head").json()
        client.post("flows/", json={"name": "a-flow"})
        server.stop()
    assert (empty["position"], empty["hash"], empty["recorded_at"]) == (0, GENESIS.hex(), None)
    assert f"head=0:{GENESIS.hex()}" in (tmp_path / "log").read_text()
    script = subprocess.run(
        [REPOSITORY / "scripts" / "verify_ledger", "--data-dir", data_dir, "--jobs", "1"],
        capture_output=True,
        text=True,
    )
    assert script.returncode == 0, script.stderr
    assert "stands at position 1 with the hash" in script.stdout
