"""Addresses: which there are, by which methods, and what is answered at those that there are not."""

import re
from http import HTTPMethod
from typing import Any

import httpx
import pytest

from api.app import ENDPOINTS
from api.openapi import describe
from tests.acceptance.conftest import Service
from tests.support.descriptions import Operation, operations
from tests.support.stored_events import count_events

DESCRIPTION = describe(list(ENDPOINTS))
OPERATIONS = operations(DESCRIPTION)
BY_ID = [operation for operation in OPERATIONS if "{id}" in operation.path]
METHODS = {operation.path: {o.method for o in OPERATIONS if o.path == operation.path} for operation in OPERATIONS}
NOT_FOUND = {"detail": "Not Found"}
ID = "5121a062-fecc-420f-9ec3-440761f290fb"
"""An id of nothing."""


BODIES: dict[str, Any] = {
    "set_state": {"state": {"type": "RUNNING"}},
    "explain_state": {"state": {"type": "RUNNING"}},
    "input": {"key": "key", "value": "value"},
    "schedules": [],
    "bulk": [],
}
"""What must be sent to an address, by the last word of it."""


def methods_at(path: str) -> set[str]:
    """The methods by which an address is served, where that of one thing may be that of another as well."""
    asked = address(path)
    patterns = {
        re.sub(r"{(key|name)}", "[^/]+", re.sub(r"{(id|schedule_id)}", ID, other)): METHODS[other] for other in METHODS
    }
    return set().union(*(methods for pattern, methods in patterns.items() if re.fullmatch(pattern, asked)))


def address(path: str) -> str:
    """The path to something that there is not."""
    return path.replace("{id}", ID).replace("{schedule_id}", ID).replace("{name}", "none").replace("{key}", "none")


def test_the_description_that_is_published_is_that_of_what_is_served(client: httpx.Client) -> None:
    root = client.base_url.copy_with(path="/")
    for address in ("openapi.json", "api/openapi.json"):
        assert client.get(root.join(address)).json() == DESCRIPTION
    page = client.get(root.join("docs"))
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert all(path in page.text for path in DESCRIPTION["paths"])


@pytest.mark.parametrize("path", METHODS)
def test_a_method_that_an_address_does_not_know_is_refused_with_those_it_knows(client: httpx.Client, path: str) -> None:
    known = methods_at(path) | ({"HEAD"} if "GET" in methods_at(path) else set())
    for method in {*HTTPMethod} - known - {"CONNECT"}:
        answer = client.request(method, client.base_url.copy_with(path=address(path)))
        assert answer.status_code == 405, method
        assert set(answer.headers["allow"].split(", ")) == known
        assert method == "HEAD" or answer.json() == {"detail": "Method Not Allowed"}


@pytest.mark.parametrize(
    "path", ["nope", "flow_runs/filter/more", "flowruns/", "FLOWS/", "events/in", "flows//", "flows/name/a%2Fb", "%00"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_address_that_is_none_is_answered_404_in_json(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path, content=b"{", follow_redirects=True)
    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


@pytest.mark.parametrize("path", METHODS)
def test_a_slash_too_many_or_too_few_leads_to_the_address_that_is_meant(client: httpx.Client, path: str) -> None:
    other = path.removesuffix("/") if path.endswith("/") else f"{path}/"
    meant, asked = (address(one) for one in (path, other))
    for method in METHODS[path]:
        answer = client.request(method, client.base_url.copy_with(path=asked))
        assert answer.status_code == 307
        assert answer.next_request is not None
        assert (answer.next_request.method, answer.next_request.url.path) == (method, meant)


@pytest.mark.parametrize("operation", BY_ID, ids=str)
@pytest.mark.parametrize("id", ["nope", "1", "00000000-0000-0000-0000-00000000000g", "0" * 32, "%00", "%FF", "{id}"])
def test_an_id_that_is_none_is_no_address(client: httpx.Client, operation: Operation, id: str) -> None:
    path = operation.path.removeprefix("/api/").replace("{id}", id)
    answer = client.request(operation.method, path, json={"state": {"type": "RUNNING"}})
    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


@pytest.mark.parametrize("operation", BY_ID, ids=str)
def test_an_id_that_is_none_is_an_invalid_request_to_clients_of_2_20(
    client: httpx.Client, operation: Operation
) -> None:
    path = operation.path.removeprefix("/api/").replace("{id}", "nope")
    headers = {"User-Agent": "prefect/2.20.25 (API 0.8.4)"}
    answer = client.request(operation.method, path, headers=headers, json={"state": {"type": "RUNNING"}})
    assert answer.status_code == 422
    assert answer.json()["exception_detail"][0]["loc"] == ["path", "id"]


@pytest.mark.parametrize("operation", [one for one in BY_ID if not one.path.endswith("/filter")], ids=str)
def test_what_there_is_not_is_answered_404_and_nothing_written(
    service: Service, client: httpx.Client, operation: Operation
) -> None:
    before = count_events(service.conninfo)
    path = address(operation.path.removeprefix("/api/"))
    answer = client.request(operation.method, path, json=BODIES.get(path.rpartition("/")[2], {}))
    assert answer.status_code == 404
    assert "not found" in answer.text
    assert count_events(service.conninfo) == before


@pytest.mark.parametrize("kind", ["flow_run", "task_run"])
@pytest.mark.parametrize("id", [None, "", "nope", "\0", "1"])
def test_a_history_needs_the_id_of_a_run(client: httpx.Client, kind: str, id: str | None) -> None:
    answer = client.get(f"{kind}_states/", params={} if id is None else {f"{kind}_id": id})
    assert answer.status_code == 422
    assert answer.json()["exception_detail"][0]["loc"] == ["query", f"{kind}_id"]


def test_a_nul_in_a_name_is_said_and_not_looked_up(client: httpx.Client) -> None:
    answer = client.get("flows/name/a%00b")
    assert answer.status_code == 422
    assert answer.json()["exception_detail"][0]["loc"] == ["path", "name"]
