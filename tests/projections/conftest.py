"""A ledger to fill by commands, with a clock that stands still unless a test moves it."""

from collections.abc import Iterator

import pytest

from domain.ledger import Ledger
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from tests.domain.conftest import Clock, Desk


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(conninfo: str, clock: Clock) -> Iterator[Desk]:
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=clock) as ledger:
        yield Desk(ledger, clock)
