"""The feed of the ledger: every event in the order of positions, with what it is about, for whoever follows the log.

Positions are given under the ledger lock and become visible in their order, so that a reader who has all up to one
position misses nothing by asking for what is behind it. Events of what was deleted stay in the feed.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from psycopg import AsyncConnection

from domain.deployment import DeploymentCreated
from domain.events import Event, EventMapper
from domain.flow_run import FlowRunCreated, FlowRunUpdated
from domain.payloads import ErasedKeys
from domain.task_run import TaskRunCreated
from domain.transitions import transition_of
from projections.audit import STATE_TOPICS, shared_fields, transition_fields
from projections.documents import as_json

POSITIONS_AT_ONCE = 2_000
"""How many positions one window looks at."""

EVENTS_AT_ONCE = 250
"""How many events one window holds at most, by default."""

BYTES_AT_ONCE = 1024 * 1024
"""How many bytes of events one window holds, unless its first event alone is larger."""

SUBJECT_TOPICS = [kind.TOPIC for kind in (FlowRunCreated, FlowRunUpdated, TaskRunCreated, DeploymentCreated)]
"""The events that tell what a stream is about."""

TRANSITION_TOPICS = [*STATE_TOPICS, "FlowRun.TransitionRefused", "TaskRun.TransitionRefused"]

HEAD = """
SELECT identity.id, coalesce((SELECT max(last_position) FROM ledger.seals), 0) FROM ledger.identity
"""

LISTED = """
SELECT position, originator_id, topic, octet_length(state) FROM ledger.events
WHERE position > %(after)s AND position <= %(until)s AND (%(topics)s::text[] IS NULL OR topic = ANY(%(topics)s))
ORDER BY position
"""

SUBJECTS = """
SELECT position, originator_id, originator_version, topic, state FROM ledger.events
WHERE originator_id = ANY(%(ids)s) AND topic = ANY(%(topics)s) AND position <= %(until)s
ORDER BY originator_id, originator_version
"""

BODIES = """
SELECT event.position, event.originator_id, event.originator_version, event.topic, event.state,
       before.originator_version, before.topic, before.state
FROM ledger.events AS event
LEFT JOIN LATERAL (
    SELECT originator_version, topic, state FROM ledger.events AS earlier
    WHERE earlier.originator_id = event.originator_id AND earlier.originator_version < event.originator_version
        AND earlier.topic = ANY(%(state_topics)s)
    ORDER BY earlier.originator_version DESC LIMIT 1
) AS before ON event.topic = ANY(%(transition_topics)s)
WHERE event.position = ANY(%(positions)s) ORDER BY event.position
"""
"""Events, and by those that tell of a transition the one that set the state before."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What an event is about: the run, the flow, and the tags that its run had by then, its own event included.

    A task run's event is about its flow run, too; its tags are the task run's own.
    """

    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None
    flow_id: UUID | None = None
    tags: frozenset[str] = frozenset()


NOTHING = Subject()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a reader wants: of one of the topics, of the run, of the flow, and of runs with all of the tags."""

    topics: frozenset[str] | None = None
    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None
    flow_id: UUID | None = None
    tags: frozenset[str] = frozenset()

    def fits(self, topic: str, subject: Subject) -> bool:
        """Whether an event of that topic, about that, is wanted."""
        return (
            (self.topics is None or topic in self.topics)
            and self.flow_run_id in (None, subject.flow_run_id)
            and self.task_run_id in (None, subject.task_run_id)
            and self.flow_id in (None, subject.flow_id)
            and self.tags <= subject.tags
        )


EVERYTHING = Wanted()


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the feed, with its document as JSON."""

    position: int
    topic: str
    subject: Subject
    document: bytes


@dataclass(frozen=True, slots=True)
class Window:
    """What was found behind a position: the wanted events up to the position `reached`.

    The ledger ends at `head`; where `reached` is before that there may be more.
    """

    ledger_id: UUID
    head: int
    reached: int
    entries: Sequence[Entry] = ()


async def read_window(
    connection: AsyncConnection,
    after: int,
    wanted: Wanted = EVERYTHING,
    limit: int = EVENTS_AT_ONCE,
    mapper: EventMapper | None = None,
) -> Window:
    """The next wanted events behind a position, at most `limit`; where few are wanted it may hold none of them yet."""
    row = await (await connection.execute(HEAD, prepare=True)).fetchone()
    if row is None:
        raise LookupError("The ledger has no identity")
    ledger_id, head = row
    until = min(after + POSITIONS_AT_ONCE, head)
    if until <= after:
        return Window(ledger_id, head, head)
    topics = None if wanted.topics is None else list(wanted.topics)
    asked = {"after": after, "until": until, "topics": topics}
    listed = await (await connection.execute(LISTED, asked, prepare=True)).fetchall()
    subjects = await _read_subjects(connection, {id for _, id, _, _ in listed}, until)
    chosen: dict[int, Subject] = {}
    size = 0
    for position, id, topic, length in listed:
        subject = subjects.of(id, topic, position)
        if not wanted.fits(topic, subject):
            continue
        if chosen and (len(chosen) == limit or size + length > BYTES_AT_ONCE):
            until = next(reversed(chosen))
            break
        chosen[position] = subject
        size += length
    if not chosen:
        return Window(ledger_id, head, until)
    bodies = {"positions": list(chosen), "state_topics": STATE_TOPICS, "transition_topics": TRANSITION_TOPICS}
    rows = await (await connection.execute(BODIES, bodies, prepare=True)).fetchall()
    # Many events take their time; others want to be answered meanwhile.
    return Window(ledger_id, head, until, await asyncio.to_thread(_entries, rows, chosen, mapper or EventMapper()))


class _Subjects:
    """What streams are about, as of any position up to the one at which they were read."""

    def __init__(self, rows: Iterable[tuple[int, UUID, int, str, str]]) -> None:
        self._known: dict[UUID, Subject] = {}
        self._tags: dict[UUID, list[tuple[int, frozenset[str]]]] = {}
        # None of that is payload.
        mapper = EventMapper(ErasedKeys())
        for position, id, version, topic, state in rows:
            self._take(position, mapper.to_domain_event(StoredEvent(id, version, topic, state.encode())))

    def of(self, id: UUID, topic: str, position: int) -> Subject:
        subject = self._known.get(id)
        if subject is None:
            # Of a run that is in an archive, nothing is known but its id.
            match topic.partition(".")[0]:
                case "Flow":
                    return Subject(flow_id=id)
                case "FlowRun":
                    return Subject(flow_run_id=id)
                case "TaskRun":
                    return Subject(task_run_id=id)
            return NOTHING
        changes = self._tags.get(id, ())
        tags = next((tags for since, tags in reversed(changes) if since <= position), subject.tags)
        return Subject(subject.flow_run_id, subject.task_run_id, subject.flow_id, tags)

    def _take(self, position: int, event: Event) -> None:
        id = event.originator_id
        match event:
            case FlowRunCreated():
                self._known[id] = Subject(flow_run_id=id, flow_id=event.flow_id, tags=frozenset(event.tags))
            case TaskRunCreated():
                self._known[id] = Subject(event.flow_run_id, id, event.flow_id, frozenset(event.tags))
            case DeploymentCreated():
                self._known[id] = Subject(flow_id=event.flow_id)
            case FlowRunUpdated() if "tags" in event.changes.model_fields_set:
                self._tags.setdefault(id, []).append((position, frozenset(event.changes.tags)))


async def _read_subjects(connection: AsyncConnection, ids: set[UUID], until: int) -> _Subjects:
    asked = {"ids": list(ids), "topics": SUBJECT_TOPICS, "until": until}
    rows = await (await connection.execute(SUBJECTS, asked, prepare=True)).fetchall()
    return await asyncio.to_thread(_Subjects, rows)


def _entries(rows: Iterable[Sequence[Any]], subjects: dict[int, Subject], mapper: EventMapper) -> list[Entry]:
    entries = []
    for position, id, version, topic, state, before_version, before_topic, before in rows:
        event: Event = mapper.to_domain_event(StoredEvent(id, version, topic, state.encode()))
        state_before = None
        if before is not None:
            earlier = mapper.to_domain_event(StoredEvent(id, before_version, before_topic, before.encode()))
            state_before = earlier.state
        transition = transition_of(event, state_before)
        subject = subjects[position]
        document = as_json(
            {
                "id": id,
                "flow_run_id": subject.flow_run_id,
                "task_run_id": subject.task_run_id,
                "flow_id": subject.flow_id,
                **shared_fields(position, topic, event),
                "transition": None if transition is None else transition_fields(transition),
                "facts": event.model_dump(mode="json", exclude_none=True),
            }
        )
        entries.append(Entry(position, topic, subject, document))
    return entries
