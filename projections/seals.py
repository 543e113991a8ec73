"""Seals: one hash a transaction that chains all events before it to those it covers."""

import hashlib
from collections.abc import Iterable

from eventsourcing.persistence import StoredEvent

GENESIS = bytes(32)
"""What stands in the place of the hash before the first seal."""


class Digest:
    """The hash of one seal in the making: of the hash before it and of the events it covers, in their order."""

    __slots__ = ("_sha256",)

    def __init__(self, previous: bytes) -> None:
        self._sha256 = hashlib.sha256(previous)

    def cover(self, id: bytes, version: int, topic: bytes, state: bytes) -> None:
        """Take in an event; its id as text."""
        self._sha256.update(b"%s %d %d %d " % (id, version, len(topic), len(state)))
        self._sha256.update(topic)
        self._sha256.update(state)

    def hash(self) -> bytes:
        return self._sha256.digest()


def seal(previous: bytes, events: Iterable[StoredEvent]) -> bytes:
    """SHA-256 over the previous hash and, for each event, its id, version, topic and bytes, lengths included."""
    digest = Digest(previous)
    for event in events:
        digest.cover(str(event.originator_id).encode(), event.originator_version, event.topic.encode(), event.state)
    return digest.hash()
