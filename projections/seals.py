"""Seals: one hash a transaction that chains all events before it to those it covers.

A seal of today is made of a leaf for each event, so that it can still be checked when events are in an archive and only
their leaves are left. Seals of before were made of the events themselves and are checked as they were made.
"""

import hashlib
from collections.abc import Iterable

from eventsourcing.persistence import StoredEvent

GENESIS = bytes(32)
"""What stands in the place of the hash before the first seal."""

OF_EVENTS, OF_LEAVES = 1, 2
"""The formulas by which seals were made, and are made."""


class Digest:
    """The hash of one seal in the making: of the hash before it and of the events it covers, in their order."""

    __slots__ = ("_of_leaves", "_sha256")

    def __init__(self, previous: bytes, formula: int = OF_LEAVES) -> None:
        self._sha256 = hashlib.sha256(previous)
        self._of_leaves = formula != OF_EVENTS

    def cover(self, id: bytes, version: int, topic: bytes, state: bytes) -> None:
        """Take in an event; its id as text."""
        event = _hashed(id, version, topic, state)
        self._sha256.update(hashlib.sha256(event).digest() if self._of_leaves else event)

    def cover_leaf(self, leaf: bytes) -> None:
        """Take in an event of which only the leaf is left: under the formula of before, the seal will not fit."""
        self._sha256.update(leaf)

    def hash(self) -> bytes:
        return self._sha256.digest()


def leaf(event: StoredEvent) -> bytes:
    """SHA-256 over the id, version, topic and bytes of an event, lengths included."""
    id, topic = str(event.originator_id).encode(), event.topic.encode()
    return hashlib.sha256(_hashed(id, event.originator_version, topic, event.state)).digest()


def seal(previous: bytes, events: Iterable[StoredEvent]) -> bytes:
    """SHA-256 over the previous hash and the leaves of the events."""
    digest = hashlib.sha256(previous)
    for event in events:
        digest.update(leaf(event))
    return digest.digest()


def _hashed(id: bytes, version: int, topic: bytes, state: bytes) -> bytes:
    return b"%s %d %d %d %s%s" % (id, version, len(topic), len(state), topic, state)
