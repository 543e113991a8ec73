"""Tags as keys of one length, for tags may be longer than an index can hold."""

import hashlib
from functools import lru_cache
from uuid import UUID


@lru_cache(4096)
def key_of_tag(tag: str) -> UUID:
    """The first half of a tag's SHA-256: no two tags have the same."""
    return UUID(bytes=hashlib.sha256(tag.encode()).digest()[:16])


def keys_of_tags(tags: list[str]) -> list[UUID]:
    """The keys of tags, each once."""
    return list(dict.fromkeys(map(key_of_tag, tags)))
