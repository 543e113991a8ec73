"""Recorded requests and answers of a real server, and how an answer of ours is held against one of them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "data" / "samples" / "3.9.1"
LEFT_OUT = re.compile(r"\.\.\. \d+ more")
"""What the recording put in the place of further elements of a list."""

SHORTENED = re.compile(r"(.)\1*\.\.\.\[(\d+) chars\]")
"""What the recording put in the place of a long text of one character, and how long that was."""

FREE_FORM = frozenset(
    {
        "parameters",
        "context",
        "labels",
        "job_variables",
        "base_job_template",
        "task_inputs",
        "data",
        "fields",
        "request_body",
        "parameter_openapi_schema",
    }
)
"""Fields whose content is the caller's."""


@dataclass(frozen=True)
class Sample:
    """One recorded exchange; `name` and `index` say where it is recorded."""

    name: str
    index: int
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    status: int
    answer: Any

    @property
    def key(self) -> tuple[str, int]:
        return self.name, self.index

    def __str__(self) -> str:
        return f"{self.name}-{self.index}"


def read_samples() -> Iterator[Sample]:
    """All recorded exchanges over HTTP, in order of their names."""
    for file in sorted(FOLDER.glob("*_*.json")):
        if not file.name[0].isupper() or file.name.startswith("WS_"):
            continue
        for index, recorded in enumerate(json.loads(file.read_text())):
            asked, answered = recorded["request"], recorded["response"]
            told = {name: asked["headers"][name] for name in ("User-Agent", "X-PREFECT-API-VERSION")}
            yield Sample(
                file.stem,
                index,
                asked["method"],
                asked["path"],
                asked["query"],
                told,
                _without_marks(asked["json"]),
                answered["status"],
                answered.get("json"),
            )


def differences(recorded: Any, answered: Any, where: str = "") -> list[str]:
    """Where the shapes of two answers differ: other fields, or values of another type.

    Null stands for a value of any simple type. Lists are compared by their first elements; a list of things must not
    be empty.
    """
    if isinstance(recorded, dict) and isinstance(answered, dict):
        wrong = [f"{where} lacks {field}" for field in recorded.keys() - answered.keys()]
        wrong += [f"{where} has {field}" for field in answered.keys() - recorded.keys()]
        for field in recorded.keys() & answered.keys() - FREE_FORM:
            wrong += differences(recorded[field], answered[field], f"{where}.{field}")
        return wrong
    if isinstance(recorded, list) and isinstance(answered, list):
        if not recorded or not answered:
            return [f"{where} is empty"] if recorded and _nested(*recorded) else []
        return differences(recorded[0], answered[0], f"{where}[0]")
    if _kind(recorded) == _kind(answered) or (None in (recorded, answered) and not _nested(recorded, answered)):
        return []
    return [f"{where} is {answered!r}, not {recorded!r}"]


def is_left_out(element: Any) -> bool:
    """Whether an element of a recorded list stands for others."""
    return isinstance(element, str) and LEFT_OUT.fullmatch(element) is not None


def _kind(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


def _nested(*values: Any) -> bool:
    return any(isinstance(value, dict | list) for value in values)


def _without_marks(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_marks(element) for element in value if not is_left_out(element)]
    if isinstance(value, dict):
        return {name: _without_marks(content) for name, content in value.items()}
    shortened = SHORTENED.fullmatch(value) if isinstance(value, str) else None
    return value if shortened is None else shortened[1] * int(shortened[2])
