"""What still comes of a run after it was erased: telemetry, which is then kept without payload, as events are."""

import asyncio
from collections.abc import Iterable
from uuid import UUID

from projections.artifacts import ArtifactCreate
from projections.client_events import ClientEvent, bare, runs_of
from projections.payload_keys.store import KeyStore


async def erased_among(keys: KeyStore | None, ids: Iterable[UUID | None]) -> frozenset[UUID]:
    """Those of the runs whose keys were destroyed. Raises StoreUnavailable."""
    wanted = {id for id in ids if id is not None}
    if keys is None or not wanted:
        return frozenset()
    found = await asyncio.to_thread(keys.look_up, wanted)
    return frozenset(id for id, key in found.items() if key is None)


async def kept_artifact(keys: KeyStore | None, artifact: ArtifactCreate) -> ArtifactCreate:
    """An artifact as it is kept."""
    if not await erased_among(keys, (artifact.flow_run_id, artifact.task_run_id)):
        return artifact
    return artifact.model_copy(update={"data": None, "description": None, "metadata_": None})


async def kept_events(keys: KeyStore | None, events: list[ClientEvent]) -> list[ClientEvent]:
    """Events of clients as they are kept."""
    if keys is None:
        return events
    runs = [runs_of(event) for event in events]
    erased = await erased_among(keys, (run for some in runs for run in some))
    return [bare(event) if some & erased else event for event, some in zip(events, runs, strict=True)]
