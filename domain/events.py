"""What an event is: a frozen fact under a stable topic, with who, when and on whose request.

An event's JSON leaves out null fields (absent means null) and the id and version of its stream, which are columns of
the store. A changed shape gets a higher `class_version` and an upcaster; a topic is never reused.

To change an event: raise its `class_version`, put a function into its `upcasters` under the version before, which makes
facts of this version of facts of that one, and leave the older upcasters alone: they are called one after the other.
Add golden events of the new version, those of the old one stay. A new field whose absence means null needs none of
that. In both cases `python -m scripts.event_shapes` puts the new shape on record, and tests fail until that was done.
"""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any, ClassVar
from uuid import UUID

from eventsourcing.persistence import Mapper, StoredEvent
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from domain.errors import PayloadKeysMissing, UnknownTopic
from domain.payloads import SEALED, Keyring, opened_facts, sealed_state

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

NOBODY = UUID(int=0)
"""The stream of an event that was not told which it is of; no aggregate takes its version, 0."""


class Event(BaseModel):
    """One thing that happened to one aggregate.

    `recorded_at` is stamped under the ledger lock and never decreases along the log. `occurred_at` is the client's time
    where a client reports something after the fact. `actor` is the authenticated name or the client's user agent.
    """

    model_config = ConfigDict(frozen=True)

    TOPIC: ClassVar[str] = ""
    class_version: ClassVar[int] = 1
    upcasters: ClassVar[dict[int, Upcaster]] = {}

    originator_id: UUID = Field(default=NOBODY, exclude=True)
    originator_version: int = Field(default=0, exclude=True)
    recorded_at: datetime
    actor: str
    request_id: str | None = None
    occurred_at: datetime | None = None
    traceparent: str | None = None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if cls.TOPIC:
            if cls.TOPIC in EVENT_TYPES:
                raise TypeError(f"Two event types claim the topic {cls.TOPIC}")
            EVENT_TYPES[cls.TOPIC] = cls


EVENT_TYPES: dict[str, type[Event]] = {}

_VERSIONED = b'{"class_version":'


@cache
def _version_head(kind: type[Event]) -> bytes:
    return _VERSIONED + b"%d," % kind.class_version


class EventMapper(Mapper[UUID]):
    """Turns events into stored events and back, by topic, with pydantic doing the JSON both ways.

    Stored JSON carries `class_version` only above 1. Raises UnknownTopic for a topic or version this code cannot read.
    Payload is sealed and opened with the keys on `keyring`; see `domain.payloads` for what that raises.
    """

    def __init__(self, keyring: Keyring | None = None) -> None:
        self.compressor = None
        self.cipher = None
        self.keyring = keyring

    def to_stored_event(self, domain_event: Any, key: UUID | None = None) -> StoredEvent:
        """The event as it is stored, with its payload sealed under a key if one is given."""
        event: Event = domain_event
        kind = type(event)
        if key is not None and (sealed := self._sealed(event, key)) is not None:
            return StoredEvent(event.originator_id, event.originator_version, kind.TOPIC, sealed)
        state = kind.__pydantic_serializer__.to_json(event, exclude_none=True)
        if kind.class_version > 1:
            state = _version_head(kind) + state[1:]
        return StoredEvent(event.originator_id, event.originator_version, kind.TOPIC, state)

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        return self.event_of(
            stored_event.originator_id, stored_event.originator_version, stored_event.topic, stored_event.state
        )

    def event_of(self, id: UUID | str, version: int, topic: str, state: bytes) -> Any:
        """The event that the columns of a stored one hold."""
        kind = EVENT_TYPES.get(topic)
        if kind is None:
            raise UnknownTopic(topic)
        event: Event
        versioned = state.startswith(_VERSIONED)
        if state.startswith(SEALED):
            facts = opened_facts(kind, state, self.keyring, _about(id, version, topic))
            event = kind.model_validate(_upcast(kind, facts))
        elif state.startswith(_version_head(kind)) if versioned else kind.class_version == 1:
            event = kind.__pydantic_validator__.validate_json(state)
        else:
            event = kind.model_validate(_upcast(kind, from_json(state)))
        # Writing them into the JSON for them to be read out of it again took a third of the time.
        event.__dict__["originator_id"], event.__dict__["originator_version"] = id, version
        return event

    def _sealed(self, event: Event, key: UUID) -> bytes | None:
        if self.keyring is None:
            raise PayloadKeysMissing
        kind = type(event)
        facts: dict[str, Any] = kind.__pydantic_serializer__.to_python(event, mode="json", exclude_none=True)
        if kind.class_version > 1:
            facts = {"class_version": kind.class_version, **facts}
        about = _about(event.originator_id, event.originator_version, kind.TOPIC)
        return sealed_state(kind, facts, key, self.keyring, about)


def _about(id: UUID | str, version: int, topic: str) -> bytes:
    """What a sealed payload is bound to: it opens as that of this one event and of no other."""
    return f"{id} {version} {topic}".encode()


def _upcast(kind: type[Event], facts: dict[str, Any]) -> dict[str, Any]:
    version = facts.pop("class_version", 1)
    while version < kind.class_version:
        if version not in kind.upcasters:
            raise UnknownTopic(kind.TOPIC, version)
        facts = kind.upcasters[version](facts)
        version += 1
    if version > kind.class_version:
        raise UnknownTopic(kind.TOPIC, version)
    return facts
