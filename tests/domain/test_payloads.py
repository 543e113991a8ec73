"""What people put into runs is told apart from facts, sealed under the run's key, and gone without it."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.persistence import StoredEvent
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import PayloadKeyMissing, PayloadKeysMissing, PayloadTampered
from domain.events import EVENT_TYPES, Event, EventMapper
from domain.ledger import AGGREGATES
from domain.payloads import Payload, payload_paths, without_payload
from domain.run import Run
from scripts.event_shapes import shape_of
from tests.support.payload_keys import KeysInMemory

DATA = Path(__file__).parents[1] / "data"
ID, KEY = UUID("01a20790-15e6-7713-839e-1a028bb46724"), UUID("01a20790-15e6-7713-839e-000000000077")
CLASSIFIED: dict[str, dict[str, str]] = json.loads((DATA / "payload_fields.json").read_text())
RUN_TOPICS = sorted(topic for topic in EVENT_TYPES if issubclass(AGGREGATES.get(topic.partition(".")[0], object), Run))
GOLDEN = [path for path in sorted((DATA / "events").glob("*.v*.json")) if path.name.partition(".v")[0] in RUN_TOPICS]
MARKER = "a marker that nothing else holds"

texts = st.text(max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def fields_of(schema: dict[str, Any], way: str = "") -> set[str]:
    """The fields of an event as paths, those of models in it included."""
    found: set[str] = set()
    for name, field in schema.get("properties", {}).items():
        found.add(f"{way}{name}")
        for inner in (field, *field.get("anyOf", ())):
            found |= fields_of(inner, f"{way}{name}.")
    return found


def read(path: Path) -> Event:
    topic = path.name.partition(".v")[0]
    event: Event = EventMapper().to_domain_event(StoredEvent(ID, 3, topic, path.read_bytes().strip()))
    return event


def with_payload(event: Event, values: dict[str, Any]) -> Event:
    """The event with other payload, of the types that its fields have."""
    facts = event.model_dump(mode="json")
    for path, mark in payload_paths(type(event)).items():
        *way, name = path.split(".")
        place = facts
        for step in way:
            place = place.get(step) or {}
        if place.get(name) is not None:
            place[name] = values["object"] if isinstance(place[name], dict) else values["text"]
            if path.endswith("data"):
                place[name] = values["any"]
        assert isinstance(mark, Payload)
    return type(event).model_validate({**facts, "originator_id": ID, "originator_version": 3})


@pytest.mark.parametrize("topic", RUN_TOPICS)
def test_of_every_field_of_an_event_of_runs_it_is_written_down_whether_it_is_payload(topic: str) -> None:
    kind = EVENT_TYPES[topic]
    payload = payload_paths(kind)
    assert {field: "payload" if field in payload else "fact" for field in fields_of(shape_of(kind))} == CLASSIFIED[
        topic
    ]


@given(
    path=st.sampled_from(GOLDEN),
    values=st.fixed_dictionaries(
        {"object": st.dictionaries(texts, json_values, max_size=3), "text": texts, "any": json_values}
    ),
)
def test_what_is_sealed_comes_back_as_it_was_and_is_gone_without_its_key(path: Path, values: dict[str, Any]) -> None:
    keys = KeysInMemory()
    keys.make([KEY])
    mapper = EventMapper(keys.ring)
    event = with_payload(read(path), values)
    stored = mapper.to_stored_event(event, KEY)
    assert mapper.to_domain_event(stored) == event
    keys.destroy(KEY)
    gone = EventMapper(type(keys.ring)(keys)).to_domain_event(stored)
    assert gone == without_payload(event)
    assert without_payload(gone) == gone


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_no_payload_can_be_read_in_what_is_stored(path: Path) -> None:
    keys = KeysInMemory()
    keys.make([KEY])
    event = with_payload(read(path), {"object": {"x": [MARKER]}, "text": MARKER, "any": {"y": MARKER}})
    stored = EventMapper(keys.ring).to_stored_event(event, KEY)
    assert MARKER.encode() not in stored.state
    holds_payload = MARKER in event.model_dump_json()
    assert stored.state.startswith(b'{"sealed":') == holds_payload


def sealed(keys: KeysInMemory) -> StoredEvent:
    keys.make([KEY])
    return EventMapper(keys.ring).to_stored_event(read(DATA / "events" / "FlowRun.InputWritten.v1.json"), KEY)


def test_a_payload_that_was_changed_or_moved_is_not_taken_for_what_it_was() -> None:
    keys = KeysInMemory()
    stored = sealed(keys)
    facts = json.loads(stored.state)
    changed = facts["sealed"]["data"]
    facts["sealed"]["data"] = changed[:-8] + ("A" if changed[-8] != "A" else "B") + changed[-7:]
    tampered = StoredEvent(
        ID, stored.originator_version, stored.topic, json.dumps(facts, separators=(",", ":")).encode()
    )
    moved = StoredEvent(ID, stored.originator_version + 1, stored.topic, stored.state)
    for event in (tampered, moved):
        with pytest.raises(PayloadTampered):
            EventMapper(keys.ring).to_domain_event(event)


def test_a_missing_setting_or_another_key_store_is_no_erasure() -> None:
    stored = sealed(KeysInMemory())
    with pytest.raises(PayloadKeysMissing):
        EventMapper().to_domain_event(stored)
    with pytest.raises(PayloadKeyMissing):
        EventMapper(KeysInMemory().ring).to_domain_event(stored)
