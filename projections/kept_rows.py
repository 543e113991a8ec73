"""The rows of what clients keep: variables, saved searches, blocks, notification policies."""

from domain.block_document import BlockDocument
from domain.block_schema import BlockSchema
from domain.block_type import BlockType
from domain.notification_policy import NotificationPolicy
from domain.saved_search import SavedSearch
from domain.variable import Variable
from projections.documents import as_json
from projections.rows import Row

Kept = Variable | SavedSearch | BlockType | BlockSchema | BlockDocument | NotificationPolicy


def kept_row(kept: Kept) -> Row:
    """The row of a kept thing in the one table that has it."""
    match kept:
        case Variable():
            value = kept.facts.value
            return {
                "id": kept.id,
                "name": kept.facts.name,
                "value_text": value if isinstance(value, str) else None,
                "tags": kept.facts.tags,
                "created": kept.created,
                "updated": kept.updated,
                "doc": kept_document(kept).decode(),
            }
        case SavedSearch():
            return {"id": kept.id, "name": kept.name, "doc": kept_document(kept).decode()}
        case BlockType():
            return {"id": kept.id, "name": kept.name, "slug": kept.slug, "doc": kept_document(kept).decode()}
        case BlockSchema():
            return {
                "id": kept.id,
                "block_type_id": kept.block_type_id,
                "checksum": kept.checksum,
                "version": kept.version_name,
                "capabilities": kept.capabilities,
                "created": kept.created,
                "doc": kept_document(kept).decode(),
            }
        case BlockDocument():
            return {
                "id": kept.id,
                "version": kept.version,
                "block_type_id": kept.block_type_id,
                "block_schema_id": kept.block_schema_id,
                "name": kept.name,
                "is_anonymous": kept.is_anonymous,
                "created": kept.created,
                "updated": kept.updated,
                "sealed": kept.content.sealed,
                "refers_to": as_json(kept.content.references).decode(),
            }

        case NotificationPolicy():
            return {
                "id": kept.id,
                "is_active": kept.terms.is_active,
                "block_document_id": kept.terms.block_document_id,
                "sealed_url": kept.terms.url.sealed if kept.terms.url else None,
                "signing_secret": kept.terms.signing_secret,
                "doc": kept_document(kept).decode(),
            }


def kept_document(kept: Kept) -> bytes:
    """The document of a kept thing, less what is joined to it, and of a block document what needs no key."""
    return as_json({"id": kept.id, "created": kept.created, "updated": kept.updated, **_content(kept)})


def _content(kept: Kept) -> Row:
    match kept:
        case Variable():
            return kept.facts.model_dump()
        case SavedSearch():
            return {"name": kept.name, "filters": kept.filters}
        case BlockType():
            # No type is protected: none is ours, clients bring them all.
            return {"name": kept.name, "slug": kept.slug, **dict(kept.description), "is_protected": False}
        case BlockSchema():
            return {
                "checksum": kept.checksum,
                "fields": kept.fields,
                "block_type_id": kept.block_type_id,
                "capabilities": kept.capabilities,
                "version": kept.version_name,
            }
        case BlockDocument():
            return {"name": kept.name, "block_type_id": kept.block_type_id, "block_schema_id": kept.block_schema_id}
        case NotificationPolicy():
            return {
                "is_active": kept.terms.is_active,
                "state_names": kept.terms.state_names,
                "tags": kept.terms.tags,
                "block_document_id": kept.terms.block_document_id,
                "message_template": kept.terms.message_template,
                "url": kept.terms.url.shown if kept.terms.url else None,
            }
