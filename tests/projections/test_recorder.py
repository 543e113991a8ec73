"""The store appends, seals and projects as one, and finds out what became of a COMMIT whose answer was lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from domain.commands.flows import CreateFlow, UpdateFlow
from domain.errors import ForeignShape, StoreUnavailable
from domain.events import EventMapper
from domain.flow import FlowCreated
from domain.ids import new_id
from domain.ledger import Ledger
from projections import statements
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from projections.schema import LEDGER_LOCK
from tests.checks import check_ledger
from tests.domain.conftest import CALLER


class FailingConnection(LedgerConnection):
    """A connection to a real database that does something of the test's choosing in the place of the next COMMIT."""

    def __init__(self, conninfo: str) -> None:
        super().__init__(conninfo, patience=1.0)
        self.instead_of_commit: Callable[[psycopg.Connection], None] | None = None

    def get(self) -> psycopg.Connection:
        connection = super().get()
        return _Watched(connection, self) if self.instead_of_commit else connection  # type: ignore[return-value]


class _Watched:
    def __init__(self, connection: psycopg.Connection, owner: FailingConnection) -> None:
        self._connection = connection
        self._owner = owner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        instead = self._owner.instead_of_commit
        if query == "COMMIT" and instead is not None:
            self._owner.instead_of_commit = None
            instead(self._connection)
            raise psycopg.OperationalError("the connection was lost")
        return self._connection.execute(query, *args, **kwargs)


@pytest.fixture
def connection(conninfo: str) -> FailingConnection:
    return FailingConnection(conninfo)


@pytest.fixture
def ledger(connection: FailingConnection) -> Iterator[Ledger]:
    with Ledger(PostgresLedgerRecorder(connection)) as ledger:
        yield ledger


def make_flow(ledger: Ledger, name: str) -> UUID:
    command = CreateFlow(caller=CALLER, id=new_id(), name=name, tags=[], labels={})
    outcome = ledger.execute(lambda: [command])[0]
    assert outcome.error is None
    return command.id


@contextmanager
def lock_held(conninfo: str) -> Iterator[None]:
    """The ledger lock in somebody else's hands."""
    with psycopg.connect(conninfo, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LEDGER_LOCK])
        yield


def test_a_commit_whose_answer_was_lost_counts_when_its_bytes_stand(
    ledger: Ledger, connection: FailingConnection, conninfo: str
) -> None:
    connection.instead_of_commit = lambda real: real.execute("COMMIT") and None
    make_flow(ledger, "committed")
    make_flow(ledger, "after")
    assert check_ledger(conninfo) == 2


def test_a_commit_that_never_arrived_leaves_nothing_and_says_so(
    ledger: Ledger, connection: FailingConnection, conninfo: str
) -> None:
    id = make_flow(ledger, "before")
    connection.instead_of_commit = lambda real: real.close()
    with pytest.raises(StoreUnavailable) as failure:
        make_flow(ledger, "lost")
    assert not failure.value.outcome_unknown
    assert ledger.cached(id) is not None
    make_flow(ledger, "lost")
    assert check_ledger(conninfo) == 2


def test_aggregates_of_a_transaction_that_failed_are_forgotten(
    ledger: Ledger, connection: FailingConnection, conninfo: str
) -> None:
    id = make_flow(ledger, "before")
    connection.instead_of_commit = lambda real: real.close()
    with pytest.raises(StoreUnavailable):
        ledger.execute(lambda: [UpdateFlow(caller=CALLER, id=id, tags=["lost"])])
    assert ledger.cached(id) is None
    ledger.execute(lambda: [UpdateFlow(caller=CALLER, id=id, tags=["kept"])])
    assert check_ledger(conninfo) == 2


def test_an_outcome_that_cannot_be_found_out_is_said_to_be_unknown(
    ledger: Ledger, connection: FailingConnection, conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.recorder.RESOLVE_SECONDS", 0)
    connection.instead_of_commit = lambda real: real.close()
    with monkeypatch.context() as patch:
        patch.setattr(PostgresLedgerRecorder, "_stands", _unavailable)
        with pytest.raises(StoreUnavailable) as failure:
            make_flow(ledger, "unknown")
    assert failure.value.outcome_unknown
    make_flow(ledger, "after")
    check_ledger(conninfo)


def _unavailable(*args: object) -> bool:
    raise StoreUnavailable("still gone")


def test_a_lock_that_is_not_given_in_time_is_said_and_leaves_nothing(ledger: Ledger, conninfo: str) -> None:
    with lock_held(conninfo), pytest.raises(StoreUnavailable, match="lock timeout"):
        make_flow(ledger, "waiting")
    make_flow(ledger, "now")
    assert check_ledger(conninfo) == 1


def test_read_tables_of_another_shape_are_not_written(ledger: Ledger, conninfo: str) -> None:
    make_flow(ledger, "before")
    with psycopg.connect(conninfo) as other:
        shape = other.execute("SELECT id FROM read.shape").fetchone()
        other.execute("UPDATE read.shape SET id = 'another'")
    with pytest.raises(ForeignShape, match="another"):
        make_flow(ledger, "refused")
    with psycopg.connect(conninfo) as other:
        other.execute("UPDATE read.shape SET id = %s", shape)
    make_flow(ledger, "after")
    assert check_ledger(conninfo) == 2


def test_events_given_to_the_library_s_own_interface_are_sealed_and_projected_too(
    ledger: Ledger, conninfo: str
) -> None:
    make_flow(ledger, "first")
    event = FlowCreated(
        originator_id=new_id(),
        originator_version=1,
        recorded_at=ledger.now(None),
        actor="a test",
        name="second",
        tags=[],
        labels={},
    )
    positions = ledger.recorder.insert_events([EventMapper().to_stored_event(event)])
    assert list(positions or ()) == [2]
    assert check_ledger(conninfo) == 2


def test_the_log_is_read_by_position_and_a_stream_by_version(ledger: Ledger) -> None:
    ids = [make_flow(ledger, name) for name in ("a", "b")]
    for tags in (["x"], ["y"]):
        ledger.execute(lambda tags=tags: [UpdateFlow(caller=CALLER, id=ids[0], tags=tags)])
    recorder = ledger.recorder

    assert recorder.max_notification_id() == 4
    log = recorder.select_notifications(start=2, limit=10)
    assert [(n.id, n.originator_id, n.originator_version) for n in log] == [
        (2, ids[1], 1),
        (3, ids[0], 2),
        (4, ids[0], 3),
    ]
    assert [n.id for n in recorder.select_notifications(2, 10, inclusive_of_start=False)] == [3, 4]
    assert [n.id for n in recorder.select_notifications(1, 10, stop=3, topics=["Flow.Created"])] == [1, 2]
    assert [n.id for n in recorder.select_notifications(None, 2)] == [1, 2]
    assert [e.originator_version for e in recorder.select_events(ids[0])] == [1, 2, 3]
    assert [e.originator_version for e in recorder.select_events(ids[0], gt=1)] == [2, 3]
    assert [e.originator_version for e in recorder.select_events(ids[0], lte=2, desc=True)] == [2, 1]
    assert [e.originator_version for e in recorder.select_events(ids[0], desc=True, limit=1)] == [3]


def test_a_changed_event_shows_in_the_seals(ledger: Ledger, conninfo: str) -> None:
    for name in ("a", "b", "c"):
        make_flow(ledger, name)
    check_ledger(conninfo)
    with psycopg.connect(conninfo) as other:
        other.execute("UPDATE ledger.events SET state = replace(state, '\"b\"', '\"B\"') WHERE position = 2")
    with pytest.raises(AssertionError):
        check_ledger(conninfo)


def test_what_others_changed_is_looked_up_by_position_also_before_anything_was_analyzed(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute("ALTER TABLE ledger.events SET (autovacuum_enabled = off)")
        connection.execute(
            "INSERT INTO ledger.events SELECT n, gen_random_uuid(), 1, 'Flow.Created', repeat('x', 500)"
            " FROM generate_series(1, 20000) AS n"
        )
        plan = connection.execute(f"EXPLAIN {statements.HEAD}".encode(), [19_990]).fetchall()
    looked_at = [line for (line,) in plan if line.endswith(")") and " on events " in line]
    assert looked_at
    assert all("rows=1 " in line for line in looked_at), looked_at
