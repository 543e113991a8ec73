"""Heads that were noted down elsewhere, held against the ledger: so the removal of its end shows, too."""

import re
from dataclasses import dataclass

import psycopg

from projections.head import Head
from projections.seals import GENESIS
from projections.verify.findings import Check, Finding, Found

EXPECTED = Check(
    "expected head", "head", "The head that was noted down elsewhere is one that the ledger has or once had."
)


@dataclass(frozen=True, slots=True)
class Expected:
    """A head as it was noted down: its hash and, if that was noted, its position."""

    hash: bytes
    position: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Expected":
        """Read `HASH` or `POSITION:HASH`, the hash in hex. Raises ValueError."""
        parts = re.fullmatch(r"(?:(\d{1,18}):)?([0-9a-fA-F]{64})", text.strip())
        if parts is None:
            raise ValueError(f"{text!r} is no head: give HASH or POSITION:HASH, the hash as 64 hexadecimal digits")
        return cls(bytes.fromhex(parts[2]), None if parts[1] is None else int(parts[1]))


def check_expected(connection: psycopg.Connection, head: Head, expected: Expected) -> tuple[Found, int | None]:
    """What is found of a head that was noted down, and by how many events the ledger has grown since."""
    found = Found(looked_at=1)
    position = _position_of(connection, expected.hash)
    noted = expected.position
    if position is not None and noted in (None, position):
        return found, head.position - position
    text = expected.hash.hex()
    if position is not None:
        sentence = f"The expected hash {text} is that of position {position}, not of {noted}."
        found.add(Finding(sentence, position, position))
    elif noted is not None and noted > head.position:
        sentence = (
            f"The seals end at position {head.position}, but reached {noted} when the head was noted down:"
            f" what came after {head.position} was removed, or its seals were."
        )
        found.add(Finding(sentence, head.position + 1, noted))
    else:
        until = "" if noted is None else f" at position {noted}"
        sentence = (
            f"No seal{until} has the expected hash {text}: the end of the log was removed since that head was noted"
            " down, or something before it was changed and sealed anew."
        )
        found.add(Finding(sentence, noted, noted))
    return found, None


def _position_of(connection: psycopg.Connection, hash: bytes) -> int | None:
    if hash == GENESIS:
        return 0
    row = connection.execute("SELECT last_position FROM ledger.seals WHERE hash = %s", [hash]).fetchone()
    return row[0] if row else None
