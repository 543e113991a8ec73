"""What a recorded request about blocks, variables or artifacts needs to be there."""

import json
from pathlib import Path
from typing import Any

import httpx

from tests.support.samples import Sample

CHECKSUMS = Path(__file__).parents[1] / "data" / "block_schema_checksums.json"
ABOUT_BLOCKS = "block_"
ABOUT_VARIABLES = "variables"
ABOUT_ARTIFACTS = "artifacts"
MAKES_ONE = frozenset({"POST_variables", "POST_block_documents"})
"""Recordings of a creation, before which there is none of the name."""


def make_kept_things(client: httpx.Client, sample: Sample, flow_run_id: str) -> dict[str, str]:
    """Make one block with type and schema, one variable, one artifact, as the sample needs them; give their ids.

    Under `checksum` is that of the schema.
    """
    ids: dict[str, str] = {}
    if ABOUT_BLOCKS in sample.name:
        ids |= _make_block(client, sample)
    if ABOUT_VARIABLES in sample.name and (sample.name not in MAKES_ONE or sample.status == 409):
        made = client.post("variables/", json={"name": _variable_name(sample), "value": _value(sample)})
        ids["variables"] = made.json()["id"] if sample.status != 404 else ""
        if sample.status == 404:
            assert client.delete(f"variables/{made.json()['id']}").status_code == 204
    if ABOUT_ARTIFACTS in sample.name:
        key = (((sample.body or {}).get("artifacts") or {}).get("key") or {}).get("any_", ["key"])[0]
        made = client.post("artifacts/", json={"key": key, "type": "markdown", "data": "#", "flow_run_id": flow_run_id})
        ids["artifacts"] = made.json()["id"]
    return ids


def _variable_name(sample: Sample) -> str:
    return str(sample.body["name"] if sample.name == "POST_variables" else sample.path.rpartition("/")[2])


def _value(sample: Sample) -> Any:
    return sample.answer[0]["value"] if isinstance(sample.answer, list) else "v1"


def _make_block(client: httpx.Client, sample: Sample) -> dict[str, str]:
    slug = client.post("block_types/", json={"name": "Secret", "slug": "secret", "logo_url": "l"}).json()["id"]
    fields = {**json.loads(CHECKSUMS.read_text())[0]["fields"], "secret_fields": ["value"]}
    schema = client.post("block_schemas/", json={"block_type_id": slug, "fields": fields, "version": "3.9.1"}).json()
    ids = {"block_types": slug, "block_schemas": schema["id"], "checksum": schema["checksum"]}
    if sample.name not in MAKES_ONE:
        name = sample.path.rpartition("/")[2] if "/name/" in sample.path else "named"
        content = {"name": name, "data": {"value": "s"}, "block_type_id": slug, "block_schema_id": schema["id"]}
        ids["block_documents"] = client.post("block_documents/", json=content).json()["id"]
    return ids
