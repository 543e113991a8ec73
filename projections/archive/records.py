"""What the ledger knows of its archives: where they are, and how far whoever worked on them last came."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, Connection

from projections.archive.manifest import Manifest
from projections.rebuild.alone import alone
from projections.rebuild.moment import OPTIONS

Status = Literal["writing", "removing", "archived", "restoring", "restored", "filling", "filled"]
"""Being written, and nothing removed yet; being removed; removed; being brought back; back; and where an archive goes
into an empty ledger: being filled from it, filled."""

_ARCHIVE_OF = """
SELECT topic, state::json ->> 'archive_id' FROM ledger.events
WHERE originator_id = %s ORDER BY originator_version DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Record:
    """An archive as the ledger has it; `hash` is that of its manifest, `done` how far filling an empty ledger came."""

    id: UUID
    path: Path
    hash: str | None
    status: Status
    done: int


@contextmanager
def connected_alone(conninfo: str) -> Iterator[Connection]:
    """A connection of one who is alone at work on the ledger as a whole: tables made of it meanwhile would be of runs
    that come and go. Raises Busy."""
    with (
        psycopg.connect(
            conninfo, options=OPTIONS, autocommit=True, application_name="flowledger-archive"
        ) as connection,
        alone(connection),
    ):
        yield connection


def records(connection: Connection, *statuses: Status) -> list[Record]:
    """The archives in these states, the oldest first."""
    rows = connection.execute(
        "SELECT id, path, encode(hash, 'hex'), status, done FROM ledger.archives"
        " WHERE status = ANY(%s) ORDER BY created, id",
        [list(statuses)],
    )
    return [Record(id, Path(path), hash, status, done) for id, path, hash, status, done in rows]


def record_of(connection: Connection, archive_id: UUID) -> Record | None:
    """The record of an archive, if the ledger knows it."""
    row = connection.execute(
        "SELECT id, path, encode(hash, 'hex'), status, done FROM ledger.archives WHERE id = %s", [archive_id]
    ).fetchone()
    return None if row is None else Record(row[0], Path(row[1]), *row[2:])


def begin(connection: Connection, archive_id: UUID, created: datetime, path: Path, status: Status) -> None:
    """Note an archive that the ledger did not know."""
    connection.execute(
        "INSERT INTO ledger.archives (id, created, path, status) VALUES (%s, %s, %s, %s)",
        [archive_id, created, str(path), status],
    )


def note_checked(connection: Connection, manifest: Manifest) -> None:
    """Note that all that an archive is to hold is in its files: from here on it is removed."""
    connection.execute(
        "UPDATE ledger.archives SET status = 'removing', hash = decode(%s, 'hex') WHERE id = %s",
        [manifest.hash, manifest.archive_id],
    )


def note(connection: Connection, archive_id: UUID, status: Status) -> None:
    """Note the state of an archive, and how much of it is away by now."""
    connection.execute(
        "UPDATE ledger.archives SET status = %(status)s, (runs, events) = ("
        " SELECT count(DISTINCT originator_id), count(*) FROM ledger.archived WHERE archive_id = %(id)s"
        ") WHERE id = %(id)s",
        {"status": status, "id": archive_id},
    )


def forget(connection: Connection, archive_id: UUID) -> None:
    """Forget an archive of which nothing came."""
    connection.execute("DELETE FROM ledger.archives WHERE id = %s", [archive_id])


async def archive_of(connection: AsyncConnection, id: UUID) -> str | None:
    """The id of the archive that a run is in, if it is in one."""
    row = await (await connection.execute(_ARCHIVE_OF, [id])).fetchone()
    return row[1] if row is not None and row[0].endswith(".Archived") else None
