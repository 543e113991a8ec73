"""Services over several processes: one does the rounds, and another goes on when that one is killed."""

from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from tests.support.server_process import serving, wait_until


def services(client: httpx.Client) -> dict[str, Any]:
    return {service["name"]: service for service in client.get("admin/services").json()}


def test_another_process_goes_on_when_the_one_that_did_the_rounds_is_killed(database_url: str, tmp_path: Path) -> None:
    often = {"scheduler_interval_seconds": 0.1, "late_runs_interval_seconds": 0.1}
    with (
        serving(tmp_path / "first", database_url=database_url, **often) as first,
        first.client() as client,
    ):
        wait_until(lambda: services(client).keys() >= {"scheduler", "late-runs", "counter-folding"})
        with (
            serving(tmp_path / "second", database_url=database_url, **often) as second,
            second.client() as other,
        ):
            before = services(other)
            assert {service["process"].rpartition(":")[2] for service in before.values()} == {str(first.process.pid)}
            first.kill()
            wait_until(
                lambda: all(
                    service["process"].endswith(f":{second.process.pid}")
                    for name, service in services(other).items()
                    if name in ("scheduler", "late-runs", "counter-folding")
                )
            )
            scheduler = services(other)["scheduler"]
            assert datetime.fromisoformat(scheduler["last_success"]) > datetime.fromisoformat(
                before["scheduler"]["last_success"]
            )
            assert (scheduler["last_error"], scheduler["did"]) == (None, "planned 0 runs")
            assert scheduler["active"] is True
    with (
        serving(tmp_path / "third", database_url=database_url, services_enabled=False) as third,
        third.client() as client,
    ):
        assert {service["active"] for service in services(client).values()} == {False}


def test_nothing_is_planned_where_services_are_switched_off(database_url: str, log: Path) -> None:
    with serving(log, database_url=database_url, services_enabled=False) as server, server.client() as client:
        flow = client.post("flows/", json={"name": "f"}).json()["id"]
        body = {"name": "d", "flow_id": flow, "schedules": [{"schedule": {"interval": 20}}]}
        assert client.post("deployments/", json=body).status_code == 201
        assert client.post("flow_runs/count", json={}).json() == 0
        assert client.get("admin/services").json() == []
