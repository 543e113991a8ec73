"""Seals: one hash a transaction that chains all events before it to those it covers."""

import hashlib
from collections.abc import Iterable

from eventsourcing.persistence import StoredEvent

GENESIS = bytes(32)
"""What stands in the place of the hash before the first seal."""


def seal(previous: bytes, events: Iterable[StoredEvent]) -> bytes:
    """SHA-256 over the previous hash and, for each event, its id, version, topic and bytes, lengths included."""
    digest = hashlib.sha256(previous)
    for event in events:
        topic = event.topic.encode()
        digest.update(
            b"%s %d %d %d "
            % (str(event.originator_id).encode(), event.originator_version, len(topic), len(event.state))
        )
        digest.update(topic)
        digest.update(event.state)
    return digest.digest()
