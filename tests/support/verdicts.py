"""Every recorded proposal decided again, from what the ledger held just before it."""

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

import psycopg
from eventsourcing.persistence import StoredEvent

from api.dialect import renews_leases
from domain.deciding_again import CannotDecideAgain, Decision, decide_again, recorded_decision
from domain.events import Event, EventMapper
from domain.run import Run
from domain.transitions import Origin, transition_of
from projections.audit import kind_of
from projections.past_ledger import PastLedger

EVENTS = """
SELECT position, originator_id, originator_version, topic, state FROM ledger.events
WHERE topic LIKE 'FlowRun.%' OR topic LIKE 'TaskRun.%' ORDER BY position
"""


@dataclass
class Verdicts:
    """How many proposals were decided again, why some could not be, and those that differ, by position."""

    decided: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    differing: dict[int, tuple[Decision, Decision]] = field(default_factory=dict)


def decide_all_again(conninfo: str) -> Verdicts:
    """Decide every proposal in a ledger again, in order."""
    found, mapper, runs = Verdicts(), EventMapper(), dict[UUID, Run]()
    with psycopg.connect(conninfo) as connection:
        past = PastLedger(connection)
        for position, id, version, topic, state in connection.execute(EVENTS).fetchall():
            event: Event = mapper.to_domain_event(StoredEvent(id, version, topic, state.encode()))
            if id not in runs:
                run = kind_of(topic)(id)
                assert isinstance(run, Run)
                runs[id] = run
            transition = transition_of(event, runs[id].state)
            runs[id].apply(event)
            if transition is None or transition.origin is not Origin.PROPOSED:
                continue
            past.go_before(position)
            try:
                today, was = decide_again(event, transition, past, renews_leases), recorded_decision(transition)
            except CannotDecideAgain as reason:
                found.unknown[str(reason)] += 1
                continue
            found.decided += 1
            if today != was:
                found.differing[position] = (was, today)
    return found
