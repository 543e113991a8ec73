"""The BlockSchema aggregate: which fields the documents of a block type have, in one version of the client's code.

A schema is told by its checksum, which clients compute from its fields and ask for before they register anything.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from uuid import UUID

from pydantic import Field

from domain.aggregate import Aggregate
from domain.events import Event

UNVERSIONED = "non-versioned"
"""The version of a schema whose client does not say. Source: server 3.9.1."""

DEFINITIONS = "#/definitions/"
SECRETS = "secret_fields"


class BlockSchemaCreated(Event):
    TOPIC: ClassVar[str] = "BlockSchema.Created"

    block_type_id: UUID
    checksum: str
    version: str
    fields: dict[str, Any]
    capabilities: list[str] = Field(default_factory=list)


class BlockSchemaDeleted(Event):
    TOPIC: ClassVar[str] = "BlockSchema.Deleted"


class BlockSchema(Aggregate):
    """A block schema. Checksum and version together are unique among the schemas that were not deleted."""

    __slots__ = ("block_type_id", "capabilities", "checksum", "fields", "version_name")

    kind = "Block schema"

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.block_type_id: UUID = id
        self.checksum = ""
        self.version_name = UNVERSIONED
        self.fields: dict[str, Any] = {}
        self.capabilities: list[str] = []

    def fold(self, event: Event) -> None:
        match event:
            case BlockSchemaCreated():
                self.block_type_id = event.block_type_id
                self.checksum = event.checksum
                self.version_name = event.version
                self.fields = event.fields
                self.capabilities = event.capabilities
            case BlockSchemaDeleted():
                self.deleted = True
            case _:
                super().fold(event)


def checksum_of(fields: Mapping[str, Any]) -> str:
    """The checksum of a schema: SHA-256 over its JSON with sorted keys, as `sha256:<hex>`.

    Which fields are secret does not count, nor do definitions of other blocks, which are schemas of their own.
    Source: what clients 2.7.12, 2.20.25 and 3.9.1 ask for.
    """
    counted: dict[str, Any] = _without_secrets(fields)
    definitions = counted.pop("definitions", None)
    if definitions:
        used = dict(_used_definitions({**counted, "definitions": definitions}, definitions, set()))
        if used:
            counted["definitions"] = used
    text = json.dumps([[counted], {}], sort_keys=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _without_secrets(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: _without_secrets(content) for key, content in value.items() if key != SECRETS}


def _used_definitions(
    value: Any, definitions: Mapping[str, Any], seen: set[str]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The definitions that are referred to, directly or through others, less those of blocks."""
    for reference in _references(value):
        name = reference.replace(DEFINITIONS, "")
        definition = definitions.get(name)
        if name in seen or not isinstance(definition, Mapping) or definition.get("block_type_slug") is not None:
            continue
        seen.add(name)
        yield name, definition
        yield from _used_definitions(definition, definitions, seen)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, content in value.items():
            if key == "$ref" and isinstance(content, str):
                yield content
            else:
                yield from _references(content)
    elif isinstance(value, list):
        for content in value:
            yield from _references(content)
