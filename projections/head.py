"""The head of a ledger: where it stands, and the one hash that all its events go into."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from projections.seals import GENESIS

_HEAD = """
SELECT identity.id, seal.last_position, seal.hash, seal.recorded_at
FROM ledger.identity
LEFT JOIN LATERAL (
    SELECT last_position, hash, recorded_at FROM ledger.seals ORDER BY last_position DESC LIMIT 1
) AS seal ON true
"""


@dataclass(frozen=True, slots=True)
class Head:
    """The position of the last event, and hash and time of the seal over it.

    An empty ledger stands at position 0, with the hash that comes before the first seal and no time.
    """

    ledger_id: UUID
    position: int
    hash: bytes
    recorded_at: datetime | None


def head_of(connection: psycopg.Connection) -> Head:
    """The head, as the last seal says it is."""
    return _head(connection.execute(_HEAD).fetchone())


async def read_head(connection: psycopg.AsyncConnection) -> Head:
    """The head, as the last seal says it is."""
    return _head(await (await connection.execute(_HEAD)).fetchone())


def _head(row: tuple[Any, ...] | None) -> Head:
    if row is None:
        raise LookupError("The ledger has no identity")
    id, position, hash, recorded_at = row
    return Head(id, position or 0, GENESIS if hash is None else hash, recorded_at)
