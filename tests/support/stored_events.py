"""What the event store of a server under test holds, read behind its back."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

STATE_TOPICS = ("FlowRun.StateSet", "TaskRun.StateSet", "TaskRun.StateReported")


@dataclass(frozen=True)
class Stored:
    """One event: its topic, whose it is, and its facts as they were written."""

    topic: str
    id: UUID
    facts: dict[str, Any]


def read_events(conninfo: str) -> list[Stored]:
    """All events, in order of position."""
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute("SELECT topic, originator_id, state FROM ledger.events ORDER BY position")
        return [Stored(topic, id, json.loads(state)) for topic, id, state in rows]


def count_events(conninfo: str) -> int:
    """How many events there are."""
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT count(*) FROM ledger.events").fetchone()
    assert row is not None
    return int(row[0])


def of_run(events: list[Stored], id: UUID | str) -> list[Stored]:
    """The events of one aggregate, in order."""
    return [event for event in events if event.id == UUID(str(id))]


def times_entered(events: list[Stored]) -> Counter[tuple[str, str]]:
    """How often each state (by the id of its run and its own id) was written."""
    entered = (event for event in events if event.topic in STATE_TOPICS)
    return Counter((str(event.id), event.facts["state"]["id"]) for event in entered)


def state_names(events: list[Stored]) -> list[str]:
    """The names of the states that a run's events say it entered, in order."""
    return [event.facts["state"]["name"] for event in events if event.topic in STATE_TOPICS]
