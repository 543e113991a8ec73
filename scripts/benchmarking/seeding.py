"""Fills an empty ledger with the data that queries are measured on: events by COPY, rows by the projectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from uuid import UUID

import psycopg
from eventsourcing.persistence import StoredEvent

from domain import keys
from domain.events import EventMapper
from domain.flow import FlowCreated
from domain.keys import Key
from domain.task_run import TaskRunCreated
from projections import run_counts
from projections.copying import project_streams
from projections.schema import create_missing
from projections.seals import GENESIS, OF_LEAVES, seal
from scripts.benchmarking.dataset import RECORDED, Dataset, Stream

EVENTS_PER_SEAL = 500

# Seeding takes time, and a crash loses nothing that cannot be made again.
_OPTIONS = "-c synchronous_commit=off -c statement_timeout=0 -c maintenance_work_mem=512MB"


def seed(conninfo: str, flow_runs: int, processes: int = 2) -> int:
    """Fill the empty ledger of a database, its schemas included; give the number of events."""
    create_missing(conninfo)
    with psycopg.connect(conninfo, options=_OPTIONS) as connection:
        number, bounds = _copy_ledger(connection, Dataset(flow_runs).streams(), processes)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        list(pool.map(_project, [conninfo] * processes, bounds[:-1], bounds[1:]))
    with psycopg.connect(conninfo, options=_OPTIONS) as connection:
        run_counts.recount(connection)
    with psycopg.connect(conninfo, options=_OPTIONS, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")
    return number


def _copy_ledger(
    connection: psycopg.Connection, streams: Iterable[Stream], processes: int
) -> tuple[int, list[UUID | None]]:
    """Write events, seals and keys; give the number of events, and the ids that part the streams evenly."""
    mapper = EventMapper()
    claims: list[tuple[Key, UUID]] = []
    ids: list[UUID] = []

    def stored() -> Iterator[StoredEvent]:
        for stream in streams:
            ids.append(stream[0].originator_id)
            claims.extend((key, stream[0].originator_id) for key in _keys(stream))
            yield from map(mapper.to_stored_event, stream)

    events, hash, position = stored(), GENESIS, 0
    seals = []
    with connection.cursor() as cursor:
        with cursor.copy(
            "COPY ledger.events (position, originator_id, originator_version, topic, state) FROM STDIN (FORMAT binary)"
        ) as copy:
            copy.set_types(["int8", "uuid", "int4", "text", "text"])
            while some := list(islice(events, EVENTS_PER_SEAL)):
                hash, first = seal(hash, some), position + 1
                for event in some:
                    position += 1
                    copy.write_row(
                        [position, event.originator_id, event.originator_version, event.topic, event.state.decode()]
                    )
                seals.append((first, position, RECORDED, hash, OF_LEAVES))
        with cursor.copy(
            "COPY ledger.seals (first_position, last_position, recorded_at, hash, formula) FROM STDIN"
        ) as copy:
            for row in seals:
                copy.write_row(row)
        with cursor.copy("COPY ledger.keys (kind, key, id) FROM STDIN") as copy:
            for (kind, key), id in claims:
                copy.write_row([kind, key, id])
    return position, [ids[len(ids) * part // processes] for part in range(processes)] + [None]


def _keys(stream: Stream) -> Iterator[Key]:
    """The natural keys that commands would have claimed for a stream."""
    match stream[0]:
        case FlowCreated() as flow:
            yield keys.flow_name(flow.name)
        case TaskRunCreated() as task:
            yield from task.natural_keys()


def _project(conninfo: str, first: UUID, behind: UUID | None) -> int:
    with psycopg.connect(conninfo, options=_OPTIONS) as reader, psycopg.connect(conninfo, options=_OPTIONS) as writer:
        return project_streams(reader, writer, first, behind)
