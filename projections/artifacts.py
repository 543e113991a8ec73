"""Artifacts: what runs put up for people to see. They are telemetry: no event, no state, no rule.

Artifacts of one key are versions of one thing, of which the newest counts.
"""

from datetime import datetime
from typing import Any, Unpack
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.types.json import Json
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from domain.keys import short
from projections.columns import AS_TIME
from projections.filters.artifacts import ArtifactFilter, LatestArtifactFilter
from projections.filters.condition import Condition, Operator, joined
from projections.filters.related import (
    FLOW_RUN_OF_ARTIFACT,
    FLOW_RUN_OF_LATEST_ARTIFACT,
    TASK_RUN_OF_ARTIFACT,
    TASK_RUN_OF_LATEST_ARTIFACT,
    Filters,
    runs_of_artifacts_where,
)
from projections.lists import Page, Source, read_page
from projections.sorting import ArtifactSort

_CONTENT = """
',"key":', coalesce(to_json(key)::text, 'null'), ',"type":', coalesce(to_json(type)::text, 'null'),
',"description":', coalesce(to_json(description)::text, 'null'), ',"data":', coalesce(data::text, 'null'),
',"metadata_":', coalesce(metadata_::text, 'null'), ',"flow_run_id":', coalesce(to_json(flow_run_id)::text, 'null'),
',"task_run_id":', coalesce(to_json(task_run_id)::text, 'null')
"""
_DOCUMENT = sql.SQL(
    """concat('{{"id":"', id, '","created":', {created}, ',"updated":', {updated}, {content}, '}}')"""
).format(
    created=sql.SQL(AS_TIME).format(column=sql.Identifier("created")),
    updated=sql.SQL(AS_TIME).format(column=sql.Identifier("updated")),
    content=sql.SQL(_CONTENT),
)
_LATEST_DOCUMENT = sql.SQL("""concat('{{"latest_id":"', latest_id, '",', right({}, -1))""").format(_DOCUMENT)

ARTIFACTS = Source("artifacts", _DOCUMENT, schema="telemetry")
LATEST_ARTIFACTS = Source("latest_artifacts", _LATEST_DOCUMENT, schema="telemetry")

_ONE = sql.SQL("SELECT convert_to({}, 'UTF8') FROM {} WHERE {}")
READ_ARTIFACT = _ONE.format(ARTIFACTS.document, ARTIFACTS.rows, sql.SQL("id = %s")).as_string(None)
READ_LATEST_OF_KEY = _ONE.format(
    ARTIFACTS.document,
    ARTIFACTS.rows,
    sql.SQL("id = (SELECT latest_id FROM telemetry.artifact_keys WHERE short_key = %s)"),
).as_string(None)

WRITE_ARTIFACT = """
INSERT INTO telemetry.artifacts
    (id, created, updated, key, short_key, type, description, data, metadata_, flow_run_id, task_run_id)
VALUES (%(id)s, now(), now(), %(key)s, %(short_key)s, %(type)s, %(description)s, %(data)s, %(metadata_)s,
    %(flow_run_id)s, %(task_run_id)s)
ON CONFLICT (id) DO NOTHING
"""
MAKE_LATEST = """
INSERT INTO telemetry.artifact_keys (id, key, short_key, latest_id, created, updated)
VALUES (%(key_id)s, %(key)s, %(short_key)s, %(id)s, now(), now())
ON CONFLICT (short_key) DO UPDATE SET latest_id = excluded.latest_id, updated = excluded.updated
"""
RUNS_OF_ARTIFACT = "SELECT flow_run_id, task_run_id FROM telemetry.artifacts WHERE id = %s"
DELETE_ARTIFACT = "DELETE FROM telemetry.artifacts WHERE id = %s"
PREVIOUS_BECOMES_LATEST = """
UPDATE telemetry.artifact_keys SET updated = now(), latest_id = previous.id
FROM telemetry.artifact_keys AS known CROSS JOIN LATERAL (
    SELECT id FROM telemetry.artifacts WHERE artifacts.short_key = known.short_key
    ORDER BY created DESC, id DESC LIMIT 1
) AS previous
WHERE known.latest_id = %s AND artifact_keys.id = known.id
"""
FORGET_KEY = "DELETE FROM telemetry.artifact_keys WHERE latest_id = %s"
FORGET_ARTIFACTS = """
DELETE FROM telemetry.artifacts
WHERE id IN (SELECT id FROM telemetry.artifacts WHERE created < %s ORDER BY created, id LIMIT %s) RETURNING id
"""
FORGET_KEYS = "DELETE FROM telemetry.artifact_keys WHERE latest_id = ANY(%s)"


class ArtifactCreate(BaseModel):
    """An artifact as a client sends it; `data` and `metadata_` are any JSON, the latter an object of texts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str | None = None
    type: str | None = None
    description: str | None = None
    data: Any = None
    metadata_: dict[str, str] | None = None
    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None


class ArtifactUpdate(BaseModel):
    """What can be changed of an artifact; only what is set is meant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Any = None
    description: str | None = None
    metadata_: dict[str, str] | None = None


async def write_artifact(connection: AsyncConnection, artifact: ArtifactCreate, id: UUID, key_id: UUID) -> bytes | None:
    """Keep an artifact under an id, as the newest of its key, which gets `key_id` if it is new; its document."""
    values = {
        **artifact.model_dump(),
        "data": _json(artifact.data),
        "metadata_": _json(artifact.metadata_),
        "short_key": None if artifact.key is None else short(artifact.key),
        "id": id,
        "key_id": key_id,
    }
    async with connection.transaction():
        written = await connection.execute(WRITE_ARTIFACT, values)
        if written.rowcount and artifact.key is not None:
            await connection.execute(MAKE_LATEST, values)
    return await read_artifact(connection, id)


async def update_artifact(connection: AsyncConnection, id: UUID, changes: ArtifactUpdate) -> bool:
    """Change what is set; whether there is such an artifact."""
    given = {
        field: value if field == "description" else _json(value)
        for field in changes.model_fields_set
        for value in [getattr(changes, field)]
    }
    assignments = [sql.SQL("{} = %s").format(sql.Identifier(field)) for field in given]
    statement = sql.SQL("UPDATE telemetry.artifacts SET {} WHERE id = %s").format(
        sql.SQL(", ").join([*assignments, sql.SQL("updated = now()")])
    )
    changed = await connection.execute(statement, [*given.values(), id])
    return changed.rowcount > 0


async def runs_of_artifact(connection: AsyncConnection, id: UUID) -> tuple[UUID | None, ...]:
    """The runs that an artifact is of."""
    return await (await connection.execute(RUNS_OF_ARTIFACT, [id])).fetchone() or ()


async def delete_artifact(connection: AsyncConnection, id: UUID) -> bool:
    """Delete an artifact, so that the one before it is the newest of its key; whether there was such an artifact."""
    async with connection.transaction():
        deleted = await connection.execute(DELETE_ARTIFACT, [id])
        if deleted.rowcount:
            moved = await connection.execute(PREVIOUS_BECOMES_LATEST, [id])
            if not moved.rowcount:
                await connection.execute(FORGET_KEY, [id])
    return deleted.rowcount > 0


async def forget_artifacts(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete artifacts that were made before a time, the oldest first; how many were deleted.

    Where the newest of a key goes, the others have gone already or go with the next: nothing is left of the key.
    """
    async with connection.transaction():
        gone = [row[0] for row in await (await connection.execute(FORGET_ARTIFACTS, [before, limit])).fetchall()]
        await connection.execute(FORGET_KEYS, [gone])
    return len(gone)


async def read_artifact(connection: AsyncConnection, id: UUID) -> bytes | None:
    """The document of an artifact, or None."""
    return await _one(connection, READ_ARTIFACT, id)


async def read_latest_artifact(connection: AsyncConnection, key: str) -> bytes | None:
    """The document of the newest artifact of a key, or None."""
    return await _one(connection, READ_LATEST_OF_KEY, short(key))


def artifacts_where(artifacts: ArtifactFilter | None, **filters: Unpack[Filters]) -> Condition:
    """The condition on artifacts that fit, of runs that fit."""
    own = [] if artifacts is None else [artifacts.condition()]
    return joined(Operator.AND, [*own, *runs_of_artifacts_where(FLOW_RUN_OF_ARTIFACT, TASK_RUN_OF_ARTIFACT, filters)])


def latest_where(artifacts: LatestArtifactFilter | None, **filters: Unpack[Filters]) -> Condition:
    """The condition on keys whose newest artifacts fit, and are of runs that fit."""
    own = [] if artifacts is None else [artifacts.condition()]
    of_runs = runs_of_artifacts_where(FLOW_RUN_OF_LATEST_ARTIFACT, TASK_RUN_OF_LATEST_ARTIFACT, filters)
    return joined(Operator.AND, [*own, *of_runs])


async def read_artifacts(
    connection: AsyncConnection, source: Source, where: Condition, sort: ArtifactSort | None, page: Page
) -> bytes:
    """The documents of artifacts, or of keys, that fit, as a JSON array; newest first if no sort is given."""
    return (await read_page(connection, source, where, sort or ArtifactSort.ID_DESC, page)).documents


async def count_artifacts(connection: AsyncConnection, source: Source, where: Condition) -> int:
    """How many artifacts, or keys, fit."""
    statement = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(source.rows, where.text)
    row = await (await connection.execute(statement, where.values)).fetchone()
    return int(row[0]) if row else 0


async def _one(connection: AsyncConnection, statement: str, key: UUID | str) -> bytes | None:
    row = await (await connection.execute(statement, [key], binary=True)).fetchone()
    return row[0] if row else None


def _json(value: Any) -> Json | None:
    return None if value is None else Json(value, dumps=to_json)
