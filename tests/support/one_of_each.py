"""One thing of each kind, and the addresses of operations on them."""

from uuid import uuid4

import httpx

from tests.support.descriptions import Operation


def make_one_of_each(client: httpx.Client) -> dict[str, str]:
    """The ids of one thing of each kind, by the word before them in a path."""
    flow = client.post("flows/", json={"name": "one of each"}).json()["id"]
    deployment = client.post("deployments/", json={"name": "one of each", "flow_id": flow}).json()["id"]
    flow_run = client.post("flow_runs/", json={"flow_id": flow}).json()["id"]
    # Of these there may be one by that name already, which is no answer to a creation.
    name = f"one_of_each_{uuid4().hex}"
    block_type = client.post("block_types/", json={"name": name, "slug": name}).json()["id"]
    of_name = {"block_type_id": block_type, "fields": {"title": name}}
    schema = client.post("block_schemas/", json=of_name).json()["id"]
    of_type = {"block_type_id": block_type, "block_schema_id": schema}
    task_run = {"flow_run_id": flow_run, "task_key": "key", "dynamic_key": "0"}
    return {
        "flows": flow,
        "deployments": deployment,
        "flow_runs": flow_run,
        "block_types": block_type,
        "block_schemas": schema,
        "block_documents": client.post("block_documents/", json={"name": "one", **of_type}).json()["id"],
        "variables": client.post("variables/", json={"name": name, "value": 1}).json()["id"],
        "saved_searches": client.put("saved_searches/", json={"name": "one of each"}).json()["id"],
        "artifacts": client.post("artifacts/", json={"key": "one-of-each"}).json()["id"],
        "task_runs": client.post("task_runs/", json=task_run).json()["id"],
        "flow_run_notification_policies": client.post(
            "flow_run_notification_policies/", json={"url": "https://one.invalid/"}
        ).json()["id"],
        "deliveries": str(uuid4()),
        "work_queues": client.post("work_queues/", json={"name": name}).json()["id"],
    }


def address_of(client: httpx.Client, operation: Operation, ids: dict[str, str]) -> httpx.URL:
    """The address of an operation on what there is."""
    words = operation.path.split("/")
    path = "/".join(ids[words[at - 1]] if word == "{id}" else word for at, word in enumerate(words))
    return client.base_url.copy_with(path=path)
