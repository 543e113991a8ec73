"""Bodies that no endpoint can take: each is refused with 4xx, says what was wrong, and writes nothing."""

import json
import socket
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.app import ENDPOINTS
from api.openapi import describe
from tests.acceptance.conftest import Service
from tests.checks import check_ledger
from tests.support import strict_json
from tests.support.descriptions import Operation, operations
from tests.support.one_of_each import address_of, make_one_of_each
from tests.support.stored_events import count_events

LIMIT = 4 * 1024 * 1024
DEEP = 100_000
WITH_BODY = [operation for operation in operations(describe(list(ENDPOINTS))) if operation.schema is not None]

NO_JSON: dict[str, bytes] = {
    "half an object": b'{"name":',
    "half a list": b"[",
    "a word": b"nope",
    "single quotes": b"{'name': 'x'}",
    "a trailing comma": b'{"name": "x",}',
    "two values": b"{} {}",
    "a comment": b"{} // no",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "bytes that are no UTF-8": b"\xff\xfe\xfd",
    "bytes in a string that are no UTF-8": b'{"name": "a\xffb"}',
    "an encoded surrogate": b'{"name": "a\xed\xa0\x80b"}',
    "half an encoded character": b'{"name": "a\xf0\x9f',
    "a lone leading surrogate": b'{"name": "a\\ud800b"}',
    "a lone trailing surrogate": b'{"name": "a\\udc00b"}',
    "a raw NUL in a string": b'{"name": "a\0b"}',
    "a raw NUL": b"\0",
    "a raw line break in a string": b'{"name": "a\nb"}',
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "a deep value in an object": b'{"parameters": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "an integer of 5,000 digits": b'{"limit": ' + b"1" * 5000 + b"}",
    "a number with a leading zero": b'{"limit": 01}',
    "Infinity": b'{"limit": Infinity}',
    "NaN": b'{"parameters": {"a": NaN}}',
}

WRONG_JSON: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "a number": b"1",
    "a text": b'"name"',
    "a list of numbers": b"[1]",
    "a NUL in a string": b'{"name": "a\\u0000b", "a": "a\\u0000b"}',
    "a NUL in a key": b'{"a\\u0000b": "c"}',
    "a NUL deep inside": b'{"parameters": {"a": [{"b": "\\u0000"}]}, "labels": {"a": "\\u0000"}, "a": "\\u0000"}',
    "a NUL behind a backslash": b'{"name": "a\\\\\\u0000", "a": "a\\\\\\u0000"}',
    "a number beyond the largest": b'{"parameters": {"a": 1e999}, "a": 1e999}',
    "a number below the smallest": b'{"parameters": {"a": -1e999}, "a": -1e999}',
    "a long number beyond the largest": b'{"parameters": {"a": ' + b"1" * 250 + b'e99}, "a": ' + b"1" * 250 + b"e99}",
}


@pytest.fixture(scope="module")
def ids(client: httpx.Client) -> dict[str, str]:
    return make_one_of_each(client)


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
def test_a_body_that_cannot_be_read_is_refused_and_nothing_written(
    service: Service, client: httpx.Client, ids: dict[str, str], operation: Operation
) -> None:
    before = count_events(service.conninfo)
    address = address_of(client, operation, ids)
    wrong = {}
    for name, body in {**NO_JSON, **WRONG_JSON}.items():
        answer = client.request(operation.method, address, content=body)
        problem = problem_of(answer)
        if problem is not None:
            wrong[name] = problem
    assert wrong == {}
    assert count_events(service.conninfo) == before


def problem_of(answer: httpx.Response) -> str | None:
    """What is not right about the answer to a body that cannot be taken."""
    if answer.status_code != 422:
        return f"status {answer.status_code}: {answer.text[:200]}"
    try:
        said = strict_json.loads(answer.text)
    except ValueError as error:
        return f"the answer is no JSON: {error}"
    if said.keys() != {"exception_message", "exception_detail", "request_body"}:
        return f"other fields: {sorted(said)}"
    if not all(detail.keys() >= {"type", "loc", "msg"} and detail["msg"] for detail in said["exception_detail"]):
        return f"no explanation: {said['exception_detail']}"
    return None if said["exception_detail"] else "no explanation"


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "not announced"])
def test_a_body_that_is_too_large_is_refused(
    service: Service, client: httpx.Client, ids: dict[str, str], operation: Operation, announced: bool
) -> None:
    before = count_events(service.conninfo)
    body = json.dumps({"name": "x" * LIMIT}).encode()
    content = body if announced else chunks(body)
    answer = client.request(operation.method, address_of(client, operation, ids), content=content)
    assert answer.status_code == 413
    assert answer.json() == {"detail": f"The request body is larger than {LIMIT} bytes."}
    assert count_events(service.conninfo) == before


def chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 1 << 16):
        yield body[start : start + (1 << 16)]


def test_a_body_of_just_the_largest_size_is_taken(client: httpx.Client, ids: dict[str, str]) -> None:
    empty = json.dumps({"flow_id": ids["flows"], "parameters": {"a": ""}})
    body = empty.replace('""', f'"{"x" * (LIMIT - len(empty))}"')
    assert len(body) == LIMIT
    assert client.post("flow_runs/", content=body).status_code == 201


@pytest.mark.parametrize("length", ["-1", "many", "9" * 30, "1, 2"])
def test_a_length_that_makes_no_sense_ends_in_no_server_error(service: Service, length: str) -> None:
    request = f"POST /api/flows/ HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
    with socket.create_connection(service.server.address, timeout=10) as connection:
        connection.sendall(request.encode())
        answer = connection.recv(1000)
    assert answer[:9] == b"HTTP/1.1 "
    assert 400 <= int(answer[9:12]) < 500


def test_a_client_that_goes_away_in_the_middle_of_its_body_leaves_no_trace(
    service: Service, client: httpx.Client
) -> None:
    before = count_events(service.conninfo)
    with socket.create_connection(service.server.address, timeout=10) as connection:
        connection.sendall(b'POST /api/flows/ HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n{"name": "half"}')
    assert client.get("flows/name/half").status_code == 404
    assert count_events(service.conninfo) == before
    assert "Traceback" not in service.server.log.read_text()


LOOKS_BAD: dict[str, dict[str, Any]] = {
    "a backslash and u0000": {"text": "\\u0000"},
    "the same in a key": {"\\u0000": "\\\\u0000"},
    "words for numbers that are none": {"text": "NaN Infinity 1e999 -Infinity"},
    "rare characters": {"text": "\U0001f600 \u2028 \x7f \x01 \ufffe \u0301"},
    "nothing": {"": ""},
    "integers of many digits": {"number": 10**300, "other": -(10**4000)},
    "the ends of the numbers": {"number": 1.7976931348623157e308, "small": 5e-324, "tiny": 0.1 + 0.2},
    "integers that are no floats": {"number": 2**63, "other": 2**53 + 1, "float": 1e22},
    "a hundred levels": json.loads('{"a":' * 100 + "[]" + "}" * 100),
}


@pytest.mark.parametrize("parameters", LOOKS_BAD.values(), ids=LOOKS_BAD)
def test_values_that_only_look_bad_are_kept_as_they_are(
    service: Service, client: httpx.Client, ids: dict[str, str], parameters: dict[str, Any]
) -> None:
    made = client.post("flow_runs/", json={"flow_id": ids["flows"], "parameters": parameters})
    assert made.status_code == 201, made.text
    assert strict_json.loads(made.text)["parameters"] == parameters
    listed = client.post("flow_runs/filter", json={"flow_runs": {"id": {"any_": [made.json()["id"]]}}})
    assert strict_json.loads(listed.text)[0]["parameters"] == parameters
    check_ledger(service.conninfo)


def test_long_texts_are_kept_as_they_are(service: Service, client: httpx.Client, ids: dict[str, str]) -> None:
    # Random, so that no compression makes them fit where they would not.
    long = "".join(uuid4().hex for _ in range(5_000))
    run = {"flow_id": ids["flows"], "name": long, "tags": [long], "flow_version": long, "idempotency_key": long}
    made = client.post("flow_runs/", json=run)
    assert made.status_code == 201, made.text
    assert made.json().items() >= run.items()
    assert client.post("flow_runs/", json=run).json()["id"] == made.json()["id"]
    task = {"flow_run_id": made.json()["id"], "task_key": long, "dynamic_key": long, "tags": [long], "name": long}
    assert [client.post("task_runs/", json=task).status_code for _ in range(2)] == [201, 200]
    client.headers["X-Request-Id"] = long[:10_000]
    renamed = client.patch(f"flow_runs/{made.json()['id']}", json={"name": long + "!"})
    del client.headers["X-Request-Id"]
    assert renamed.status_code == 204
    check_ledger(service.conninfo)


def test_names_of_flows_have_a_length_that_is_said(client: httpx.Client) -> None:
    assert client.post("flows/", json={"name": "\U0001f600" * 500}).status_code == 201
    refused = client.post("flows/", json={"name": "x" * 501})
    assert refused.status_code == 422
    assert "500" in refused.json()["exception_detail"][0]["msg"]


@pytest.mark.parametrize("delay", [10**15, 10**40, 1e300, -1, -(10**15)])
@pytest.mark.parametrize("kind", ["flow_runs", "task_runs"])
def test_a_run_with_an_odd_retry_delay_can_fail(
    client: httpx.Client, ids: dict[str, str], kind: str, delay: float
) -> None:
    policy = {"retries": 1, "retry_delay": delay if isinstance(delay, int) else None, "retry_delay_seconds": delay}
    new: dict[str, Any] = {"empirical_policy": policy, "state": {"type": "RUNNING"}}
    new |= {"flow_id": ids["flows"]} if kind == "flow_runs" else {"task_key": "k", "dynamic_key": uuid4().hex}
    made = client.post(f"{kind}/", json=new)
    assert made.status_code == 201, made.text
    answer = client.post(f"{kind}/{made.json()['id']}/set_state", json={"state": {"type": "FAILED"}})
    assert (answer.status_code, answer.json()["status"]) == (201, "REJECT")
    assert datetime.fromisoformat(answer.json()["state"]["state_details"]["scheduled_time"])
