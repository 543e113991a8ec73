"""Events are written and read as they always were: every topic has a golden file, and absent means null."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
from eventsourcing.persistence import StoredEvent

from domain.errors import UnknownTopic
from domain.events import EVENT_TYPES, Event, EventMapper, Upcaster
from domain.flow_run import FlowRunStateSet
from domain.ledger import AGGREGATES
from domain.states import State, StateType
from domain.task_run import TaskRunCreated

GOLDEN = Path(__file__).parents[1] / "data" / "events"
ID = UUID("01a20790-15e6-7713-839e-1a028bb46724")
AT = datetime(2026, 11, 1, 12, tzinfo=UTC)


def golden_files() -> list[Path]:
    return sorted(GOLDEN.glob("*.v*.json"))


def version_of(path: Path) -> tuple[str, int]:
    """The topic and the version of a golden event; what follows them says what it shows."""
    topic, _, rest = path.name.rpartition(".v")
    return topic, int(rest.partition(".")[0])


@pytest.mark.parametrize("topic", sorted(EVENT_TYPES))
def test_every_topic_has_a_golden_event_of_its_present_version(topic: str) -> None:
    version = EVENT_TYPES[topic].class_version
    assert (GOLDEN / f"{topic}.v{version}.json").exists()


@pytest.mark.parametrize("path", golden_files(), ids=lambda path: path.stem)
def test_a_golden_event_is_still_read_and_folded(path: Path) -> None:
    topic, _ = version_of(path)
    event = EventMapper().to_domain_event(StoredEvent(ID, 1, topic, path.read_bytes().strip()))
    assert isinstance(event, EVENT_TYPES[topic])
    AGGREGATES[topic.partition(".")[0]](ID).apply(event)


@pytest.mark.parametrize("path", golden_files(), ids=lambda path: path.stem)
def test_a_golden_event_of_the_present_version_is_written_as_it_was(path: Path) -> None:
    topic, version = version_of(path)
    if EVENT_TYPES[topic].class_version == version:
        stored = StoredEvent(ID, 1, topic, path.read_bytes().strip())
        mapper = EventMapper()
        assert mapper.to_stored_event(mapper.to_domain_event(stored)) == stored


def test_nulls_inside_data_are_kept_while_null_fields_are_left_out() -> None:
    data = {"kept": None, "list": [None, {"also": None}]}
    state = State(id=ID, type=StateType.COMPLETED, name="Completed", timestamp=AT, data=data)
    event = FlowRunStateSet(originator_id=ID, originator_version=3, recorded_at=AT, actor="a test", state=state)
    mapper = EventMapper()

    stored = mapper.to_stored_event(event)

    written = json.loads(stored.state)
    assert written["state"]["data"] == data
    assert "message" not in written["state"]
    assert "originator_id" not in written
    assert mapper.to_domain_event(stored) == event


def test_a_topic_that_nobody_knows_is_named() -> None:
    with pytest.raises(UnknownTopic, match=r"FlowRun\.Vanished"):
        EventMapper().to_domain_event(StoredEvent(ID, 1, "FlowRun.Vanished", b"{}"))


def test_a_topic_cannot_be_claimed_twice() -> None:
    with pytest.raises(TypeError, match=r"Flow\.Deleted"):

        class Impostor(Event):
            TOPIC: ClassVar[str] = "Flow.Deleted"


def test_an_older_version_is_lifted_and_a_newer_one_refused() -> None:
    try:

        class Renamed(Event):
            TOPIC: ClassVar[str] = "Test.Renamed"
            class_version: ClassVar[int] = 2
            upcasters: ClassVar = {1: lambda facts: {**facts, "title": facts.pop("name")}}
            title: str

        mapper = EventMapper()
        old = b'{"recorded_at":"2026-11-01T12:00:00Z","actor":"a test","name":"x"}'
        event = mapper.to_domain_event(StoredEvent(ID, 1, "Test.Renamed", old))
        assert event.title == "x"
        assert mapper.to_domain_event(mapper.to_stored_event(event)) == event
        with pytest.raises(UnknownTopic, match="version 3"):
            mapper.to_domain_event(StoredEvent(ID, 1, "Test.Renamed", b'{"class_version":3,' + old[1:]))
    finally:
        EVENT_TYPES.pop("Test.Renamed", None)


def test_an_event_of_long_ago_is_lifted_from_version_to_version() -> None:
    lifted = []

    def lift(version: int) -> Upcaster:
        def upcaster(facts: dict[str, Any]) -> dict[str, Any]:
            lifted.append(version)
            assert "class_version" not in facts
            return {**facts, "path": [*facts.get("path", []), version]}

        return upcaster

    try:

        class Travelled(Event):
            TOPIC: ClassVar[str] = "Test.Travelled"
            class_version: ClassVar[int] = 4
            upcasters: ClassVar = {3: lift(3), 1: lift(1), 2: lift(2)}
            path: list[int]

        def read(version: bytes) -> Any:
            state = b'{%b"recorded_at":"2026-11-01T12:00:00Z","actor":"a test","path":[]}' % version
            return EventMapper().to_domain_event(StoredEvent(ID, 1, "Test.Travelled", state))

        assert read(b"").path == [1, 2, 3]
        assert read(b'"class_version":2,').path == [2, 3]
        assert read(b'"class_version":4,').path == []
        assert lifted == [1, 2, 3, 2, 3]
        del Travelled.upcasters[2]
        with pytest.raises(UnknownTopic, match=r"Test\.Travelled version 2"):
            read(b"")
    finally:
        EVENT_TYPES.pop("Test.Travelled", None)


@pytest.mark.parametrize(
    ("labels", "flow_id"),
    [
        (f'{{"prefect.flow.id":"{ID}"}}', ID),
        ('{"prefect.flow.id":"mine"}', None),
        ('{"prefect.flow.id":1}', None),
        ("{}", None),
    ],
)
def test_the_flow_of_an_old_task_run_is_told_by_its_label(labels: str, flow_id: UUID | None) -> None:
    old = f'{{"recorded_at":"2026-11-01T12:00:00Z","actor":"a","flow_run_id":"{ID}","labels":{labels},'
    old += '"name":"n","task_key":"k","dynamic_key":"0"}'
    event = EventMapper().to_domain_event(StoredEvent(ID, 1, "TaskRun.Created", old.encode()))
    assert isinstance(event, TaskRunCreated)
    assert event.flow_id == flow_id
