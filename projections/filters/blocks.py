"""The filters of block types, block schemas and block documents."""

from collections.abc import Mapping
from typing import ClassVar

from projections.filters.condition import compare
from projections.filters.criteria import AnyId, AnyText, Criteria, Entity, Name, Tags, Test


class Like(Criteria):
    like_: str | None = None


class Capabilities(Tags):
    """`all_`: has all these capabilities, and perhaps others."""

    TESTS: ClassVar[Mapping[str, Test]] = {"all_": Tags.TESTS["all_"]}

    is_null_: None = None


class IsAnonymous(Criteria):
    """Whether the document was made without a name."""

    TESTS: ClassVar[Mapping[str, Test]] = {"eq_": lambda column, wanted: compare("{} = %s", column, wanted)}

    eq_: bool | None = None


class BlockTypeFilter(Entity):
    """Which block types are meant. Fields and their meaning are those of server 3.9.1."""

    TABLE: ClassVar[str] = "block_types"

    name: Like | None = None
    slug: AnyText | None = None


class BlockSchemaFilter(Entity):
    """Which block schemas are meant. Fields and their meaning are those of server 3.9.1."""

    TABLE: ClassVar[str] = "block_schemas"
    COLUMNS: ClassVar[Mapping[str, str]] = {"block_capabilities": "capabilities"}

    block_type_id: AnyId | None = None
    block_capabilities: Capabilities | None = None
    id: AnyId | None = None
    version: AnyText | None = None


class BlockDocumentFilter(Entity):
    """Which block documents are meant; anonymous ones only where they are asked for.

    Fields and their meaning are those of server 3.9.1.
    """

    TABLE: ClassVar[str] = "block_documents"

    id: AnyId | None = None
    is_anonymous: IsAnonymous | None = IsAnonymous(eq_=False)
    block_type_id: AnyId | None = None
    name: Name | None = None
