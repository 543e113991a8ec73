"""The shapes of all events, on record for good. `python -m scripts.event_shapes` records those that are new.

An event that was written is read for ever, so its shape stays as it was: a changed one is another version of it, with
an upcaster from the one before. One change needs no version: a field more whose absence means null.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from domain.events import EVENT_TYPES, Event
from domain.ledger import AGGREGATES

SHAPES = Path(__file__).parents[1] / "tests" / "data" / "events" / "shapes.json"

Shape = dict[str, Any]
Shapes = dict[str, dict[str, Shape]]
"""By topic, and by version as text."""

NO_SHAPE = {"title", "description", "$defs", "mapping"}
"""What a schema says for people, or of names of classes, which may change."""

KNOWN_KINDS = frozenset(AGGREGATES)


def shape_of(kind: type[Event]) -> Shape:
    """What the JSON of an event must be like to be read: fields, types, defaults and bounds, all in one."""
    schema = kind.model_json_schema(mode="validation")
    shape: Shape = _plain({**schema, "properties": dict(schema["properties"])}, schema.get("$defs", {}))
    # Columns of the store.
    for column in ("originator_id", "originator_version"):
        del shape["properties"][column]
    return shape


def present_shapes() -> Shapes:
    """The shapes of all events of the service, each of its present version."""
    return {
        topic: {str(kind.class_version): shape_of(kind)}
        for topic, kind in sorted(EVENT_TYPES.items())
        if topic.partition(".")[0] in KNOWN_KINDS
    }


def recorded_shapes() -> Shapes:
    """All shapes on record, of present and of earlier versions."""
    shapes: Shapes = json.loads(SHAPES.read_text())
    return shapes


def only_adds_what_may_be_null(before: Any, after: Any) -> bool:
    """Whether whatever fits one shape fits the other and means the same, but for fields more that may be left out.

    Null must be what it means that such a field is not there.
    """
    if not isinstance(before, dict) or not isinstance(after, dict):
        if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
            return all(map(only_adds_what_may_be_null, before, after))
        return bool(before == after)
    added = {}
    if _has_fields(before) and _has_fields(after):
        added = {name: field for name, field in after["properties"].items() if name not in before["properties"]}
        after = {**after, "properties": {n: f for n, f in after["properties"].items() if n not in added}}
    absence_is_null = all(field.get("default", ...) is None for field in added.values())
    if before.keys() != after.keys() or not absence_is_null:
        return False
    return all(only_adds_what_may_be_null(before[key], after[key]) for key in before)


def with_new(recorded: Shapes, present: Shapes) -> tuple[Shapes, list[str]]:
    """The shapes to have on record, and the names of those that would have to be changed and may not be."""
    shapes = {topic: dict(versions) for topic, versions in recorded.items()}
    refused = []
    for topic, versions in present.items():
        for version, shape in versions.items():
            before = shapes.setdefault(topic, {}).get(version)
            if before is None or only_adds_what_may_be_null(before, shape):
                shapes[topic][version] = shape
            else:
                refused.append(f"{topic} version {version}")
    return shapes, refused


def main() -> int:
    """Record what is new; give the exit code, 1 where a shape was changed that is on record."""
    shapes, refused = with_new(recorded_shapes() if SHAPES.exists() else {}, present_shapes())
    if refused:
        print(
            f"These are on record with other shapes, of which events may have been written: {', '.join(refused)}."
            " Raise class_version and add an upcaster from the version before.",
            file=sys.stderr,
        )
        return 1
    SHAPES.write_text(json.dumps(shapes, indent=1, sort_keys=True) + "\n")
    return 0


def _plain(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema with what it refers to in its place, and without what is no part of a shape."""
    if isinstance(schema, list):
        return [_plain(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        return _plain({**target, **{key: value for key, value in schema.items() if key != "$ref"}}, definitions)
    plain = {key: value for key, value in schema.items() if key not in NO_SHAPE}
    for key, value in plain.items():
        if key == "properties":
            plain[key] = {name: _plain(field, definitions) for name, field in value.items()}
        elif key not in ("default", "const", "enum"):
            plain[key] = _plain(value, definitions)
    for unordered in ("required", "enum"):
        if unordered in plain:
            plain[unordered] = sorted(plain[unordered])
    return plain


def _has_fields(schema: Mapping[str, Any]) -> bool:
    return isinstance(schema.get("properties"), dict)


if __name__ == "__main__":
    sys.exit(main())
