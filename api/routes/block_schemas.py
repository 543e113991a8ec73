"""Block schemas: registered by clients, told by the checksum of their fields."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from api.answer import NO_CONTENT, Answer
from api.bodies import Body
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused
from api.routes.answers import found, made
from api.routes.listing import page_of
from domain.block_schema import UNVERSIONED, BlockSchema
from domain.commands.blocks import CreateBlockSchema, DeleteBlockSchema
from domain.errors import InUse, MissingReference
from domain.ids import new_id
from projections import blocks
from projections.filters.blocks import BlockSchemaFilter

endpoints = Endpoints()
NONE = "There is none"


class BlockSchemaCreate(Body):
    block_type_id: UUID
    fields: dict[str, Any] = Field(default_factory=dict)
    capabilities: list[str] = Field(default_factory=list)
    version: str = UNVERSIONED


class FilterBlockSchemas(BaseModel):
    block_schemas: BlockSchemaFilter | None = None
    limit: int | None = None
    offset: int = Field(default=0, ge=0)


@endpoints.add(
    "POST",
    "/block_schemas/",
    "Make a block schema, or find the one of the same checksum and version",
    body=BlockSchemaCreate,
    answers={201: "The new schema", 200: "The schema there was", 404: "There is no such type"},
)
async def create_block_schema(call: Call, body: BlockSchemaCreate) -> Answer:
    command = CreateBlockSchema(
        caller=call.caller,
        id=new_id(),
        block_type_id=body.block_type_id,
        fields=body.fields,
        capabilities=body.capabilities,
        version=body.version,
    )
    try:
        return made(await call.execute(command))
    except MissingReference as error:
        raise Refused(404, f"{error.kind} {error.id} not found.") from None


@endpoints.add("GET", "/block_schemas/{id}", "Read a block schema", answers={200: "The schema", 404: NONE})
async def read_block_schema(call: Call) -> Answer:
    return found(await call.services.reads.run(blocks.read_block_schema, call.id()), BlockSchema.kind)


@endpoints.add(
    "GET",
    "/block_schemas/checksum/{checksum}",
    "Read the newest block schema of a checksum",
    answers={200: "The schema", 404: NONE},
    options=("version",),
)
async def read_block_schema_by_checksum(call: Call) -> Answer:
    asked = call.text("checksum"), call.query("version")
    return found(await call.services.reads.run(blocks.read_block_schema_by_checksum, *asked), BlockSchema.kind)


@endpoints.add("POST", "/block_schemas/filter", "List block schemas", body=FilterBlockSchemas, answers={200: "They"})
async def read_block_schemas(call: Call, body: FilterBlockSchemas) -> Answer:
    limit = page_of(call, body.limit)
    return Answer(
        await call.services.reads.run(blocks.read_block_schemas, body.block_schemas, limit=limit, offset=body.offset)
    )


@endpoints.add(
    "DELETE",
    "/block_schemas/{id}",
    "Delete a block schema",
    answers={204: "Done", 404: NONE, 409: "Documents have it"},
)
async def delete_block_schema(call: Call) -> Answer:
    try:
        await call.execute(DeleteBlockSchema(caller=call.caller, id=call.id()))
    except InUse as error:
        raise Refused(409, f"{error.kind} {error.id} is in use by block documents.") from None
    return NO_CONTENT


@endpoints.add("GET", "/block_capabilities/", "List what blocks are capable of", answers={200: "The capabilities"})
async def read_capabilities(call: Call) -> Answer:
    return Answer(await call.services.reads.run(blocks.read_capabilities))
