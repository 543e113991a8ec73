"""Requests about limits that no limit can take, and numbers at the end of what one can: 4xx or an answer, never 5xx."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.acceptance.conftest import Service
from tests.checks import check_ledger
from tests.support.stored_events import count_events

TAGS, NAMES = "concurrency_limits/", "v2/concurrency_limits/"
MANY = 2**31
NUL = "a\0b"
NO_COUNTS: list[Any] = [-1, -MANY, MANY, 2**63, 10**30, 1.5, "many", [], {}]

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"tag limit of {count}": (TAGS, {"tag": "t", "concurrency_limit": count}) for count in [*NO_COUNTS, None]},
    **{
        f"limit with {field} {count}": (NAMES, {"name": "n", "limit": 1, field: count})
        for field in ("limit", "active_slots", "denied_slots")
        for count in [*NO_COUNTS, None]
    },
    **{
        f"limit whose slots decay by {decay}": (NAMES, {"name": "n", "limit": 1, "slot_decay_per_second": decay})
        for decay in (-1, -1e-300, 10**400, "fast", None)
    },
    **{f"limit called {name!r}": (NAMES, {"name": name, "limit": 1}) for name in ("", NUL, "a/b", "n" * 501, 1, None)},
    **{f"limit on the tag {tag!r}": (TAGS, {"tag": tag, "concurrency_limit": 1}) for tag in ("", NUL, 1, None)},
    **{
        f"{address} of {slots} slots": (NAMES + address, {"names": ["n"], "slots": slots})
        for address in ("increment", "increment-with-lease", "decrement")
        for slots in [*NO_COUNTS, 0, None]
    },
    **{
        f"{address} on {names!r}": (NAMES + address, {"names": names, "slots": 1})
        for address in ("increment", "increment-with-lease", "decrement")
        for names in ([], [NUL], [None], "n", None)
    },
    **{
        f"{address} on tags {names!r}": (TAGS + address, {"names": names, "task_run_id": str(uuid4())})
        for address in ("increment", "decrement")
        for names in ([NUL], [None], "n", None)
    },
    "increment for no task run": (TAGS + "increment", {"names": ["n"], "task_run_id": "run"}),
    **{
        f"lease of {seconds} seconds": (
            NAMES + "increment-with-lease",
            {"names": ["n"], "slots": 1, "lease_duration": seconds},
        )
        for seconds in (-1, 0, 59, 24 * 3600 + 1, MANY, 10**400, "long", None)
    },
    "lease held by nothing": (NAMES + "increment-with-lease", {"names": ["n"], "slots": 1, "holder": {}}),
    "lease held by a tree": (
        NAMES + "increment-with-lease",
        {"names": ["n"], "slots": 1, "holder": {"type": "tree", "id": str(uuid4())}},
    ),
    **{
        f"slots in use for {seconds} seconds": (
            NAMES + "decrement",
            {"names": ["n"], "slots": 1, "occupancy_seconds": seconds},
        )
        for seconds in (-1, 0, 10**400, "long")
    },
    **{
        f"renewal for {seconds} seconds": (NAMES + f"leases/{uuid4()}/renew", {"lease_duration": seconds})
        for seconds in (-1, 0, MANY, None)
    },
    "end of a lease that is no id": (NAMES + "decrement-with-lease", {"lease_id": NUL}),
    "reset for no task run": (TAGS + "tag/t/reset", {"slot_override": ["run"]}),
    **{
        f"list of {kind} limits from {field} {value}": (kind + "filter", {field: value})
        for kind in (TAGS, NAMES)
        for field, value in (("limit", -1), ("limit", MANY), ("limit", 10**30), ("offset", -1), ("offset", "far"))
    },
}


@pytest.mark.parametrize(("path", "body"), CASES.values(), ids=[ascii(name) for name in CASES])
def test_what_no_limit_can_take_is_refused_and_nothing_written(
    service: Service, client: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    before = count_events(service.conninfo)
    answer = client.post(path, json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()
    assert count_events(service.conninfo) == before


@pytest.mark.parametrize("changes", [{"limit": -1}, {"limit": MANY}, {"active_slots": -1}, {"name": NUL}, {"id": "x"}])
def test_a_change_that_does_not_fit_changes_nothing(client: httpx.Client, changes: dict[str, Any]) -> None:
    made = client.post(NAMES, json={"name": uuid4().hex, "limit": 1}).json()
    assert client.patch(NAMES + made["id"], json=changes).status_code == 422
    assert client.get(NAMES + made["id"]).json() == made


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, TAGS + f"tag/{name}") for method in ("GET", "DELETE") for name in ("none", "%00", "%ff", "a" * 9000)]
    + [(method, NAMES + name) for method in ("GET", "DELETE") for name in ("none", "%00", "%ff", "a" * 9000)]
    + [("GET", TAGS + f"{UUID(int=7)}/holders"), ("GET", TAGS + "x/holders"), ("DELETE", TAGS + "x")],
)
def test_a_limit_that_there_is_not_is_said_to_be_none(client: httpx.Client, method: str, path: str) -> None:
    assert client.request(method, path).status_code in (404, 422)


@pytest.mark.parametrize("decay", [5e-324, 1e-300, 1e300, 1.7e308])
@pytest.mark.parametrize("name", ["rate", "tag:rate"])
def test_slots_that_decay_hardly_or_at_once_can_be_asked_for_and_read(
    service: Service, client: httpx.Client, decay: float, name: str
) -> None:
    name += uuid4().hex
    made = client.post(NAMES, json={"name": name, "limit": 1, "slot_decay_per_second": decay})
    assert made.status_code == 201, made.text
    for _ in range(3):
        taken = client.post(NAMES + "increment", json={"names": [name], "slots": 1, "mode": "rate_limit"})
        assert taken.status_code in (200, 423)
        if taken.status_code == 423:
            assert 0 < float(taken.headers["Retry-After"]) < float("inf")
    read = client.get(NAMES + name)
    assert (read.status_code, read.json()["active_slots"]) == (200, int(decay < 1))
    if name.startswith("tag:"):
        task = {"task_key": "k", "dynamic_key": uuid4().hex, "tags": [name.removeprefix("tag:")]}
        run = client.post("task_runs/", json=task).json()["id"]
        agent = {"User-Agent": "prefect/3.9.1 (API 0.8.4)"}
        asked = client.post(f"task_runs/{run}/set_state", json={"state": {"type": "RUNNING"}}, headers=agent)
        assert asked.is_success, asked.text
    assert client.post(NAMES + "filter", json={}).status_code == 200
    assert client.delete(NAMES + name).status_code == 204


def test_the_most_slots_that_there_can_be_are_counted(service: Service, client: httpx.Client) -> None:
    most = MANY - 1
    for decay in (0, 1e-9):
        name = f"tag:{uuid4().hex}"
        facts = {"limit": most, "active_slots": most, "denied_slots": most, "slot_decay_per_second": decay}
        assert client.post(NAMES, json={"name": name, **facts}).status_code == 201
        assert client.post(NAMES + "increment", json={"names": [name], "slots": most}).status_code == 423
        reset = {"slot_override": [str(uuid4()), str(uuid4())]}
        assert client.post(TAGS + f"tag/{name.removeprefix('tag:')}/reset", json=reset).status_code == 200
        read = client.get(NAMES + name)
        assert read.status_code == 200, read.text
        assert decay or read.json()["active_slots"] == 2
    check_ledger(service.conninfo)


def test_a_limit_on_a_long_tag_is_kept_as_it_is(service: Service, client: httpx.Client) -> None:
    tag = "".join(uuid4().hex for _ in range(5_000))
    made = client.post(TAGS, json={"tag": tag, "concurrency_limit": 1})
    assert made.status_code in (201, 422), made.text
    if made.status_code == 201:
        assert client.get(TAGS + made.json()["id"]).json()["tag"] == tag
    check_ledger(service.conninfo)
