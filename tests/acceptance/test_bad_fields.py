"""Bodies that are JSON and do not fit: the field that is wrong is named, and nothing written."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance.conftest import Service
from tests.support.stored_events import count_events

LISTS = [f"{kind}/{ask}" for kind in ("flows", "flow_runs", "task_runs") for ask in ("filter", "paginate")]
HUGE = 10**30

NEW_FLOW = {"name": "a flow"}
NEW_FLOW_RUN = {"flow_id": str(uuid4())}
NEW_TASK_RUN = {"task_key": "key", "dynamic_key": "0"}
PROPOSAL = {"state": {"type": "RUNNING"}}
LINE = {"name": "n", "level": 20, "message": "m", "timestamp": "2026-01-01T00:00:00Z"}
SET_STATE = "flow_runs/00000000-0000-0000-0000-000000000000/set_state"
RESUME, INPUT = SET_STATE.replace("set_state", "resume"), SET_STATE.replace("set_state", "input")
TOO_LATE, TOO_EARLY = "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"

Where = list[str | int]
Case = tuple[str, Any, Where]

CASES: dict[str, Case] = {
    "flow without a name": ("flows/", {}, ["name"]),
    "flow with a number for a name": ("flows/", {"name": 1}, ["name"]),
    "flow with an empty name": ("flows/", {"name": ""}, ["name"]),
    "flow with a name of a path": ("flows/", {"name": "a/b"}, ["name"]),
    "flow with null tags": ("flows/", NEW_FLOW | {"tags": None}, ["tags"]),
    "flow with a number among its tags": ("flows/", NEW_FLOW | {"tags": ["a", 1]}, ["tags", 1]),
    "flow with a nested label": ("flows/", NEW_FLOW | {"labels": {"a": {}}}, ["labels", "a"]),
    "flow with an unknown field": ("flows/", NEW_FLOW | {"id": str(uuid4())}, ["id"]),
    "flow run of no flow": ("flow_runs/", {}, ["flow_id"]),
    "flow run of a flow that is no id": ("flow_runs/", {"flow_id": "flow"}, ["flow_id"]),
    "flow run with an unknown field": ("flow_runs/", NEW_FLOW_RUN | {"a": 1}, ["a"]),
    "flow run with a list of parameters": ("flow_runs/", NEW_FLOW_RUN | {"parameters": []}, ["parameters"]),
    "flow run with half a policy": (
        "flow_runs/",
        NEW_FLOW_RUN | {"empirical_policy": {"retries": "many"}},
        ["empirical_policy", "retries"],
    ),
    "flow run in an unknown state": (
        "flow_runs/",
        NEW_FLOW_RUN | {"state": {"type": "ASLEEP"}},
        ["state", "type"],
    ),
    "flow run in a state without type": ("flow_runs/", NEW_FLOW_RUN | {"state": {}}, ["state", "type"]),
    "task run without keys": ("task_runs/", {}, ["task_key"]),
    "task run with a number for a key": ("task_runs/", NEW_TASK_RUN | {"dynamic_key": 0}, ["dynamic_key"]),
    "task run with an id that is none": ("task_runs/", NEW_TASK_RUN | {"id": "task"}, ["id"]),
    "task run with an unknown kind of input": (
        "task_runs/",
        NEW_TASK_RUN | {"task_inputs": {"x": [{"input_type": "guess", "id": str(uuid4())}]}},
        ["task_inputs", "x", 0],
    ),
    "task run with a cache key of 2,001 characters": (
        "task_runs/",
        NEW_TASK_RUN | {"cache_key": "k" * 2001},
        ["cache_key"],
    ),
    "task run whose cache expires too late": (
        "task_runs/",
        NEW_TASK_RUN | {"cache_expiration": TOO_LATE},
        ["cache_expiration"],
    ),
    "proposal of nothing": (SET_STATE, {}, ["state"]),
    "proposal of null": (SET_STATE, {"state": None}, ["state"]),
    "proposal by an unknown force": (SET_STATE, PROPOSAL | {"force": "brute"}, ["force"]),
    "proposal with an unknown field": (SET_STATE, {"state": {"type": "RUNNING", "a": 1}}, ["state", "a"]),
    "resuming with an input that is a list": (RESUME, {"run_input": []}, ["run_input"]),
    "input without a value": (INPUT, {"key": "k"}, ["value"]),
    "input of a number": (INPUT, {"key": "k", "value": 1}, ["value"]),
    **{
        f"input under the key {key!r}": (INPUT, {"key": key, "value": ""}, ["key"])
        for key in ("", "K", "a_b", "a b", "a/b", "k\n", "\u00e9", None)
    },
    "inputs listed by no prefix": (f"{INPUT}/filter", {}, ["prefix"]),
    "inputs listed without one key": (f"{INPUT}/filter", {"prefix": "", "exclude_keys": "k"}, ["exclude_keys"]),
    "log lines that are one": ("logs/", LINE, []),
    "log line without message": ("logs/", [LINE, LINE | {"message": None}], [1, "message"]),
    "log line of a level beyond all": ("logs/", [LINE | {"level": HUGE}], [0, "level"]),
    "log line of a run that is no id": ("logs/", [LINE | {"flow_run_id": "run"}], [0, "flow_run_id"]),
    "log line of no time": ("logs/", [LINE | {"timestamp": "noon"}], [0, "timestamp"]),
    "lease on a number": (
        "v2/concurrency_limits/increment-with-lease",
        {"names": [1], "slots": 1},
        ["names", 0],
    ),
    "filter by an unknown field": ("flow_runs/filter", {"flow_runs": {"shoe_size": {}}}, ["flow_runs", "shoe_size"]),
    "filter by an id that is none": (
        "flow_runs/filter",
        {"flow_runs": {"id": {"any_": ["x"]}}},
        ["flow_runs", "id", "any_", 0],
    ),
    "filter by an unknown state": (
        "task_runs/count",
        {"task_runs": {"state": {"type": {"any_": ["ASLEEP"]}}}},
        ["task_runs", "state", "type", "any_", 0],
    ),
    "filter joined by neither and nor or": (
        "flows/count",
        {"flows": {"operator": "xor_", "name": {"any_": ["a"]}}},
        ["flows", "operator"],
    ),
    **{
        f"state with a {field} {time}": (
            SET_STATE,
            {"state": {"type": "PAUSED", "state_details": {field: time}}},
            ["state", "state_details", field],
        )
        for field in ("scheduled_time", "pause_timeout", "cache_expiration")
        for time in (TOO_LATE, TOO_EARLY, "noon", 1e300)
    },
    **{
        f"{path} with {field} {value}": (path, {field: value}, [field])
        for path in [*LISTS, "logs/filter"]
        for field, value in (
            ("sort", "SIDEWAYS"),
            ("limit", "many"),
            ("limit", 1.5),
            ("page" if path.endswith("paginate") else "offset", -1),
            ("page" if path.endswith("paginate") else "offset", 0.5),
        )
    },
}


@pytest.mark.parametrize(("path", "body", "where"), CASES.values(), ids=CASES)
def test_the_field_that_does_not_fit_is_named_and_nothing_written(
    service: Service, client: httpx.Client, path: str, body: Any, where: Where
) -> None:
    before = count_events(service.conninfo)
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    said = answer.json()
    assert said["exception_message"] == "Invalid request received."
    assert said["request_body"] == body
    places = [detail["loc"] for detail in said["exception_detail"]]
    assert any(place[: len(where) + 1] == ["body", *where] for place in places), places
    assert all(detail["msg"] and "url" not in detail for detail in said["exception_detail"])
    assert count_events(service.conninfo) == before


@pytest.mark.parametrize("path", [*LISTS, "logs/filter"])
@pytest.mark.parametrize(("limit", "bound"), [(-1, "greater"), (-HUGE, "greater"), (201, "less"), (HUGE, "less")])
def test_a_limit_outside_of_a_page_is_refused(client: httpx.Client, path: str, limit: int, bound: str) -> None:
    answer = client.post(path, json={"limit": limit})
    most = "0" if bound == "greater" else "200"
    assert answer.status_code == 422
    assert answer.json() == {"detail": f"Invalid limit: must be {bound} than or equal to {most}."}


@pytest.mark.parametrize("path", [*LISTS, "logs/filter"])
def test_a_page_beyond_all_pages_is_empty(client: httpx.Client, path: str) -> None:
    page = client.post(path, json={"page": HUGE} if path.endswith("paginate") else {"offset": HUGE})
    assert page.status_code == 200
    assert (page.json()["results"] if path.endswith("paginate") else page.json()) == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("flow_runs/", NEW_FLOW_RUN),
        ("task_runs/", NEW_TASK_RUN | {"flow_run_id": str(uuid4())}),
    ],
)
def test_what_refers_to_nothing_conflicts_and_is_not_made(
    service: Service, client: httpx.Client, path: str, body: Any
) -> None:
    before = count_events(service.conninfo)
    answer = client.post(path, json=body)
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith("Data integrity conflict.")
    assert count_events(service.conninfo) == before


def test_nobody_empties_a_ledger_that_does_not_allow_it(service: Service, client: httpx.Client) -> None:
    assert client.post("flows/", json={"name": "kept"}).is_success
    before = count_events(service.conninfo)
    answer = client.post("admin/database/clear", json={"confirm": True})
    assert answer.status_code == 403
    assert "FLOWLEDGER_ALLOW_CLEAR" in answer.json()["detail"]
    assert count_events(service.conninfo) == before > 0
