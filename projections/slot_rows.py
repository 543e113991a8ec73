"""The rows of concurrency limits: the limit itself, one for each holding, and its last snapshot."""

from collections.abc import Iterable
from uuid import UUID

from domain.aggregate import SNAPSHOT
from domain.concurrency_limit import (
    ConcurrencyLimit,
    Holding,
    LeaseRenewed,
    LimitCreated,
    LimitUpdated,
    SlotsReleased,
    SlotsReturned,
    SlotsTaken,
)
from domain.events import Event
from projections.rows import Row, RowChanges
from projections.tables import CONCURRENCY_SLOTS, SNAPSHOTS


def limit_row(limit: ConcurrencyLimit) -> Row:
    return {
        "id": limit.id,
        "name": limit.name,
        "slots": limit.limit,
        "active": limit.active,
        "created": limit.created,
        "updated": limit.updated,
        "slot_decay_per_second": limit.slot_decay_per_second,
        "level": limit.level,
        "level_at": limit.level_at,
        "denied_slots": limit.denied_slots,
        "mean_occupancy": limit.mean_occupancy,
    }


def project_slots(changes: RowChanges, limit: ConcurrencyLimit, events: Iterable[Event]) -> None:
    """Write the rows of those holdings of a limit that these of its events changed, and drop those that ended.

    Where an event may change any holding, all are written anew.
    """
    touched: dict[UUID, None] = {}
    for event in events:
        match event:
            case SlotsTaken() | SlotsReleased() | LeaseRenewed():
                touched[event.holding] = None
            case LimitCreated() | LimitUpdated() | SlotsReturned():
                changes.remove(CONCURRENCY_SLOTS, limit.id)
                touched = dict.fromkeys(limit.holdings)
                break
    for id in touched:
        holding = limit.holdings.get(id)
        if holding is None:
            changes.drop(CONCURRENCY_SLOTS, {"limit_id": limit.id, "holding": id})
        else:
            changes.write(CONCURRENCY_SLOTS, _slot_row(limit, id, holding))
    if limit.snapshot is not None and limit.snapshot.version > limit.version - limit.snapshot_every:
        doc = limit.snapshot.model_dump_json()
        topic = f"ConcurrencyLimit.{SNAPSHOT}"
        changes.write(SNAPSHOTS, {"id": limit.id, "version": limit.snapshot.version, "topic": topic, "doc": doc})


def _slot_row(limit: ConcurrencyLimit, id: UUID, holding: Holding) -> Row:
    return {
        "limit_id": limit.id,
        "holding": id,
        "slots": holding.slots,
        "since": holding.since,
        "expires_at": holding.expires_at,
        "leased": holding.leased,
        "holder_type": holding.holder.type if holding.holder else None,
        "holder_id": holding.holder.id if holding.holder else None,
        "actor": holding.actor,
    }
