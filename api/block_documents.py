"""Putting block documents together: opened data, other documents in the place of fields, secrets hidden or shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic_core import from_json

from api.block_secrets import Sealer, hidden
from domain.block_document import BlockContent
from projections.blocks import StoredBlock

DEEPEST = 25
"""How deep documents stand within documents; beyond that, and in circles, nothing more is shown."""


class NoSuchReference(ValueError):
    """A field refers to another block document and does not say to which; `field` is its name."""

    def __init__(self, field: str) -> None:
        super().__init__(f"Received block reference without a block_document_id in key {field}")
        self.field = field


def content_of(data: Mapping[str, Any], sealer: Sealer) -> BlockContent:
    """What of a document's data is sealed, and which fields are other documents. Raises NoSuchReference."""
    own: dict[str, Any] = {}
    references: dict[str, UUID] = {}
    for name, value in data.items():
        if isinstance(value, Mapping) and "$ref" in value:
            references[name] = _referred(name, value["$ref"])
        else:
            own[name] = value
    return BlockContent(sealed=sealer.seal(own), references=references)


def _referred(name: str, reference: Any) -> UUID:
    try:
        return UUID(str(reference["block_document_id"]))
    except (TypeError, KeyError, ValueError, AttributeError):
        raise NoSuchReference(name) from None


@dataclass(frozen=True)
class Shown:
    """How documents are shown: out of which, opened by whom, with secrets or masks in their place."""

    blocks: Mapping[UUID, StoredBlock]
    sealer: Sealer
    with_secrets: bool

    def document(self, block: StoredBlock) -> dict[str, Any]:
        """The document by which the API shows a block. Raises WrongKey."""
        block_type, block_schema = from_json(block.block_type), from_json(block.block_schema)
        data, references = self._inside(block, DEEPEST)
        return {
            "id": block.id,
            "created": block.created,
            "updated": block.updated,
            "name": block.name,
            "data": data,
            "block_schema_id": block.block_schema_id,
            "block_schema": block_schema,
            "block_type_id": block.block_type_id,
            "block_type_name": block_type["name"],
            "block_type": block_type,
            "block_document_references": references,
            "is_anonymous": block.is_anonymous,
        }

    def _inside(self, block: StoredBlock, depth: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The data of a block with those of the blocks it refers to, and these by the names of fields."""
        data = self.sealer.open(block.sealed)
        if not self.with_secrets:
            data = hidden(data, secrets_of(block))
        references: dict[str, Any] = {}
        for name, id in block.references.items():
            inner = self.blocks.get(id)
            if inner is None or depth == 0:
                continue
            data[name], further = self._inside(inner, depth - 1)
            references[name] = {
                "block_document": {
                    "id": inner.id,
                    "name": inner.name,
                    "block_type": from_json(inner.block_type),
                    "is_anonymous": inner.is_anonymous,
                    "block_document_references": further,
                }
            }
        return data, references


def secrets_of(block: StoredBlock) -> list[str]:
    """The paths of the secret fields of a block."""
    paths: list[str] = from_json(block.block_schema)["fields"].get("secret_fields") or []
    return paths
