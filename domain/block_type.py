"""The BlockType aggregate: a kind of configuration that clients keep, such as where results are stored."""

from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, field_serializer

from domain.aggregate import Aggregate
from domain.events import Event


class BlockTypeDescription(BaseModel):
    """What a block type says of itself to people; null is a value, not an absence."""

    model_config = ConfigDict(frozen=True)

    logo_url: str | None = None
    documentation_url: str | None = None
    description: str | None = None
    code_example: str | None = None


class BlockTypeCreated(Event):
    TOPIC: ClassVar[str] = "BlockType.Created"

    name: str
    slug: str
    description: BlockTypeDescription


class BlockTypeUpdated(Event):
    """A caller changed those parts of the description that are set in `changes`."""

    TOPIC: ClassVar[str] = "BlockType.Updated"

    changes: BlockTypeDescription

    @field_serializer("changes")
    def _only_what_was_set(self, changes: BlockTypeDescription) -> dict[str, Any]:
        return changes.model_dump(mode="json", exclude_unset=True)


class BlockTypeDeleted(Event):
    TOPIC: ClassVar[str] = "BlockType.Deleted"


class BlockType(Aggregate):
    """A block type. Its slug is unique among the block types that were not deleted."""

    __slots__ = ("description", "name", "slug")

    kind = "Block type"

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.name = ""
        self.slug = ""
        self.description = BlockTypeDescription()

    def fold(self, event: Event) -> None:
        match event:
            case BlockTypeCreated():
                self.name = event.name
                self.slug = event.slug
                self.description = event.description
            case BlockTypeUpdated():
                self.description = _changed(self.description, event.changes)
            case BlockTypeDeleted():
                self.deleted = True
            case _:
                super().fold(event)


def _changed(before: BlockTypeDescription, changes: BlockTypeDescription) -> BlockTypeDescription:
    return before.model_copy(update={field: getattr(changes, field) for field in changes.model_fields_set})
