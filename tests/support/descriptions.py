"""Bodies made from the description that a server publishes of itself."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

LONGEST = 4
"""Most elements of a made list, and most fields of a made mapping."""

ANY_TEXT = st.text(max_size=12)
ANY_NUMBER = st.integers() | st.floats()
ANY_JSON = st.recursive(
    st.none() | st.booleans() | ANY_NUMBER | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=LONGEST) | st.dictionaries(ANY_TEXT, inner, max_size=LONGEST),
    max_leaves=6,
)


@dataclass(frozen=True)
class Operation:
    """One method of one path, and the schema of the body it takes; None for those that take none."""

    method: str
    path: str
    schema: dict[str, Any] | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def operations(description: dict[str, Any]) -> list[Operation]:
    """All operations of an OpenAPI description."""
    found = []
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            found.append(Operation(method.upper(), path, content.get("schema")))
    return found


class Bodies:
    """Makes strategies for bodies out of the schemas of one description; ids are mostly taken from `ids`.

    What is made mostly fits: one field in ten holds anything at all, which is where mistakes are made.
    """

    def __init__(self, description: dict[str, Any], ids: tuple[str, ...]) -> None:
        self._schemas = description["components"]["schemas"]
        self._ids = st.sampled_from(ids) | st.uuids().map(str)
        self._made: dict[str, SearchStrategy[Any]] = {}

    def of(self, schema: dict[str, Any]) -> SearchStrategy[Any]:
        """Values that fit a schema, now and then with something in them that does not."""
        fitting = self._fitting(schema)
        return st.integers(0, 9).flatmap(lambda die: ANY_JSON if die == 0 else fitting)

    def _fitting(self, schema: dict[str, Any]) -> SearchStrategy[Any]:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if name not in self._made:
                self._made[name] = st.deferred(lambda: self._fitting(self._schemas[name]))
            return self._made[name]
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return st.one_of([self._fitting(one) for one in schema[choice]])
        if "const" in schema:
            return st.just(schema["const"])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        match schema.get("type"):
            case "object":
                return self._objects(schema)
            case "array":
                return st.lists(self.of(schema.get("items", {})), max_size=LONGEST)
            case "string":
                return self._texts(schema)
            case "integer":
                return st.integers(schema.get("minimum"), schema.get("maximum"))
            case "number":
                return ANY_NUMBER
            case "boolean":
                return st.booleans()
            case "null":
                return st.none()
        return ANY_JSON

    def _objects(self, schema: dict[str, Any]) -> SearchStrategy[Any]:
        fields = {name: self.of(field) for name, field in schema.get("properties", {}).items()}
        required = {name: fields.pop(name) for name in schema.get("required", []) if name in fields}
        if fields or required:
            return st.fixed_dictionaries(required, optional=fields)
        others = schema.get("additionalProperties", True)
        return st.dictionaries(ANY_TEXT, self.of(others) if isinstance(others, dict) else ANY_JSON, max_size=LONGEST)

    def _texts(self, schema: dict[str, Any]) -> SearchStrategy[Any]:
        match schema.get("format"):
            case "uuid":
                return self._ids
            case "date-time":
                return st.datetimes(timezones=st.none() | st.timezones()).map(lambda time: time.isoformat())
        return ANY_TEXT
