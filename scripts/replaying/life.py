"""The life of a run as its events tell it: step by step, how long it was in which state, and where it stands."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import Connection

from api.dialect import renews_leases
from domain.deciding_again import CannotDecideAgain, Decision, decide_again, recorded_decision
from domain.events import Event, EventMapper
from domain.flow_run import FlowRun
from domain.run import Run
from domain.states import State
from domain.transitions import Origin
from projections.as_of import Moment
from projections.audit import EVENTS, FIRST, STATE_TOPICS, Recorded, kind_of, recorded_events
from projections.documents import with_estimates, with_queue
from projections.past_ledger import PastLedger
from projections.projectors import document_of
from projections.work_documents import READ_QUEUE_NAMES

EVERY_VERSION = 2**31 - 1

PAYLOAD_ERASED = "the payload was erased"
"""Why a proposal cannot be decided again that would be decided otherwise without its message and data."""


class InArchive(Exception):
    """What happened to a run cannot be told, for its events are in an archive."""

    def __init__(self, id: UUID, archive_id: str) -> None:
        super().__init__(f"The events of run {id} are in the archive {archive_id}: restore it first.")


@dataclass(frozen=True, slots=True)
class Again:
    """What became of deciding a proposal again: what was decided, what is `today`, or why that cannot be told."""

    recorded: Decision
    today: Decision | None = None
    unknown: str | None = None

    @property
    def differs(self) -> bool:
        return self.today is not None and self.today != self.recorded


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a run, how many seconds after the one before it, and what came of deciding it again, if it was."""

    recorded: Recorded
    after: float | None
    again: Again | None = None

    @property
    def event(self) -> Event:
        return self.recorded.event


@dataclass(frozen=True, slots=True)
class Stay:
    """How often a run entered states of a name and how many seconds it was in them; `goes_on` where it still is.

    The state in which it ended lasts for ever and is not counted.
    """

    state: str
    times: int
    seconds: float
    goes_on: bool


@dataclass(frozen=True, slots=True)
class Life:
    """A run and its steps up to some moment; `run` is as it stands after the last of them, `document` shows it."""

    run: Run
    steps: Sequence[Step]
    stays: Sequence[Stay]
    document: bytes

    @property
    def differing(self) -> int:
        """How many proposals would be decided otherwise today."""
        return sum(step.again is not None and step.again.differs for step in self.steps)


def read_life(
    connection: Connection,
    id: UUID,
    moment: Moment,
    now: datetime,
    *,
    check: bool = False,
    mapper: EventMapper | None = None,
) -> Life | None:
    """The life of a run up to a moment, with all proposals decided again on `check`; None where there was no such run.

    How long a run has been in the state it is in is told as of that moment, or as of `now` where it is not past.
    Raises InArchive.
    """
    first = connection.execute(FIRST, [id]).fetchone()
    kind = None if first is None else kind_of(first[1])
    if first is None or kind is None or not issubclass(kind, Run):
        return None
    if first[0] > 1:
        raise InArchive(id, first[2])
    last = EVERY_VERSION if moment.version is None else moment.version
    asked = {"id": id, "after": 0, "last": last, "state_topics": STATE_TOPICS}
    with connection.cursor() as cursor:
        events = recorded_events(kind, id, cursor.execute(EVENTS, asked).fetchall(), mapper)
        known = [one for one in events if moment.time is None or one.event.recorded_at <= moment.time]
    if not known:
        return None
    run = kind.replay(id, (one.event for one in known))
    steps = list(_steps(known, _decider(connection, mapper, run.is_erased) if check else None))
    at = moment.time or (now if moment.version is None else run.updated)
    return Life(run, steps, _stays(steps, run, at), _document(connection, run, at))


def _decider(connection: Connection, mapper: EventMapper | None, is_erased: bool) -> Callable[[Recorded], Again | None]:
    past = PastLedger(connection, mapper)

    def decide(recorded: Recorded) -> Again | None:
        transition = recorded.transition
        if transition is None or transition.origin is not Origin.PROPOSED:
            return None
        was = recorded_decision(transition)
        past.go_before(recorded.position)
        try:
            again = Again(was, today=decide_again(recorded.event, transition, past, renews_leases))
            # Some rules look at messages and results; where they do not, the verdict is the same without.
            return Again(was, unknown=PAYLOAD_ERASED) if again.differs and is_erased else again
        except CannotDecideAgain as error:
            return Again(was, unknown=str(error))

    return decide


def _steps(known: Sequence[Recorded], decide: Callable[[Recorded], Again | None] | None) -> Iterator[Step]:
    before: datetime | None = None
    for recorded in known:
        at = recorded.event.recorded_at
        after = None if before is None else (at - before).total_seconds()
        yield Step(recorded, after, None if decide is None else decide(recorded))
        before = at


def _stays(steps: Sequence[Step], run: Run, now: datetime) -> list[Stay]:
    """How long a run was in each state, in the order in which it first entered them.

    Counted are the times of the states themselves: of a run whose client reports them, these are the client's.
    """
    entered: list[State] = []
    for step in steps:
        transition = step.recorded.transition
        if transition is not None and transition.state is not None:
            entered.append(transition.state)
    entered.sort(key=lambda state: state.timestamp)
    if not entered:
        return []
    last, end = entered[-1], run.updated if run.deleted else now
    ends = [state.timestamp for state in entered[1:]] + [last.timestamp if last.is_terminal else end]
    seconds: dict[str, float] = {}
    times = Counter(state.name for state in entered)
    for state, until in zip(entered, ends, strict=True):
        seconds[state.name] = seconds.get(state.name, 0.0) + max((until - state.timestamp).total_seconds(), 0.0)
    going_on = None if run.deleted or last.is_terminal else last.name
    return [Stay(name, times[name], spent, name == going_on) for name, spent in seconds.items()]


def _document(connection: Connection, run: Run, at: datetime) -> bytes:
    """The document of a run as it stands; its queue and pool are called as they are today."""
    document = document_of(run)
    if isinstance(run, FlowRun):
        named = connection.execute(READ_QUEUE_NAMES, [run.work_queue_id]).fetchone()
        document = with_queue(document, run, None if named is None else named[0].encode())
    return with_estimates(document, run, at)
