"""A keyring in memory, for tests that need no key store."""

import os
from collections.abc import Iterable, Mapping
from uuid import UUID

from domain.errors import PayloadKeyMissing
from projections.payload_keys.store import KEY_BYTES, KeyStore, StoredKeys


class KeysInMemory(KeyStore):
    """Keys that are gone with the test."""

    def __init__(self) -> None:
        self.id = UUID(int=1)
        self.keys: dict[UUID, bytes | None] = {}
        self.ring = StoredKeys(self)

    def make(self, ids: Iterable[UUID]) -> None:
        for id in ids:
            self.keys.setdefault(id, os.urandom(KEY_BYTES))

    def look_up(self, ids: Iterable[UUID]) -> Mapping[UUID, bytes | None]:
        return {id: self.keys[id] for id in ids if id in self.keys}

    def destroy(self, id: UUID) -> None:
        if id not in self.keys:
            raise PayloadKeyMissing(id)
        self.keys[id] = None

    def close(self) -> None:
        """Nothing is held open."""
