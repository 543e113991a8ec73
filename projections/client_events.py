"""Events that clients send of themselves. They are telemetry: no rule looks at them, and they go after some time."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Json
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import to_json

from domain.times import Time

RESOURCE_ID = "prefect.resource.id"

PLAIN_LABELS = (RESOURCE_ID, "prefect.resource.role", "prefect.resource.name")
"""The labels of things in events that say what they are and what they are called, and no more."""

RUN = re.compile(r"prefect\.(?:flow|task)-run\.([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")
"""The ids that runs have as resources."""

LONGEST_NAME = 2000
"""Bytes of a name of an event or of a thing; an index entry has room for no more than some 2,700."""

WRITE = """
INSERT INTO telemetry.client_events
    (id, occurred, received, event, resource_id, related_ids, resource, related, payload, follows)
SELECT id, occurred, now(), event, resource_id, ARRAY(SELECT json_array_elements_text(related_ids)),
    resource, related, payload, follows
FROM json_to_recordset(%s) AS sent(
    id uuid, occurred timestamptz, event text, resource_id text, related_ids json,
    resource json, related json, payload json, follows uuid
)
ON CONFLICT (id) DO NOTHING
"""

FORGET = """
DELETE FROM telemetry.client_events
WHERE id IN (SELECT id FROM telemetry.client_events WHERE occurred < %s ORDER BY occurred LIMIT %s)
"""


def _short(name: str) -> str:
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"A name may have at most {LONGEST_NAME} bytes")
    return name


def _named(labels: dict[str, str]) -> dict[str, str]:
    _short(labels.get(RESOURCE_ID, ""))
    return labels


def _identified(labels: dict[str, str]) -> dict[str, str]:
    if RESOURCE_ID not in labels:
        raise ValueError(f"A resource needs the label {RESOURCE_ID}")
    return _named(labels)


class ClientEvent(BaseModel):
    """An event as clients send it; `resource` and each of `related` are labels of one thing.

    `occurred` is the client's time, `follows` the id of the event that comes before this one.
    """

    id: UUID
    occurred: Time
    event: Annotated[str, AfterValidator(_short)]
    resource: Annotated[dict[str, str], AfterValidator(_identified)]
    related: list[Annotated[dict[str, str], AfterValidator(_named)]] = []
    payload: dict[str, Any] = Field(default_factory=dict)
    follows: UUID | None = None


def runs_of(event: ClientEvent) -> set[UUID]:
    """The runs that an event has to do with."""
    named = (RUN.fullmatch(labels.get(RESOURCE_ID, "")) for labels in (event.resource, *event.related))
    return {UUID(found[1]) for found in named if found is not None}


def bare(event: ClientEvent) -> ClientEvent:
    """An event without what people put into it: what happened to which things, and when."""
    resource, *related = (
        {name: value for name, value in labels.items() if name in PLAIN_LABELS}
        for labels in (event.resource, *event.related)
    )
    return event.model_copy(update={"payload": {}, "resource": resource, "related": related})


async def write_client_events(connection: AsyncConnection, events: Sequence[ClientEvent]) -> None:
    """Keep the events, each once by its id; doing it again changes nothing."""
    # Rows are locked in the order of their ids, whoever writes which of them at the same time.
    rows = [_row(event) for event in sorted(events, key=lambda event: event.id.int)]
    await connection.execute(WRITE, [Json(rows, dumps=_dumps)], prepare=True)


async def forget_client_events(connection: AsyncConnection, before: datetime, limit: int = 1000) -> int:
    """Let go of the oldest events that occurred before a time, at most `limit` of them; give how many went."""
    return (await connection.execute(FORGET, [before, limit])).rowcount


def _row(event: ClientEvent) -> dict[str, Any]:
    related_ids = [labels[RESOURCE_ID] for labels in event.related if RESOURCE_ID in labels]
    return {**dict(event), "resource_id": event.resource[RESOURCE_ID], "related_ids": related_ids}


def _dumps(rows: list[dict[str, Any]]) -> bytes:
    return to_json(rows, inf_nan_mode="null")
