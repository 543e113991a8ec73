"""The checksum of a block schema is the one that clients compute and ask for."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from domain.block_schema import checksum_of

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "block_schema_checksums.json").read_text())


@pytest.mark.parametrize(
    "recorded", RECORDED, ids=lambda recorded: f"{recorded['client']}-{recorded['fields']['title']}"
)
def test_a_checksum_is_that_of_the_client(recorded: dict[str, Any]) -> None:
    before = deepcopy(recorded["fields"])
    assert checksum_of(recorded["fields"]) == recorded["checksum"]
    assert recorded["fields"] == before


def test_which_fields_are_secret_does_not_count() -> None:
    fields = RECORDED[0]["fields"]
    assert checksum_of({**fields, "secret_fields": ["everything"]}) == checksum_of(fields)


def test_definitions_that_refer_to_each_other_are_counted_once() -> None:
    around = {"A": {"properties": {"b": {"$ref": "#/definitions/B"}}}, "B": {"x": [{"$ref": "#/definitions/A"}]}}
    fields = {"properties": {"a": {"$ref": "#/definitions/A"}}, "definitions": {**around, "C": {}}}
    assert checksum_of(fields) == checksum_of({**fields, "definitions": around})
