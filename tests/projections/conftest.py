"""The ledger that tests of the domain fill by commands, with its clock, for tests of what is made of it."""

from tests.domain.conftest import clock as clock
from tests.domain.conftest import desk as desk
from tests.domain.conftest import ledger as ledger
