"""What a key store is, and the ring of keys that comes from one."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.errors import PayloadKeyMissing, PayloadTampered

KEY_BYTES, NONCE_BYTES = 32, 12
"""Of AES-256-GCM (NIST SP 800-38D); one key seals far fewer than the 2^32 payloads that random nonces are good for."""

MOST_KNOWN = 10_000
"""How many keys a ring has in memory."""


class KeysUnusable(Exception):
    """Keys cannot be kept where a setting says; the message is one sentence."""


class KeyStore(ABC):
    """Keys by the ids of the runs they were made for. A destroyed key leaves a note that there was one.

    `id` is that of the store itself, which a ledger remembers. For the use of several threads. Everything raises
    StoreUnavailable when the store does not answer.
    """

    id: UUID

    @abstractmethod
    def make(self, ids: Iterable[UUID]) -> None:
        """Make keys that are durable on return; those that are there, or were, stay as they are."""

    @abstractmethod
    def look_up(self, ids: Iterable[UUID]) -> Mapping[UUID, bytes | None]:
        """The keys of those of the ids for which some were made; None where it was destroyed."""

    @abstractmethod
    def destroy(self, id: UUID) -> None:
        """Make sure that a key cannot be read any more, durably; again is no error. Raises PayloadKeyMissing."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the store; it opens again by itself."""


class StoredKeys:
    """A keyring (`domain.payloads.Keyring`) of the keys in a store, each looked up once while it is in memory.

    What one ring knows of a key may be out of date: a ring for reading lives no longer than a request, and the ledger,
    which has one for as long as the process lives, forgets the keys of runs that others have changed.
    """

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._known: dict[UUID, AESGCM | None] = {}

    def make(self, ids: Iterable[UUID]) -> None:
        self._store.make(ids)

    def know(self, ids: Iterable[UUID]) -> frozenset[UUID]:
        """Look keys up in one go; give those of the ids that have one, destroyed or not."""
        wanted = set(ids)
        found = self._store.look_up(wanted - self._known.keys())
        self._known.update((id, None if key is None else AESGCM(key)) for id, key in found.items())
        return frozenset(wanted & self._known.keys())

    def seal(self, key: UUID, payload: bytes, about: bytes) -> bytes | None:
        cipher = self._cipher(key)
        if cipher is None:
            return None
        nonce = os.urandom(NONCE_BYTES)
        return nonce + cipher.encrypt(nonce, payload, about)

    def open(self, key: UUID, sealed: bytes, about: bytes) -> bytes | None:
        cipher = self._cipher(key)
        if cipher is None:
            return None
        try:
            return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
        except (InvalidTag, ValueError) as error:
            raise PayloadTampered(key) from error

    def forget(self, ids: Iterable[UUID] | None) -> None:
        if ids is None:
            self._known.clear()
        else:
            for id in ids:
                self._known.pop(id, None)

    def _cipher(self, key: UUID) -> AESGCM | None:
        if key not in self._known:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            if not self.know([key]):
                raise PayloadKeyMissing(key)
        return self._known[key]
