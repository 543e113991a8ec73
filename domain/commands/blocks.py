"""What may be asked of block types, block schemas and block documents."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from domain import keys
from domain.aggregate import Aggregate
from domain.block_document import (
    BlockContent,
    BlockDocument,
    BlockDocumentCreated,
    BlockDocumentDeleted,
    BlockDocumentUpdated,
)
from domain.block_schema import BlockSchema, BlockSchemaCreated, BlockSchemaDeleted, checksum_of
from domain.block_type import BlockType, BlockTypeCreated, BlockTypeDeleted, BlockTypeDescription, BlockTypeUpdated
from domain.commands.command import Command, CommandOnOne, Deleted, Made
from domain.errors import InUse, MissingReference, NameTaken, SchemaOfOtherType, Stale
from domain.keys import Key
from domain.session import Session

REMAINING = 1
"""How many things that still hang on another are looked for: one is enough to refuse its deletion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBlockType(Command):
    """Make a block type. Raises NameTaken where its slug is in use."""

    id: UUID
    name: str
    slug: str
    description: BlockTypeDescription

    def natural_keys(self) -> Iterable[Key]:
        return (keys.block_type_slug(self.slug),)

    def decide(self, session: Session) -> Made:
        claim_name(session, keys.block_type_slug(self.slug), self.id, BlockType, self.name)
        kind = session.create(BlockType, self.id)
        session.record(kind, BlockTypeCreated, name=self.name, slug=self.slug, description=self.description)
        return Made(kind.id, created=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateBlockType(CommandOnOne):
    """Change what a block type says of itself, as far as that is news: clients say it at every start."""

    changes: BlockTypeDescription

    def decide(self, session: Session) -> None:
        kind = session.get(BlockType, self.id)
        news = {
            field: value
            for field in self.changes.model_fields_set
            if (value := getattr(self.changes, field)) != getattr(kind.description, field)
        }
        if news:
            session.record(kind, BlockTypeUpdated, changes=BlockTypeDescription(**news))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteBlockType(CommandOnOne):
    """Delete a block type. Raises InUse while it has schemas or documents, which its caller deletes first."""

    def decide(self, session: Session) -> Deleted:
        kind = session.get(BlockType, self.id)
        for beginning in (keys.block_documents_of(kind.id), keys.block_schemas_of(kind.id)):
            if session.ids_under(beginning, REMAINING):
                raise InUse(BlockType.kind, kind.id)
        session.release(keys.block_type_slug(kind.slug))
        session.record(kind, BlockTypeDeleted)
        return Deleted(finished=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBlockSchema(Command):
    """Make a block schema, or find the one of the same checksum and version. Raises MissingReference."""

    id: UUID
    block_type_id: UUID
    fields: dict[str, Any]
    capabilities: list[str]
    version: str

    def ids(self) -> Iterable[UUID | None]:
        return (self.block_type_id,)

    def decide(self, session: Session) -> Made:
        if session.find(BlockType, self.block_type_id) is None:
            raise MissingReference(BlockType.kind, self.block_type_id)
        checksum = checksum_of(self.fields)
        key = keys.block_schema(checksum, self.version)
        existing = session.id_of(key)
        if existing is not None:
            return Made(existing, created=False)
        schema = session.create(BlockSchema, self.id)
        session.claim(key, schema.id)
        session.claim(keys.block_schema_of(self.block_type_id, schema.id), schema.id)
        session.record(
            schema,
            BlockSchemaCreated,
            block_type_id=self.block_type_id,
            checksum=checksum,
            version=self.version,
            fields=self.fields,
            capabilities=self.capabilities,
        )
        return Made(schema.id, created=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteBlockSchema(CommandOnOne):
    """Delete a block schema. Raises InUse while documents have it."""

    def decide(self, session: Session) -> Deleted:
        schema = session.get(BlockSchema, self.id)
        if session.ids_under(keys.block_documents_with(schema.id), REMAINING):
            raise InUse(BlockSchema.kind, schema.id)
        session.release(keys.block_schema(schema.checksum, schema.version_name))
        session.release(keys.block_schema_of(schema.block_type_id, schema.id))
        session.record(schema, BlockSchemaDeleted)
        return Deleted(finished=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBlockDocument(Command):
    """Make a block document. Raises NameTaken, and MissingReference for its type, its schema or what it refers to."""

    id: UUID
    block_type_id: UUID
    block_schema_id: UUID
    name: str
    is_anonymous: bool
    content: BlockContent

    def ids(self) -> Iterable[UUID | None]:
        return (self.block_type_id, self.block_schema_id, *self.content.references.values())

    def natural_keys(self) -> Iterable[Key]:
        return (keys.block_document_name(self.block_type_id, self.name),)

    def decide(self, session: Session) -> Made:
        if session.find(BlockType, self.block_type_id) is None:
            raise MissingReference(BlockType.kind, self.block_type_id)
        check_schema(session, self.block_schema_id, self.block_type_id)
        check_references(session, self.content)
        name_key = keys.block_document_name(self.block_type_id, self.name)
        claim_name(session, name_key, self.id, BlockDocument, self.name)
        session.claim(keys.block_document_with(self.block_schema_id, self.id), self.id)
        document = session.create(BlockDocument, self.id)
        session.record(
            document,
            BlockDocumentCreated,
            block_type_id=self.block_type_id,
            block_schema_id=self.block_schema_id,
            name=self.name,
            is_anonymous=self.is_anonymous,
            content=self.content,
        )
        return Made(document.id, created=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateBlockDocument(CommandOnOne):
    """Give a block document other data, made from that of its version `seen`.

    Only who has the key can merge data, so that is not done here. Raises Stale where the document has changed since,
    SchemaOfOtherType, and MissingReference.
    """

    seen: int
    block_schema_id: UUID | None
    content: BlockContent

    def ids(self) -> Iterable[UUID | None]:
        return (self.id, self.block_schema_id, *self.content.references.values())

    def decide(self, session: Session) -> None:
        document = session.get(BlockDocument, self.id)
        if document.version != self.seen:
            raise Stale(BlockDocument.kind, document.id)
        schema_id = self.block_schema_id or document.block_schema_id
        check_schema(session, schema_id, document.block_type_id)
        check_references(session, self.content)
        if schema_id != document.block_schema_id:
            session.release(keys.block_document_with(document.block_schema_id, document.id))
            session.claim(keys.block_document_with(schema_id, document.id), document.id)
        session.record(document, BlockDocumentUpdated, block_schema_id=schema_id, content=self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteBlockDocument(CommandOnOne):
    """Delete a block document; its name is free again."""

    def decide(self, session: Session) -> Deleted:
        document = session.get(BlockDocument, self.id)
        session.release(keys.block_document_name(document.block_type_id, document.name))
        session.release(keys.block_document_with(document.block_schema_id, document.id))
        session.record(document, BlockDocumentDeleted)
        return Deleted(finished=True)


def claim_name(session: Session, key: Key, id: UUID, kind: type[Aggregate], name: str) -> None:
    if session.id_of(key) is not None:
        raise NameTaken(kind.kind, name)
    session.claim(key, id)


def check_schema(session: Session, schema_id: UUID, block_type_id: UUID) -> None:
    schema = session.find(BlockSchema, schema_id)
    if schema is None:
        raise MissingReference(BlockSchema.kind, schema_id)
    if schema.block_type_id != block_type_id:
        raise SchemaOfOtherType(schema_id, block_type_id)


def check_references(session: Session, content: BlockContent) -> None:
    for id in content.references.values():
        if session.find(BlockDocument, id) is None:
            raise MissingReference(BlockDocument.kind, id)
