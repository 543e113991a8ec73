"""JSON as the standard has it: without the numbers that Python reads and others do not."""

import json
from typing import Any, NoReturn


def loads(text: str) -> Any:
    """The value of a JSON text. Raises ValueError for anything that is not strictly JSON, NaN and Infinity included."""
    return json.loads(text, parse_constant=_refuse)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
