"""Checks of streams: versions, decoding, what may follow what, and the natural keys that aggregates hold."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from uuid import UUID

import psycopg
from eventsourcing.persistence import StoredEvent

from domain.aggregate import Aggregate
from domain.errors import StoreUnavailable, UnknownTopic
from domain.events import Event, EventMapper
from domain.held_keys import held_keys
from domain.ledger import AGGREGATES
from domain.run import Run
from projections.connection import first_line
from projections.payload_keys.opening import mapper_for
from projections.verify.findings import Check, Finding, Found, Part
from projections.verify.scene import ROWS_PER_PART, Scene, rows

VERSIONS = Check(
    "versions", "streams", "The versions of each stream count from 1 without gaps, in the order of the log."
)
EVENTS = Check("events", "events", "Every event is of a topic and a version that is known, and can be read.")
FOLDS = Check(
    "folds", "streams", "Every stream begins with how its aggregate came to be, folds, and ends with its deletion."
)
KEYS = Check("keys", "keys", "The natural keys that are claimed are those that the aggregates hold.")

BEGINNINGS = frozenset({"Created", "Saved"})
"""What stands after the dot in the topics of events with which a stream may begin."""

ARCHIVED, RESTORED = "Archived", "Restored"
"""What does, where a run went into an archive and came back. All else of a run that is in one is there, too."""

LAST_ID = UUID(int=2**128 - 1)

_BOUNDS = """
SELECT DISTINCT originator_id FROM (
    SELECT originator_id, row_number() OVER (ORDER BY originator_id) AS number FROM ledger.events
) AS event
WHERE number %% %s = 0 ORDER BY originator_id
"""

_STREAMS = """
SELECT originator_id, originator_version, topic, state, position FROM ledger.events
WHERE originator_id >= %s AND (originator_id < %s OR %s) ORDER BY originator_id, originator_version
"""

_KEYS = "SELECT id, kind, key FROM ledger.keys WHERE id >= %s AND (id < %s OR %s) ORDER BY id"

_STANDS_FOR = "SELECT id FROM ledger.keys WHERE kind = %s AND key = %s"

Row = tuple[UUID, int, bytes, bytes, int]


def check_streams(scene: Scene) -> Iterator[Part]:
    """What is found of versions, events, folds and keys, part by part."""
    bounds = [row[0] for row in scene.connection.execute(_BOUNDS, [ROWS_PER_PART])]
    parts = zip([UUID(int=0), *bounds], [*bounds, None], strict=True)
    return scene.look(look_at_streams, [(*part, scene.keys) for part in parts])


def look_at_streams(
    connection: psycopg.Connection, first: UUID, behind: UUID | None, keys_at: str | None = None
) -> Part:
    """What is found of the streams and keys of the ids from `first` to before `behind`, or to the last.

    `keys_at` is where the keys of payloads are.
    """
    part = _Streams(connection, mapper_for(keys_at))
    bounds = [first, behind or LAST_ID, behind is None]
    keys = _Keys(connection, rows(connection, "keys", _KEYS, bounds), part.keys)
    for id, stream in groupby(rows(connection, "streams", _STREAMS, bounds), key=lambda row: row[0]):
        aggregate = part.fold(id, stream)
        keys.compare(id, aggregate)
    keys.finish()
    return {VERSIONS.name: part.versions, EVENTS.name: part.events, FOLDS.name: part.folds, KEYS.name: part.keys}


class _Streams:
    def __init__(self, connection: psycopg.Connection, mapper: EventMapper) -> None:
        self.versions, self.events, self.folds, self.keys = Found(), Found(), Found(), Found()
        self._mapper = mapper
        self._topics: dict[bytes, str] = {}

    def fold(self, id: UUID, stream: Iterable[Row]) -> Aggregate | None:
        """What a stream adds up to, or None where it adds up to nothing."""
        self.versions.looked_at += 1
        self.folds.looked_at += 1
        aggregate: Aggregate | None = None
        whole = True
        version = position = 0
        away = False
        for _, number, topic, state, at in stream:
            if version == 0 and number > 1 and topic.endswith(b"." + ARCHIVED.encode()):
                # What is left of those before is looked at with what is left of all events in archives.
                version, away = number - 1, True
            elif away:
                self._miss(id, 0, version, position)
                away = False
            if number != version + 1:
                self._miss(id, version, number, at)
                whole = False
            if at < position:
                sentence = (
                    f"Version {number} of {id} is at position {at}, but version {version} after it, at {position}."
                )
                self.versions.add(Finding(sentence, at, position, id))
            version, position = number, at
            event = self._read(id, number, topic, state, at)
            if whole and event is not None:
                aggregate = self._apply(aggregate, id, event, at)
            whole = whole and event is not None and aggregate is not None
        return aggregate if whole else None

    def _miss(self, id: UUID, version: int, number: int, at: int) -> None:
        missing = f"version {version + 1}" if number == version + 2 else f"versions {version + 1} to {number - 1}"
        what = f"version {number} of {id}, at position {at}"
        sentence = f"There is {what}, but no {missing}." if number > version else f"There is {what}, below the first."
        self.versions.add(Finding(sentence, at, at, id))

    def _read(self, id: UUID, version: int, topic: bytes, state: bytes, at: int) -> Event | None:
        self.events.looked_at += 1
        try:
            if topic not in self._topics:
                self._topics[topic] = topic.decode()
            event: Event = self._mapper.to_domain_event(StoredEvent(id, version, self._topics[topic], state))
        except UnknownTopic as error:
            sentence = f"The event at position {at}, version {version} of {id}, is of the topic {error.topic}"
            if error.class_version is not None:
                sentence += f" in version {error.class_version}"
            self.events.add(Finding(f"{sentence}, which is not known.", at, at, id))
        except StoreUnavailable:
            raise
        except Exception as error:
            name = topic.decode(errors="replace")
            what = f"The event at position {at}, version {version} of {id} ({name}), cannot be read"
            self.events.add(Finding(f"{what}: {first_line(error).rstrip('.:')}.", at, at, id))
        else:
            return event
        return None

    def _apply(self, aggregate: Aggregate | None, id: UUID, event: Event, at: int) -> Aggregate | None:
        """The aggregate with one more event, or None where that cannot follow."""
        kind, _, what = event.TOPIC.partition(".")
        begins = aggregate is None
        aggregate = aggregate or AGGREGATES[kind](id)
        problem = None
        comes_or_goes = isinstance(aggregate, Run) and (
            what == (ARCHIVED if aggregate.archive_id is None else RESTORED)
        )
        if begins != (what in BEGINNINGS) and not (aggregate.version and what == "Saved") and not comes_or_goes:
            problem = "cannot be the first" if begins else "can only be the first"
        elif aggregate.deleted and not comes_or_goes:
            problem = "comes after the deletion"
        else:
            try:
                aggregate.apply(event)
            except Exception as error:
                problem = f"cannot be folded: {first_line(error).rstrip('.')}"
        if problem is None:
            return aggregate
        version = event.originator_version
        sentence = f"The event at position {at} ({event.TOPIC}), version {version} of {id}, {problem}."
        self.folds.add(Finding(sentence, at, at, id))
        return None


class _Keys:
    """The claimed keys of a part, in the order of their ids, held against those that aggregates hold."""

    def __init__(
        self, connection: psycopg.Connection, claimed: Iterator[tuple[UUID, bytes, bytes]], found: Found
    ) -> None:
        self._connection = connection
        self._claimed = claimed
        self._found = found
        self._ahead = next(claimed, None)

    def compare(self, id: UUID, aggregate: Aggregate | None) -> None:
        """Compare the keys that stand for an aggregate; one that does not fold holds nobody knows which."""
        self._skip(id)
        claimed = set()
        while self._ahead is not None and self._ahead[0] == id:
            claimed.add(self._take())
        if aggregate is None:
            return
        held = {(kind.encode(), text.encode()) for kind, text in held_keys(aggregate)}
        for key in sorted(claimed - held):
            why = "which was deleted" if aggregate.deleted else "which does not hold it"
            self._found.add(_about(key, id, f"stands for {aggregate.kind.lower()} {id}, {why}."))
        for key in sorted(held - claimed):
            other = self._connection.execute(_STANDS_FOR, [part.decode() for part in key]).fetchone()
            instead = "is not claimed" if other is None else f"stands for {other[0]} instead"
            self._found.add(_about(key, id, f"is that of {aggregate.kind.lower()} {id} and {instead}."))

    def finish(self) -> None:
        """Look at the keys that are left."""
        self._skip(None)

    def _skip(self, until: UUID | None) -> None:
        while self._ahead is not None and (until is None or self._ahead[0] < until):
            id = self._ahead[0]
            self._found.add(_about(self._take(), id, f"stands for {id}, of which there is no event."))

    def _take(self) -> tuple[bytes, bytes]:
        _, kind, key = self._ahead or (None, b"", b"")
        self._found.looked_at += 1
        self._ahead = next(self._claimed, None)
        return kind, key


def _about(key: tuple[bytes, bytes], id: UUID, what: str) -> Finding:
    kind, text = (part.decode(errors="replace") for part in key)
    return Finding(f"The key {kind} {text!r} {what}", stream=id, about=f"{kind} {text}")
