"""What a JSON body can say and the ledger cannot keep: NUL characters, which PostgreSQL has no text for, and NaN."""

import re
from typing import Any

from pydantic_core import from_json

from api.errors import InvalidRequest

SUSPECT = re.compile(rb"\\u0000|NaN|Infinity")
"""What such a body must contain somewhere; a closer look tells whether it means it."""


def refuse_unrepresentable(body: bytes) -> None:
    """Raise InvalidRequest for a body with a NUL character in a string, or with a number that is none."""
    if SUSPECT.search(body) is None:
        return
    try:
        content = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        detail = {"type": "finite_number", "loc": ["body"], "msg": str(error), "input": None}
        raise InvalidRequest([detail], body.decode()) from error
    where = _nul_in(content, ["body"])
    if where is not None:
        raise InvalidRequest([nul_detail(where)], content)


def _nul_in(content: Any, path: list[str | int]) -> list[str | int] | None:
    if isinstance(content, str):
        return path if "\0" in content else None
    if isinstance(content, dict):
        if any("\0" in key for key in content):
            return path
        pairs: Any = content.items()
    elif isinstance(content, list):
        pairs = enumerate(content)
    else:
        return None
    found = (_nul_in(value, [*path, key]) for key, value in pairs)
    return next((where for where in found if where is not None), None)


def nul_detail(where: list[str | int]) -> dict[str, Any]:
    """The detail of a validation error that says where the NUL character is."""
    return {"type": "string_nul", "loc": where, "msg": "Strings must not contain a NUL character", "input": None}


def without_nul(content: Any) -> Any:
    """The same content with U+FFFD in the place of NUL characters."""
    if isinstance(content, str):
        return content.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(content, dict):
        return {without_nul(key): without_nul(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_nul(value) for value in content]
    return content
