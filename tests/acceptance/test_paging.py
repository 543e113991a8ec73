"""Lists over HTTP: by cursor, with the named fields only, compressed, and stopped when they take too long."""

import gzip
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.routes.listing import NEXT_CURSOR
from projections.sorting import FlowRunSort

NUMBER = 7


@pytest.fixture(scope="module")
def flow(client: httpx.Client) -> str:
    """A flow with runs of which some are equal in every order but that of ids, and some have no end."""
    flow = str(client.post("flows/", json={"name": f"flow-{uuid4()}"}).json()["id"])
    for number in range(NUMBER):
        time = f"2020-01-0{1 + number // 2}T00:00:00Z"
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": time}}
        body = {"flow_id": flow, "name": f"run-{number // 3}", "state": state, "tags": ["t" * 200]}
        run = client.post("flow_runs/", json=body).json()["id"]
        if number % 2:
            client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "COMPLETED"}, "force": True})
    return flow


def asked(flow: str, **more: Any) -> dict[str, Any]:
    return {"flows": {"id": {"any_": [flow]}}, **more}


def pages(client: httpx.Client, body: dict[str, Any]) -> Iterator[list[Any]]:
    cursor = None
    while True:
        answer = client.post("flow_runs/filter", json={**body, "cursor": cursor})
        assert answer.status_code == 200, answer.text
        yield answer.json()
        cursor = answer.headers.get(NEXT_CURSOR)
        if cursor is None:
            return


@pytest.mark.parametrize("sort", FlowRunSort)
@pytest.mark.parametrize("limit", [1, 3, NUMBER])
def test_pages_by_cursor_are_the_list(client: httpx.Client, flow: str, sort: str, limit: int) -> None:
    whole = client.post("flow_runs/filter", json=asked(flow, sort=sort)).json()
    paged = [run for page in pages(client, asked(flow, sort=sort, limit=limit)) for run in page]
    assert [run["id"] for run in paged] == [run["id"] for run in whole]
    assert len(paged) == NUMBER


def test_only_who_asks_by_cursor_is_told_one_and_only_of_full_pages(client: httpx.Client, flow: str) -> None:
    assert NEXT_CURSOR not in client.post("flow_runs/filter", json=asked(flow, limit=2)).headers
    full = client.post("flow_runs/filter", json=asked(flow, limit=2, cursor=None))
    assert NEXT_CURSOR in full.headers
    assert NEXT_CURSOR not in client.post("flow_runs/filter", json=asked(flow, limit=NUMBER + 1, cursor=None)).headers


def test_a_cursor_of_another_list_or_of_none_is_refused(client: httpx.Client, flow: str) -> None:
    body = asked(flow, limit=2, sort="NAME_ASC", cursor=None)
    cursor = client.post("flow_runs/filter", json=body).headers[NEXT_CURSOR]
    for wrong in (
        {**body, "cursor": cursor, "sort": "NAME_DESC"},
        {**body, "cursor": "nonsense"},
        {**body, "cursor": "é"},
        {**body, "cursor": cursor, "offset": 1},
    ):
        refused = client.post("flow_runs/filter", json=wrong)
        assert refused.status_code == 422
        assert refused.json()["detail"]
    moving = {"sort": "DURATION_DESC", "cursor": None}
    assert client.post("task_runs/filter", json=moving).status_code == 422


@pytest.mark.parametrize("kind", ["flows", "flow_runs", "deployments"])
def test_documents_hold_the_named_fields_alone(client: httpx.Client, flow: str, kind: str) -> None:
    client.post("deployments/", json={"name": "d", "flow_id": flow})
    body = {kind: {"id": {"not_any_": []}}} if kind != "deployments" else asked(flow)
    whole = client.post(f"{kind}/filter", json={**body, "limit": 3}).json()
    assert whole
    for field in whole[0]:
        named = client.post(f"{kind}/filter", json={**body, "limit": 3, "columns": ["id", field]}).json()
        moves = field.startswith("estimated")
        assert [run.keys() for run in named] == [{"id", field}] * len(whole)
        assert moves or named == [{"id": run["id"], field: run[field]} for run in whole]
    assert client.post(f"{kind}/filter", json={"columns": []}).json()[:1] == [{}]
    unknown = client.post(f"{kind}/filter", json={"columns": ["nope"]})
    assert (unknown.status_code, unknown.json()) == (422, {"detail": "There is no column 'nope'."})


@pytest.mark.parametrize(
    ("accepts", "compressed"),
    [("gzip", True), ("br, GZip;q=0.5", True), ("gzip;q=0", False), ("gzip;q=0.0", False), ("identity", False)],
)
def test_long_answers_are_compressed_for_those_who_ask(
    client: httpx.Client, flow: str, accepts: str, compressed: bool
) -> None:
    request = client.build_request(
        "POST", "flow_runs/filter", json=asked(flow, columns=["id", "tags"]), headers={"Accept-Encoding": accepts}
    )
    answer = client.send(request, stream=True)
    raw = b"".join(answer.iter_raw())
    assert (answer.headers.get("content-encoding") == "gzip") is compressed
    assert answer.headers["vary"] == "accept-encoding"
    plain = client.post("flow_runs/filter", json=asked(flow, columns=["id", "tags"]), headers={"Accept-Encoding": ""})
    assert (gzip.decompress(raw) if compressed else raw) == plain.content
    assert len(plain.content) > 1024


def test_short_answers_are_not_compressed(client: httpx.Client) -> None:
    answer = client.post("flow_runs/count", json={}, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
