"""Block types: made and kept up to date by clients; their documents by name."""

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel, Field

from api.answer import NO_CONTENT, Answer
from api.bodies import FLOW_NAME, Body
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused
from api.routes.answers import found, made
from api.routes.block_documents import DOCUMENT, shown, wants_secrets
from api.routes.listing import page_of
from domain.block_document import BlockDocument
from domain.block_type import BlockType, BlockTypeDescription
from domain.commands.blocks import (
    CreateBlockType,
    DeleteBlockDocument,
    DeleteBlockSchema,
    DeleteBlockType,
    UpdateBlockType,
)
from domain.errors import InUse, NameTaken, NotFound
from domain.ids import new_id
from projections import blocks
from projections.filters.blocks import BlockSchemaFilter, BlockTypeFilter
from projections.filters.criteria import AnyText
from projections.sorting import BlockDocumentSort

endpoints = Endpoints()
NONE = "There is none"
AT_ONCE = 100
"""How many documents and schemas of a type are deleted before it is looked for more."""


class BlockTypeBody(Body):
    logo_url: str | None = None
    documentation_url: str | None = None
    description: str | None = None
    code_example: str | None = None

    def described(self) -> BlockTypeDescription:
        """What is said of the type, as far as it is set."""
        given = {field: getattr(self, field) for field in self.model_fields_set}
        return BlockTypeDescription(**{f: v for f, v in given.items() if f in BlockTypeDescription.model_fields})


class BlockTypeCreate(BlockTypeBody):
    name: str = Field(pattern=FLOW_NAME)
    slug: str


class FilterBlockTypes(BaseModel):
    block_types: BlockTypeFilter | None = None
    block_schemas: BlockSchemaFilter | None = None
    limit: int | None = None
    offset: int = Field(default=0, ge=0)


@endpoints.add(
    "POST",
    "/block_types/",
    "Make a block type",
    body=BlockTypeCreate,
    answers={201: "The new type", 403: "Its name is reserved", 409: "There is one of that slug"},
)
async def create_block_type(call: Call, body: BlockTypeCreate) -> Answer:
    if body.name.lower().startswith("prefect"):
        raise Refused(403, "Block type names beginning with 'Prefect' are reserved.")
    command = CreateBlockType(
        caller=call.caller, id=new_id(), name=body.name, slug=body.slug, description=body.described()
    )
    try:
        return made(await call.execute(command))
    except NameTaken as error:
        raise Refused(409, f'Block type with name "{error.name}" already exists') from None


@endpoints.add("GET", "/block_types/{id}", "Read a block type", answers={200: "The type", 404: NONE})
async def read_block_type(call: Call) -> Answer:
    return found(await call.services.reads.run(blocks.read_block_type, call.id()), BlockType.kind)


@endpoints.add("GET", "/block_types/slug/{slug}", "Read a block type by its slug", answers={200: "It", 404: NONE})
async def read_block_type_by_slug(call: Call) -> Answer:
    return found(await call.services.reads.run(blocks.read_block_type, call.text("slug")), BlockType.kind)


@endpoints.add("POST", "/block_types/filter", "List block types", body=FilterBlockTypes, answers={200: "The types"})
async def read_block_types(call: Call, body: FilterBlockTypes) -> Answer:
    limit = page_of(call, body.limit)
    return Answer(
        await call.services.reads.run(
            blocks.read_block_types, body.block_types, body.block_schemas, limit=limit, offset=body.offset
        )
    )


@endpoints.add(
    "PATCH",
    "/block_types/{id}",
    "Change what a block type says of itself",
    body=BlockTypeBody,
    answers={204: "Done", 404: NONE},
)
async def update_block_type(call: Call, body: BlockTypeBody) -> Answer:
    await call.execute(UpdateBlockType(caller=call.caller, id=call.id(), changes=body.described()))
    return NO_CONTENT


@endpoints.add(
    "DELETE",
    "/block_types/{id}",
    "Delete a block type, with its documents and schemas",
    answers={204: "Done", 404: NONE},
)
async def delete_block_type(call: Call) -> Answer:
    id = call.id()
    while True:
        documents, schemas = await call.services.reads.run(blocks.ids_of_type, id, limit=AT_ONCE)
        for each in documents:
            await _gone(call.execute, DeleteBlockDocument(caller=call.caller, id=each))
        for each in schemas:
            await _gone(call.execute, DeleteBlockSchema(caller=call.caller, id=each))
        try:
            await call.execute(DeleteBlockType(caller=call.caller, id=id))
        except InUse:
            continue
        return NO_CONTENT


async def _gone(execute: Callable[[Any], Awaitable[Any]], command: Any) -> None:
    """Delete what may be gone by now, or in use by what came to be meanwhile."""
    try:
        await execute(command)
    except (NotFound, InUse):
        return


@endpoints.add(
    "GET",
    "/block_types/slug/{slug}/block_documents",
    "List the documents of a block type",
    answers={200: "The documents", 404: NONE},
    options=("include_secrets",),
)
async def read_documents_of_type(call: Call) -> Answer:
    slug = call.text("slug")
    if await call.services.reads.run(blocks.read_block_type, slug) is None:
        raise Refused(404, f"{BlockType.kind} not found")
    where = blocks.documents_where(None, BlockTypeFilter(slug=AnyText(any_=[slug])), None)
    listed = await call.services.reads.run(
        blocks.read_block_documents, where, BlockDocumentSort.NAME_ASC, limit=None, offset=0
    )
    return Answer(await shown(call, listed, with_secrets=wants_secrets(call)))


@endpoints.add(
    "GET",
    "/block_types/slug/{slug}/block_documents/name/{name}",
    "Read a block document by its type and name",
    answers={200: DOCUMENT, 404: NONE},
    options=("include_secrets",),
)
async def read_document_by_name(call: Call) -> Answer:
    names = call.text("slug"), call.text("name")
    id = await call.services.reads.run(blocks.find_block_document, *names)
    found_blocks = {} if id is None else await call.services.reads.run(blocks.read_block_documents_by_id, [id])
    if id is None or id not in found_blocks:
        raise Refused(404, f"{BlockDocument.kind} not found")
    return Answer(await shown(call, found_blocks[id], found_blocks, with_secrets=wants_secrets(call)))


@endpoints.add(
    "POST",
    "/block_types/install_system_block_types",
    "Do nothing: clients bring the types they need",
    answers={200: "-"},
)
async def install_system_block_types(call: Call) -> Answer:
    return Answer(b"null")
