"""The BlockDocument aggregate: configuration that a client keeps under a name, such as a secret.

The ledger holds its data sealed: whoever asks encrypts it first, and only who has the key can read it.
"""

from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from domain.aggregate import Aggregate
from domain.events import Event


class BlockContent(BaseModel):
    """What a block document holds: its data as ciphertext, and other documents that stand in the place of fields."""

    model_config = ConfigDict(frozen=True)

    sealed: str
    references: dict[str, UUID] = Field(default_factory=dict)


class BlockDocumentCreated(Event):
    TOPIC: ClassVar[str] = "BlockDocument.Created"

    block_type_id: UUID
    block_schema_id: UUID
    name: str
    is_anonymous: bool
    content: BlockContent


class BlockDocumentUpdated(Event):
    """A caller gave a block document other data, perhaps under another schema of its type."""

    TOPIC: ClassVar[str] = "BlockDocument.Updated"

    block_schema_id: UUID
    content: BlockContent


class BlockDocumentDeleted(Event):
    TOPIC: ClassVar[str] = "BlockDocument.Deleted"


class BlockDocument(Aggregate):
    """A block document. Its name is unique among the documents of its type that were not deleted."""

    __slots__ = ("block_schema_id", "block_type_id", "content", "is_anonymous", "name")

    kind = "Block document"

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.block_type_id: UUID = id
        self.block_schema_id: UUID = id
        self.name = ""
        self.is_anonymous = False
        self.content = BlockContent(sealed="")

    def fold(self, event: Event) -> None:
        match event:
            case BlockDocumentCreated():
                self.block_type_id = event.block_type_id
                self.block_schema_id = event.block_schema_id
                self.name = event.name
                self.is_anonymous = event.is_anonymous
                self.content = event.content
            case BlockDocumentUpdated():
                self.block_schema_id = event.block_schema_id
                self.content = event.content
            case BlockDocumentDeleted():
                self.deleted = True
            case _:
                super().fold(event)
