"""Block documents: configuration that clients keep, shown with secrets masked unless they are asked for."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from pydantic import BaseModel, Field, model_validator

from api.answer import NO_CONTENT, Answer
from api.block_documents import NoSuchReference, Shown, content_of, secrets_of
from api.block_secrets import merged
from api.bodies import Body
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused
from api.routes.listing import page_of
from domain.block_document import BlockDocument
from domain.commands.blocks import CreateBlockDocument, DeleteBlockDocument, UpdateBlockDocument
from domain.commands.command import Made
from domain.errors import NameTaken, SchemaOfOtherType, Stale
from domain.ids import new_id
from projections import blocks
from projections.blocks import StoredBlock
from projections.documents import as_json
from projections.filters.blocks import BlockDocumentFilter, BlockSchemaFilter, BlockTypeFilter
from projections.sorting import BlockDocumentSort

endpoints = Endpoints()
DOCUMENT = "The document"
NONE = "There is none"
WRONG = "A field refers to nothing, or the schema is of another type"
YES = frozenset({"true", "1", "yes", "on", "t", "y"})


class BlockDocumentCreate(Body):
    name: str | None = Field(default=None, pattern=r"^[^/%&><]+$")
    data: dict[str, Any] = Field(default_factory=dict)
    block_schema_id: UUID
    block_type_id: UUID
    is_anonymous: bool = False

    @model_validator(mode="after")
    def _named(self) -> "BlockDocumentCreate":
        if not self.is_anonymous and not self.name:
            raise ValueError("Names must be provided for block documents.")
        return self


class BlockDocumentUpdate(Body):
    block_schema_id: UUID | None = None
    data: dict[str, Any] = Field(default_factory=dict)
    merge_existing_data: bool = True


class CountBlockDocuments(BaseModel):
    block_documents: BlockDocumentFilter | None = None
    block_types: BlockTypeFilter | None = None
    block_schemas: BlockSchemaFilter | None = None


class FilterBlockDocuments(CountBlockDocuments):
    include_secrets: bool = False
    sort: BlockDocumentSort | None = None
    limit: int | None = None
    offset: int | None = Field(default=None, ge=0)


def wants_secrets(call: Call) -> bool:
    """Whether the caller asks for secrets by the query string."""
    return (call.query("include_secrets") or "").lower() in YES


async def shown(
    call: Call,
    block: StoredBlock | list[StoredBlock],
    known: Mapping[UUID, StoredBlock] | None = None,
    *,
    with_secrets: bool,
) -> bytes:
    """One block as its document, or several as an array; those that they refer to are read unless they are `known`."""
    if known is None:
        several = block if isinstance(block, list) else [block]
        known = await call.services.reads.run(blocks.read_block_documents_by_id, [each.id for each in several])
    show = Shown(known, await call.services.sealing.sealer(), with_secrets)
    return as_json([show.document(each) for each in block] if isinstance(block, list) else show.document(block))


async def _read(call: Call, id: UUID) -> tuple[StoredBlock, Mapping[UUID, StoredBlock]]:
    known = await call.services.reads.run(blocks.read_block_documents_by_id, [id])
    if id not in known:
        raise Refused(404, f"{BlockDocument.kind} not found")
    return known[id], known


@endpoints.add(
    "POST",
    "/block_documents/",
    "Make a block document",
    body=BlockDocumentCreate,
    answers={
        201: "The new document, its secrets masked",
        400: WRONG,
        409: "There is one of that name, or no such type",
    },
)
async def create_block_document(call: Call, body: BlockDocumentCreate) -> Answer:
    try:
        command = CreateBlockDocument(
            caller=call.caller,
            id=new_id(),
            block_type_id=body.block_type_id,
            block_schema_id=body.block_schema_id,
            name=body.name or f"anonymous-{uuid4()}",
            is_anonymous=body.is_anonymous,
            content=content_of(body.data, await call.services.sealing.sealer()),
        )
        result = await call.execute(command)
    except NameTaken:
        raise Refused(409, "Block already exists") from None
    except (NoSuchReference, SchemaOfOtherType) as error:
        raise Refused(400, str(error)) from None
    if not isinstance(result, Made):
        raise TypeError("A creation is answered by what was made")
    block, known = await _read(call, result.id)
    return Answer(await shown(call, block, known, with_secrets=False), 201)


@endpoints.add(
    "GET",
    "/block_documents/{id}",
    "Read a block document",
    answers={200: DOCUMENT, 404: NONE},
    options=("include_secrets",),
)
async def read_block_document(call: Call) -> Answer:
    block, known = await _read(call, call.id())
    return Answer(await shown(call, block, known, with_secrets=wants_secrets(call)))


@endpoints.add(
    "POST", "/block_documents/filter", "List block documents", body=FilterBlockDocuments, answers={200: "The documents"}
)
async def read_block_documents(call: Call, body: FilterBlockDocuments) -> Answer:
    where = blocks.documents_where(body.block_documents, body.block_types, body.block_schemas)
    listed = await call.services.reads.run(
        blocks.read_block_documents,
        where,
        body.sort or BlockDocumentSort.NAME_ASC,
        limit=page_of(call, body.limit),
        offset=body.offset or 0,
    )
    return Answer(await shown(call, listed, with_secrets=body.include_secrets))


@endpoints.add(
    "POST", "/block_documents/count", "Count block documents", body=CountBlockDocuments, answers={200: "Their number"}
)
async def count_block_documents(call: Call, body: CountBlockDocuments) -> Answer:
    where = blocks.documents_where(body.block_documents, body.block_types, body.block_schemas)
    return Answer(b"%d" % await call.services.reads.run(blocks.count_block_documents, where))


@endpoints.add(
    "PATCH",
    "/block_documents/{id}",
    "Give a block document other data, or add to what it has",
    body=BlockDocumentUpdate,
    answers={204: "Done", 400: WRONG, 404: NONE},
)
async def update_block_document(call: Call, body: BlockDocumentUpdate) -> Answer:
    id, sealer = call.id(), await call.services.sealing.sealer()
    while True:
        block, _ = await _read(call, id)
        before = {
            **sealer.open(block.sealed),
            **{field: {"$ref": {"block_document_id": other}} for field, other in block.references.items()},
        }
        data = merged(before, body.data, secrets_of(block), whole=not body.merge_existing_data)
        try:
            command = UpdateBlockDocument(
                caller=call.caller,
                id=id,
                seen=block.version,
                block_schema_id=body.block_schema_id,
                content=content_of(data, sealer),
            )
            await call.execute(command)
        except Stale:
            continue
        except (NoSuchReference, SchemaOfOtherType) as error:
            raise Refused(400, str(error)) from None
        return NO_CONTENT


@endpoints.add("DELETE", "/block_documents/{id}", "Delete a block document", answers={204: "Done", 404: NONE})
async def delete_block_document(call: Call) -> Answer:
    await call.execute(DeleteBlockDocument(caller=call.caller, id=call.id()))
    return NO_CONTENT
