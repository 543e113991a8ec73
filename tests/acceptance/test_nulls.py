"""Null wherever the description allows it: what is answered, what is read and what the events make are one."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import psycopg
import pytest

from api.app import ENDPOINTS
from api.openapi import describe
from tests.acceptance.conftest import Service
from tests.checks import live_rows, rebuilt_rows, stored_events

DESCRIPTION = describe(list(ENDPOINTS))
SCHEMAS = DESCRIPTION["components"]["schemas"]
NUMBERS = count()
Schema = dict[str, Any]
Path = tuple[str, ...]


def schema_of(path: str, method: str) -> Schema:
    operation = DESCRIPTION["paths"][path][method]
    schema: Schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return resolved(schema)


def resolved(schema: Schema) -> Schema:
    """The schema itself in the place of a reference to it, and the object in the place of `object or null`."""
    for one in schema.get("anyOf", ()):
        if "$ref" in one:
            return resolved(one)
    return SCHEMAS[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def nullable(schema: Schema, before: Path = ()) -> Iterator[Path]:
    """The fields of an object, and of the objects in it, that may be null."""
    for name, field in schema.get("properties", {}).items():
        path = (*before, name)
        if any(one.get("type") == "null" for one in field.get("anyOf", ())):
            yield path
        yield from nullable(resolved(field), path)


def with_null(body: dict[str, Any], path: Path) -> dict[str, Any]:
    """The body with null in one place; the objects on the way to it hold what they must."""
    name, *rest = path
    inner = body.get(name) or ({"type": "RUNNING"} if name == "state" else {})
    return body | {name: with_null(inner, tuple(rest)) if rest else None}


def cases() -> Iterator[Any]:
    for kind in ("flows", "flow_runs", "task_runs"):
        for method, address in (("post", f"/api/{kind}/"), ("patch", f"/api/{kind}/{{id}}")):
            for path in nullable(schema_of(address, method)):
                yield pytest.param(kind, method, path, id=f"{method} {kind} {'.'.join(path)}")


@pytest.fixture(scope="module")
def flow_id(client: httpx.Client) -> str:
    return str(client.post("flows/", json={"name": "nulls"}).json()["id"])


@pytest.mark.parametrize(("kind", "method", "path"), list(cases()))
def test_null_is_kept_as_it_is_answered(
    service: Service, client: httpx.Client, flow_id: str, kind: str, method: str, path: Path
) -> None:
    new: dict[str, Any] = {
        "flows": {"name": f"flow {next(NUMBERS)}"},
        "flow_runs": {"flow_id": flow_id},
        "task_runs": {"task_key": "key", "dynamic_key": "0"},
    }[kind]
    made = client.post(f"{kind}/", json=with_null(new, path) if method == "post" else new)
    assert made.status_code == 201, made.text
    if method == "patch":
        assert client.patch(f"{kind}/{made.json()['id']}", json=with_null({}, path)).status_code == 204
    assert row_of(service, kind, made.json()["id"]) == row_of_its_events(service, kind, made.json()["id"])


def row_of(service: Service, kind: str, id: str) -> dict[str, Any]:
    """The read row of one thing as it stands."""
    with psycopg.connect(service.conninfo) as connection:
        return next(row for row in live_rows(connection)[kind] if row["id"] == id)


def row_of_its_events(service: Service, kind: str, id: str) -> dict[str, Any]:
    """The read row that its events make."""
    with psycopg.connect(service.conninfo) as connection:
        stream = [event for event in stored_events(connection) if str(event.originator_id) == id]
    (row,) = rebuilt_rows(stream)[kind]
    return row
