"""The text of log lines at rest: sealed under the key of the run a line is of, where it has one.

A sealed line is told by the key in a column of its own; its message is base64. Read, it comes with a mark before its
document, so that lists of plain lines are no slower for it.
"""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql
from pydantic_core import from_json, to_json

from domain.errors import PayloadKeysMissing
from projections.payload_keys.store import StoredKeys

MARK, ID_LENGTH = b"!", 36

FLOW_RUNS_OF = "SELECT id, flow_run_id FROM read.task_runs WHERE id = ANY(%s) AND flow_run_id IS NOT NULL"


def marked(document: sql.Composable) -> sql.Composed:
    """The document of a line, behind the mark and the id of its key where it is sealed."""
    return sql.SQL("CASE WHEN sealed_under IS NULL THEN {document} ELSE '!' || sealed_under || {document} END").format(
        document=document
    )


async def seal_lines(connection: AsyncConnection, lines: Sequence[dict[str, Any]], ring: StoredKeys) -> None:
    """Seal the messages of lines whose runs have a key; of a run that was erased none is kept."""
    task_runs = [line["task_run_id"] for line in lines if line["flow_run_id"] is None and line["task_run_id"]]
    flow_runs: dict[UUID, UUID] = {}
    if task_runs:
        flow_runs = dict(await (await connection.execute(FLOW_RUNS_OF, [task_runs])).fetchall())
    owners = [line["flow_run_id"] or flow_runs.get(line["task_run_id"], line["task_run_id"]) for line in lines]
    await asyncio.to_thread(_seal, lines, owners, ring)


async def opened(documents: Sequence[bytes], ring: StoredKeys | None) -> list[bytes]:
    """The documents of lines with the messages that people read. Raises PayloadKeysMissing without a ring."""
    if not any(document.startswith(MARK) for document in documents):
        return list(documents)
    if ring is None:
        raise PayloadKeysMissing
    return await asyncio.to_thread(lambda: list(_opened(documents, ring)))


def _seal(lines: Sequence[dict[str, Any]], owners: Sequence[UUID | None], ring: StoredKeys) -> None:
    known = ring.know(owner for owner in owners if owner is not None)
    for line, owner in zip(lines, owners, strict=True):
        if owner is None or owner not in known:
            continue
        closed = ring.seal(owner, line["message"].encode(), _about(line["id"]))
        line["message"] = "" if closed is None else b64encode(closed).decode()
        line["sealed_under"] = None if closed is None else owner


def _opened(documents: Sequence[bytes], ring: StoredKeys) -> Iterable[bytes]:
    for document in documents:
        if not document.startswith(MARK):
            yield document
            continue
        begin = len(MARK) + ID_LENGTH
        key, line = UUID(document[len(MARK) : begin].decode()), from_json(document[begin:])
        message = ring.open(key, b64decode(line["message"]), _about(line["id"]))
        yield to_json({**line, "message": "" if message is None else message.decode()})


def _about(id: UUID | str) -> bytes:
    return f"log line {id}".encode()
