"""What JSON can say and the ledger cannot keep: NUL characters, unknown to PostgreSQL's texts, and infinite numbers."""

import re
from math import isfinite
from typing import Any

from pydantic_core import from_json

from api.errors import InvalidRequest

SUSPECT = re.compile(rb"\\u0000|NaN|Infinity|\d[eE]\+?\d{2,}(?:[\s,\]}]|$)|\d{300}")
"""What such a body must contain somewhere; a closer look tells whether it means it."""


def refuse_unrepresentable(body: bytes) -> None:
    """Raise InvalidRequest for a body with a NUL character in a string, or with a number that is none."""
    if SUSPECT.search(body) is None:
        return
    found = _unrepresentable_in(from_json(body), ["body"])
    if found is not None:
        raise InvalidRequest([found], body.decode())


def _unrepresentable_in(content: Any, path: list[str | int]) -> dict[str, Any] | None:
    """The detail of the first thing in the content that cannot be kept."""
    if isinstance(content, float) and not isfinite(content):
        return {"type": "finite_number", "loc": path, "msg": "Input should be a finite number", "input": None}
    if isinstance(content, str):
        return nul_detail(path) if "\0" in content else None
    if isinstance(content, dict):
        if any("\0" in key for key in content):
            return nul_detail(path)
        pairs: Any = content.items()
    elif isinstance(content, list):
        pairs = enumerate(content)
    else:
        return None
    found = (_unrepresentable_in(value, [*path, key]) for key, value in pairs)
    return next((detail for detail in found if detail is not None), None)


def nul_detail(where: list[str | int]) -> dict[str, Any]:
    """The detail of a validation error that says where the NUL character is."""
    return {"type": "string_nul", "loc": where, "msg": "Strings must not contain a NUL character", "input": None}


def representable(content: Any) -> Any:
    """The same content with U+FFFD in the place of NUL characters and null in the place of infinite numbers."""
    if isinstance(content, float) and not isfinite(content):
        return None
    if isinstance(content, str):
        return content.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(content, dict):
        return {representable(key): representable(value) for key, value in content.items()}
    if isinstance(content, list):
        return [representable(value) for value in content]
    return content


def readable(body: bytes) -> Any:
    """What a body says, to repeat it to who sent it: its content where it is JSON, else its text, null for no body."""
    try:
        return from_json(body or b"null")
    except ValueError:
        return body.decode(errors="replace")
