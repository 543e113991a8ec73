"""What the ledger says of one aggregate: its events in order, and what they tell.

Queries read tables and commands read events; this is the exception, for here events are what is asked for. They are
still there when the aggregate was deleted.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from psycopg import AsyncConnection

from domain.aggregate import Aggregate
from domain.events import Event, EventMapper
from domain.ledger import AGGREGATES
from domain.run import Run
from domain.states import State
from domain.transitions import Transition, transition_of
from projections.documents import as_json

ARCHIVED = ".Archived"
"""How the topics of events end that stand in the place of all before them."""

STATE_TOPICS = ["FlowRun.StateSet", "TaskRun.StateSet", "TaskRun.StateReported"]
"""The events that a run's state follows from."""

FIRST = """
SELECT originator_version, topic, state::json ->> 'archive_id' FROM ledger.events
WHERE originator_id = %s ORDER BY originator_version LIMIT 1
"""
"""The first event of a stream that is there: of a run in an archive, the one that says so."""

EVENTS = """
SELECT event.position, event.originator_id, event.originator_version, event.topic, event.state,
       repeated.times, repeated.last_at
FROM ledger.events AS event
LEFT JOIN telemetry.repeated_refusals AS repeated USING (originator_id, originator_version)
WHERE event.originator_id = %(id)s AND event.originator_version <= %(last)s
    AND (event.originator_version > %(after)s OR event.topic = ANY(%(state_topics)s))
ORDER BY event.originator_version
"""
"""The events of a stream behind a version, and those before it that tell the state the run was in by then."""

StoredRow = tuple[int, UUID, int, str, str, int | None, datetime | None]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event as it stands in the ledger, with the transition it tells of, if any.

    `state` is the state that the run was in after it. A refusal was given again `repeats` times since, for the last
    time at `last_repeat`.
    """

    position: int
    topic: str
    event: Event
    transition: Transition | None
    state: State | None
    repeats: int
    last_repeat: datetime | None


def kind_of(topic: str) -> type[Aggregate]:
    """The kind of aggregate whose stream has events of that topic."""
    return AGGREGATES[topic.partition(".")[0]]


async def read_events(
    connection: AsyncConnection, kind: type[Aggregate], id: UUID, *, after: int, limit: int
) -> list[StoredRow] | None:
    """The rows that a page of events is made of (see `page_of_events`); None where there is no aggregate of the kind.

    The page begins behind the version `after`, or with what stands in the place of events that are in an archive.
    """
    first = await (await connection.execute(FIRST, [id])).fetchone()
    if first is None or kind_of(first[1]) is not kind:
        return None
    after = max(after, first[0] - 1)
    # One more than is asked for tells whether there are more.
    asked = {"id": id, "after": after, "last": min(after + limit + 1, 2**31 - 1), "state_topics": STATE_TOPICS}
    return await (await connection.execute(EVENTS, asked)).fetchall()


def page_of_events(
    kind: type[Aggregate], id: UUID, rows: list[StoredRow], *, after: int, limit: int, mapper: EventMapper | None = None
) -> bytes:
    """A page of events as JSON; `next_after` is the version behind which the next begins, null on the last page.

    `archived` says in which archive the events of which versions are, null where all are there.
    """
    after = max(after, rows[0][2] - 1) if rows and in_archive(rows) else after
    told = recorded_events(kind, id, rows, mapper)
    page = [recorded for recorded in told if recorded.event.originator_version > after]
    next_after = after + limit if len(page) > limit else None
    archived = None
    if page and in_archive(rows):
        archive_id = page[0].event.model_dump()["archive_id"]
        archived = {"archive_id": archive_id, "first_version": 1, "last_version": rows[0][2] - 1}
    return as_json(
        {"id": id, "events": list(map(event_fields, page[:limit])), "next_after": next_after, "archived": archived}
    )


def in_archive(rows: Sequence[StoredRow]) -> bool:
    """Whether all that is left of a stream is what says that the rest is in an archive."""
    return len(rows) == 1 and rows[0][3].endswith(ARCHIVED)


def recorded_events(
    kind: type[Aggregate], id: UUID, rows: Iterable[StoredRow], mapper: EventMapper | None = None
) -> Iterator[Recorded]:
    """Stored events, in order of their versions, with what they tell; what they hold is in today's shape."""
    mapper, aggregate = mapper or EventMapper(), kind(id)
    for position, originator_id, version, topic, state, times, last_at in rows:
        event: Event = mapper.to_domain_event(StoredEvent(originator_id, version, topic, state.encode()))
        before = _state_of(aggregate)
        aggregate.fold(event)
        transition = transition_of(event, before)
        yield Recorded(position, topic, event, transition, _state_of(aggregate), times or 0, last_at)


def event_fields(recorded: Recorded) -> dict[str, Any]:
    """What the API shows of one event. `facts` are all of it, but for its id and version."""
    transition = None
    if recorded.transition is not None:
        transition = {
            **transition_fields(recorded.transition),
            "repeats": recorded.repeats,
            "last_repeated_at": recorded.last_repeat,
        }
    return {
        **shared_fields(recorded.position, recorded.topic, recorded.event),
        "transition": transition,
        "facts": recorded.event.model_dump(mode="json", exclude_none=True),
    }


def shared_fields(position: int, topic: str, event: Event) -> dict[str, Any]:
    """What the API shows of every event, wherever it is shown: its place, what it is, who asked, when and why."""
    return {
        "version": event.originator_version,
        "position": position,
        "topic": topic,
        "recorded_at": event.recorded_at,
        "occurred_at": event.occurred_at,
        "actor": event.actor,
        "request_id": event.request_id,
        "traceparent": event.traceparent,
        "deleted": topic.endswith(".Deleted"),
    }


def transition_fields(transition: Transition) -> dict[str, Any]:
    """What the API shows of a transition."""
    before = transition.before
    return {
        "origin": transition.origin,
        "state_before": None if before is None else {"type": before.type, "name": before.name},
        "proposed_state": transition.proposed,
        "verdict": transition.verdict,
        "state": transition.state,
        "rule": transition.rule,
        "reason": transition.reason,
        "delay_seconds": transition.delay_seconds,
        "dialect": transition.dialect,
        "force": transition.force,
    }


def _state_of(aggregate: Aggregate) -> State | None:
    return aggregate.state if isinstance(aggregate, Run) else None
