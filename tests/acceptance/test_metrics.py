"""What a server counts of itself, as Prometheus reads it."""

import re

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.conftest import Service
from tests.support.server_process import wait_until

Labels = dict[str, str]


def metrics(client: httpx.Client) -> dict[str, list[tuple[Labels, float]]]:
    """The samples of each name."""
    answer = client.get("metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return samples


def count(client: httpx.Client, method: str, route: str, status: str) -> float:
    wanted = {"method": method, "route": route, "status": status}
    found = metrics(client)["flowledger_request_duration_seconds_count"]
    return sum(value for labels, value in found if wanted.items() <= labels.items())


def test_requests_are_counted_by_route_and_status_never_by_path(service: Service, client: httpx.Client) -> None:
    flow = client.post("flows/", json={"name": "counted"}).json()["id"]
    route = "/api/flows/{id}"
    before = count(client, "GET", route, "200"), count(client, "GET", route, "404")
    for _ in range(3):
        assert client.get(f"flows/{flow}").status_code == 200
    assert client.get("flows/00000000-0000-4000-8000-000000000000").status_code == 404
    assert (count(client, "GET", route, "200"), count(client, "GET", route, "404")) == (before[0] + 3, before[1] + 1)
    routes = {labels["route"] for labels, _ in metrics(client)["flowledger_request_duration_seconds_count"]}
    assert not any(re.search(r"[0-9a-f]{8}-", route) for route in routes)


def test_the_buckets_of_a_histogram_add_up(service: Service, client: httpx.Client) -> None:
    client.post("flows/", json={"name": "batched"})
    found = metrics(client)
    buckets = [value for _, value in found["flowledger_batch_commands_bucket"]]
    assert buckets == sorted(buckets)
    assert buckets[-1] == found["flowledger_batch_commands_count"][0][1] > 0
    assert found["flowledger_batch_commands_sum"][0][1] >= buckets[-1]
    assert found["flowledger_queue_commands"][0][1] == 0


def test_the_head_of_the_ledger_is_among_the_metrics(service: Service, client: httpx.Client) -> None:
    client.post("flows/", json={"name": "ahead"})
    head = client.get("ledger/head").json()
    found = metrics(client)
    assert found["flowledger_head_position"] == [({}, head["position"])]
    ((labels, _),) = found["flowledger_head_info"]
    assert (labels["hash"], labels["ledger_id"]) == (head["hash"], head["ledger_id"])
    assert found["flowledger_last_event_age_seconds"][0][1] >= 0
    assert found["flowledger_database_up"] == [({}, 1.0)]


def test_services_tell_when_they_last_succeeded(service: Service, client: httpx.Client) -> None:
    def known() -> set[str]:
        found = metrics(client).get("flowledger_service_last_success_timestamp_seconds", [])
        return {labels["service"] for labels, _ in found}

    wait_until(lambda: {"late-runs", "head-log"} <= known())
    lags = metrics(client)["flowledger_service_lag_seconds"]
    assert {labels["service"] for labels, _ in lags} >= {"late-runs", "head-log"}


def test_a_process_answers_for_itself_and_for_its_connections(service: Service, client: httpx.Client) -> None:
    found = metrics(client)
    states = {labels["state"]: value for labels, value in found["flowledger_read_connections"]}
    assert states.keys() == {"open", "free", "awaited"}
    assert states["open"] >= 1
    assert {labels["process"] for labels, _ in found["flowledger_read_connections"]} == {
        str(service.server.process.pid)
    }
