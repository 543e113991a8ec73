"""The shape of an event that was ever written stays as it was, and golden events show all of it."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from domain.events import EVENT_TYPES
from scripts.event_shapes import Shape, only_adds_what_may_be_null, present_shapes, recorded_shapes, with_new

GOLDEN = Path(__file__).parents[1] / "data" / "events"
RECORDED, PRESENT = recorded_shapes(), present_shapes()
VERSIONS = [(topic, version) for topic, versions in RECORDED.items() for version in versions]

CHANGED = (
    "The shape of {topic} version {version} is not the one on record. Events of that shape may have been written, so"
    " raise its class_version and add an upcaster from version {version}, then run `python -m scripts.event_shapes`."
)
GROWN = (
    "{topic} version {version} has a field more, whose absence means null: that needs no new version. Run"
    " `python -m scripts.event_shapes` to put it on record, and add the field to the golden event."
)


@pytest.mark.parametrize("topic", sorted(PRESENT))
def test_no_shape_changes_without_a_new_version(topic: str) -> None:
    ((version, shape),) = PRESENT[topic].items()
    recorded = RECORDED.get(topic, {}).get(version)
    assert recorded is not None, f"Run `python -m scripts.event_shapes` to put {topic} version {version} on record."
    if recorded != shape:
        grown = only_adds_what_may_be_null(recorded, shape)
        pytest.fail((GROWN if grown else CHANGED).format(topic=topic, version=version))


@pytest.mark.parametrize(("topic", "version"), VERSIONS)
def test_every_version_on_record_can_still_be_read(topic: str, version: str) -> None:
    kind = EVENT_TYPES[topic]
    assert 1 <= int(version) <= kind.class_version
    assert set(range(1, kind.class_version)) <= kind.upcasters.keys()


@pytest.mark.parametrize(("topic", "version"), VERSIONS)
def test_golden_events_show_every_field_of_their_shape(topic: str, version: str) -> None:
    files = [path for path in GOLDEN.glob(f"{topic}.v{version}.*") if path.suffix == ".json"]
    shown = {field for path in files for field in shown_in(json.loads(path.read_text()), RECORDED[topic][version])}
    missing = sorted(set(fields_of(RECORDED[topic][version])) - shown)
    assert not missing, f"These are in no golden event of {topic} version {version}: {', '.join(missing)}"


def test_a_field_more_that_may_be_null_is_taken_on_record_and_nothing_else_is() -> None:
    present = deepcopy(RECORDED)
    present["Flow.Created"]["1"]["properties"]["color"] = {"type": "string", "default": None}
    present["FlowRun.StateSet"]["1"]["properties"]["state"]["properties"]["mood"] = {"default": None}
    shapes, refused = with_new(RECORDED, present)
    assert (shapes, refused) == (present, [])
    assert with_new(RECORDED, {"Flow.Created": {"2": {"type": "object"}}})[0]["Flow.Created"].keys() == {"1", "2"}


@pytest.mark.parametrize(
    "change",
    [
        lambda shape: shape["properties"].update(color={"type": "string", "default": "red"}),
        lambda shape: shape["properties"].update(color={"type": "array"}),
        lambda shape: (shape["properties"].update(color={"default": None}), shape["required"].append("color")),
        lambda shape: shape["properties"].pop("tags"),
        lambda shape: shape["properties"]["name"].update(type="integer"),
        lambda shape: shape["properties"]["name"].update(maxLength=10),
        lambda shape: shape["required"].remove("tags"),
        lambda shape: shape.update(additionalProperties=False),
    ],
    ids=["default", "no default", "required", "removed", "type", "bound", "optional", "closed"],
)
def test_any_other_change_is_refused(change: Any) -> None:
    present = deepcopy(RECORDED)
    change(present["Flow.Created"]["1"])
    assert with_new(RECORDED, present) == (RECORDED, ["Flow.Created version 1"])


def fields_of(shape: Shape, name: str = "") -> Iterator[str]:
    """The names of all fields within a shape; those of one of several shapes have its number before them."""
    for number, one in enumerate(variants(shape)):
        at = f"{name}|{number}" if len(variants(shape)) > 1 else name
        for field, inner in one.get("properties", {}).items():
            yield f"{at}.{field}"
            yield from fields_of(inner, f"{at}.{field}")
        for inner in inside(one):
            yield from fields_of(inner, f"{at}[]")


def shown_in(value: Any, shape: Shape, name: str = "") -> Iterator[str]:
    """The names of those fields of a shape that a value has."""
    for number, one in enumerate(variants(shape)):
        at = f"{name}|{number}" if len(variants(shape)) > 1 else name
        if isinstance(value, dict) and "properties" in one and fits(value, one):
            for field in value.keys() & one["properties"].keys():
                yield f"{at}.{field}"
                yield from shown_in(value[field], one["properties"][field], f"{at}.{field}")
        elif isinstance(value, dict | list):
            for inner in inside(one):
                for element in value.values() if isinstance(value, dict) else value:
                    yield from shown_in(element, inner, f"{at}[]")


def variants(shape: Shape) -> list[Shape]:
    """The shapes of which a value must have one."""
    one_of: list[Shape] = shape.get("anyOf") or shape.get("oneOf") or [shape]
    return one_of


def inside(shape: Shape) -> list[Shape]:
    """The shape of what is in a list, or in an object of any keys."""
    return [inner for key in ("items", "additionalProperties") if isinstance(inner := shape.get(key), dict)]


def fits(value: dict[str, Any], shape: Shape) -> bool:
    """Whether an object is of this shape and not of another one."""
    constants = {name: field["const"] for name, field in shape["properties"].items() if "const" in field}
    return (
        value.keys() <= {*shape["properties"], "class_version"}
        and set(shape.get("required", ())) <= value.keys()
        and all(value.get(name, constant) == constant for name, constant in constants.items())
    )
