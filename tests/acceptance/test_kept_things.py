"""Blocks, variables, saved searches and artifacts, as clients keep and change them; and flows that are deleted."""

from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.acceptance.conftest import Service
from tests.checks import check_ledger

MASK = "********"
MARKER = "a-secret-that-must-not-stand-anywhere"


@pytest.fixture
def block_type(client: httpx.Client) -> dict[str, str]:
    """A block type with a schema in which `password` is secret."""
    slug = f"type-{uuid4().hex}"
    made = client.post("block_types/", json={"name": slug, "slug": slug})
    assert made.status_code == 201
    fields = {"title": slug, "properties": {"password": {}, "inner": {}}, "secret_fields": ["password"]}
    schema = client.post("block_schemas/", json={"block_type_id": made.json()["id"], "fields": fields})
    assert schema.status_code == 201
    assert schema.json()["block_type"]["slug"] == slug
    return {"block_type_id": made.json()["id"], "block_schema_id": schema.json()["id"], "slug": slug}


def keep(client: httpx.Client, kind: dict[str, str], name: str, data: dict[str, Any]) -> httpx.Response:
    ids = {field: kind[field] for field in ("block_type_id", "block_schema_id")}
    return client.post("block_documents/", json={"name": name, "data": data, **ids})


def read(client: httpx.Client, id: str, *, secrets: bool) -> dict[str, Any]:
    answer = client.get(f"block_documents/{id}", params={"include_secrets": str(secrets).lower()})
    assert answer.status_code == 200
    document: dict[str, Any] = answer.json()
    return document


def test_secrets_are_shown_only_to_those_who_ask_for_them(client: httpx.Client, block_type: dict[str, str]) -> None:
    made = keep(client, block_type, "one", {"password": MARKER, "url": "u"})
    assert made.status_code == 201
    assert made.json()["data"] == {"password": MASK, "url": "u"}
    assert read(client, made.json()["id"], secrets=False)["data"] == {"password": MASK, "url": "u"}
    assert read(client, made.json()["id"], secrets=True)["data"] == {"password": MARKER, "url": "u"}


def test_no_secret_stands_in_the_database(service: Service, client: httpx.Client, block_type: dict[str, str]) -> None:
    assert keep(client, block_type, "hidden", {"password": MARKER}).status_code == 201
    with psycopg.connect(service.conninfo) as connection:
        tables = connection.execute(
            "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables"
            " WHERE schemaname IN ('ledger', 'read', 'telemetry')"
        ).fetchall()
        for (table,) in tables:
            found = connection.execute(f"SELECT 1 FROM {table} AS row WHERE row::text LIKE %s", [f"%{MARKER}%"])  # noqa: S608
            assert found.fetchone() is None, table


def test_a_block_within_a_block_is_shown_in_its_place(client: httpx.Client, block_type: dict[str, str]) -> None:
    inner = keep(client, block_type, "inner", {"password": "p"}).json()["id"]
    outer = keep(client, block_type, "outer", {"inner": {"$ref": {"block_document_id": inner}}}).json()["id"]
    shown = read(client, outer, secrets=True)
    assert shown["data"] == {"inner": {"password": "p"}}
    assert shown["block_document_references"]["inner"]["block_document"]["id"] == inner
    assert read(client, outer, secrets=False)["data"] == {"inner": {"password": MASK}}


def test_blocks_in_a_circle_can_be_read(client: httpx.Client, block_type: dict[str, str]) -> None:
    id = keep(client, block_type, "circle", {}).json()["id"]
    changed = client.patch(f"block_documents/{id}", json={"data": {"inner": {"$ref": {"block_document_id": id}}}})
    assert changed.status_code == 204
    assert "inner" in read(client, id, secrets=True)["data"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"data": {"url": "v"}}, {"password": "p", "url": "v"}),
        ({"data": {"password": MASK, "url": "v"}}, {"password": "p", "url": "v"}),
        ({"data": {"password": "q"}}, {"password": "q", "url": "u"}),
        ({"data": {"url": "v"}, "merge_existing_data": False}, {"url": "v"}),
    ],
)
def test_changes_are_merged_and_a_mask_is_no_secret(
    client: httpx.Client, block_type: dict[str, str], change: dict[str, Any], expected: dict[str, Any]
) -> None:
    id = keep(client, block_type, "changed", {"password": "p", "url": "u"}).json()["id"]
    assert client.patch(f"block_documents/{id}", json=change).status_code == 204
    assert read(client, id, secrets=True)["data"] == expected


def test_what_does_not_fit_together_is_refused(client: httpx.Client, block_type: dict[str, str]) -> None:
    assert keep(client, block_type, "taken", {}).status_code == 201
    assert keep(client, block_type, "taken", {}).status_code == 409
    assert (
        keep(client, block_type, "dangling", {"inner": {"$ref": {"block_document_id": str(uuid4())}}}).status_code
        == 409
    )
    assert keep(client, block_type, "nothing", {"inner": {"$ref": {}}}).status_code == 400
    assert keep(client, {**block_type, "block_schema_id": str(uuid4())}, "no-schema", {}).status_code == 409
    assert client.post("block_documents/", json={**block_type, "name": None}).status_code == 422
    taken = client.post("block_types/", json={"name": "again", "slug": block_type["slug"]})
    assert taken.json() == {"detail": 'Block type with name "again" already exists'}
    assert client.post("block_types/", json={"name": "Prefect mine", "slug": "mine"}).status_code == 403


def test_a_schema_is_registered_once_for_each_version(client: httpx.Client, block_type: dict[str, str]) -> None:
    body = {"block_type_id": block_type["block_type_id"], "fields": {"title": block_type["slug"], "a": 1}}
    first = client.post("block_schemas/", json={**body, "version": "1"})
    assert (first.status_code, client.post("block_schemas/", json={**body, "version": "1"}).status_code) == (201, 200)
    second = client.post("block_schemas/", json={**body, "version": "2"}).json()
    path = f"block_schemas/checksum/{second['checksum']}"
    assert client.get(path).json()["id"] == second["id"]
    assert client.get(path, params={"version": "1"}).json()["id"] == first.json()["id"]
    assert client.get(path, params={"version": "3"}).status_code == 404


def test_a_block_type_goes_with_all_that_is_of_it(client: httpx.Client, block_type: dict[str, str]) -> None:
    id = keep(client, block_type, "goes", {}).json()["id"]
    by_name = f"block_types/slug/{block_type['slug']}/block_documents/name/goes"
    assert client.get(by_name).json()["id"] == id
    assert client.delete(f"block_schemas/{block_type['block_schema_id']}").status_code == 409
    assert client.delete(f"block_types/{block_type['block_type_id']}").status_code == 204
    assert client.get(f"block_documents/{id}").status_code == 404
    assert client.get(f"block_schemas/{block_type['block_schema_id']}").status_code == 404
    assert client.get(f"block_types/{block_type['block_type_id']}").status_code == 404


def test_documents_are_listed_without_those_that_have_no_name(client: httpx.Client, block_type: dict[str, str]) -> None:
    named = [keep(client, block_type, name, {}).json()["id"] for name in ("b", "a")]
    unnamed = client.post("block_documents/", json={**_ids(block_type), "is_anonymous": True}).json()
    assert unnamed["name"].startswith("anonymous-")
    asked = {"block_types": {"slug": {"any_": [block_type["slug"]]}}}
    listed = client.post("block_documents/filter", json=asked).json()
    assert [document["id"] for document in listed] == list(reversed(named))
    by_type = client.post("block_documents/filter", json={**asked, "sort": "BLOCK_TYPE_AND_NAME_ASC"}).json()
    assert [document["id"] for document in by_type] == list(reversed(named))
    every = {**asked, "block_documents": {"is_anonymous": None}}
    assert client.post("block_documents/count", json=every).json() == 3
    assert len(client.get(f"block_types/slug/{block_type['slug']}/block_documents").json()) == 2


def _ids(block_type: dict[str, str]) -> dict[str, str]:
    return {field: block_type[field] for field in ("block_type_id", "block_schema_id")}


def test_a_block_type_is_recorded_as_changed_only_where_it_says_something_new(
    service: Service, client: httpx.Client, block_type: dict[str, str]
) -> None:
    for _ in range(3):
        changed = client.patch(f"block_types/{block_type['block_type_id']}", json={"description": "what it is for"})
        assert changed.status_code == 204
    with psycopg.connect(service.conninfo) as connection:
        found = connection.execute(
            "SELECT count(*) FROM ledger.events WHERE originator_id = %s", [block_type["block_type_id"]]
        )
        assert found.fetchone() == (2,)


def test_a_variable_is_made_changed_renamed_and_deleted(client: httpx.Client) -> None:
    name, other = f"v_{uuid4().hex}", f"w_{uuid4().hex}"
    made = client.post("variables/", json={"name": name, "value": {"a": [1, None]}, "tags": ["t"]})
    assert (made.status_code, made.json()["value"]) == (201, {"a": [1, None]})
    assert client.post("variables/", json={"name": name, "value": 1}).status_code == 409
    assert client.post("variables/", json={"name": other, "value": 1}).status_code == 201
    assert client.patch(f"variables/name/{name}", json={"name": other}).status_code == 409
    assert client.patch(f"variables/name/{name}", json={"value": None, "tags": None}).status_code == 204
    assert client.get(f"variables/name/{name}").json() | {"updated": ""} == {
        **made.json(),
        "value": None,
        "updated": "",
    }
    assert client.delete(f"variables/name/{other}").status_code == 204
    assert client.patch(f"variables/{made.json()['id']}", json={"name": other}).status_code == 204
    assert client.get(f"variables/name/{name}").status_code == 404
    asked = {"variables": {"name": {"like_": other[:20]}, "tags": {"all_": ["t"]}}}
    assert [found["name"] for found in client.post("variables/filter", json=asked).json()] == [other]
    assert client.post("variables/count", json=asked).json() == 1
    assert client.post("variables/", json={"name": "long", "value": "x" * 5000}).status_code == 422


def test_a_search_saved_again_is_the_same_search(client: httpx.Client) -> None:
    name = uuid4().hex
    line = {"object": "flow", "property": "name", "type": "string", "operation": "equals", "value": None}
    first = client.put("saved_searches/", json={"name": name, "filters": []})
    again = client.put("saved_searches/", json={"name": name, "filters": [line]})
    assert (first.status_code, again.status_code) == (201, 200)
    assert client.get(f"saved_searches/{first.json()['id']}").json()["filters"] == [line]
    assert name in [found["name"] for found in client.post("saved_searches/filter", json={}).json()]
    assert client.delete(f"saved_searches/{first.json()['id']}").status_code == 204
    assert client.get(f"saved_searches/{first.json()['id']}").status_code == 404


def test_the_newest_artifact_of_a_key_is_its_latest_until_it_is_deleted(client: httpx.Client) -> None:
    key = f"key-{uuid4().hex * 20}"
    run = client.post("flow_runs/", json={"flow_id": client.post("flows/", json={"name": key[:9]}).json()["id"]}).json()
    ids = [
        client.post("artifacts/", json={"key": key, "data": data, "flow_run_id": run["id"]}).json()["id"]
        for data in ("one", {"two": None})
    ]
    of_run = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    assert [found["id"] for found in client.post("artifacts/filter", json=of_run).json()] == list(reversed(ids))
    (latest,) = client.post("artifacts/latest/filter", json=of_run).json()
    assert (latest["latest_id"], latest["data"], latest["key"]) == (ids[1], {"two": None}, key)
    assert client.get(f"artifacts/{key}/latest").json()["id"] == ids[1]
    assert client.patch(f"artifacts/{ids[1]}", json={"data": "changed"}).status_code == 204
    assert client.get(f"artifacts/{ids[1]}").json()["data"] == "changed"
    assert client.delete(f"artifacts/{ids[1]}").status_code == 204
    assert client.get(f"artifacts/{key}/latest").json()["id"] == ids[0]
    assert client.delete(f"artifacts/{ids[0]}").status_code == 204
    assert client.post("artifacts/latest/count", json=of_run).json() == 0
    assert client.get(f"artifacts/{key}/latest").status_code == 404
    assert client.delete(f"artifacts/{ids[0]}").status_code == 404


def test_automations_are_refused_and_never_found(client: httpx.Client) -> None:
    assert client.post("automations/", json={"name": "a"}).status_code == 501
    assert client.post("automations/filter", json={"automations": None}).json() == []
    assert client.get(f"automations/{uuid4()}").status_code == 404


def test_a_flow_goes_with_its_deployments_and_runs(service: Service, client: httpx.Client) -> None:
    name = uuid4().hex
    flow = client.post("flows/", json={"name": name}).json()["id"]
    deployment = client.post("deployments/", json={"name": "d", "flow_id": flow}).json()["id"]
    runs = [client.post("flow_runs/", json={"flow_id": flow}).json()["id"] for _ in range(60)]
    assert client.delete(f"flows/{flow}").status_code == 204
    assert client.get(f"flows/{flow}").status_code == 404
    assert client.get(f"deployments/{deployment}").status_code == 404
    assert client.post("flow_runs/count", json={"flow_runs": {"id": {"any_": runs}}}).json() == 0
    assert client.delete(f"flows/{flow}").status_code == 404
    anew = client.post("flows/", json={"name": name})
    assert anew.status_code == 201
    deleted = client.post("flows/bulk_delete", json={"flows": {"name": {"any_": [name]}}}).json()
    assert deleted == {"deleted": [anew.json()["id"]]}
    check_ledger(service.conninfo)
