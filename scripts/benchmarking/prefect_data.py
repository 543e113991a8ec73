"""Puts the data that queries are measured on into the tables of an idle Prefect server."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Json
from pydantic_core import to_jsonable_python

from domain.flow import Flow, FlowCreated
from domain.flow_run import FlowRun, FlowRunCreated
from domain.run import Run, StateSet
from domain.task_run import TaskRun, TaskRunCreated
from scripts.benchmarking.dataset import Dataset, Stream

STREAMS_AT_ONCE = 5_000

TableRow = tuple[str, dict[str, Any]]


def load(conninfo: str, flow_runs: int) -> None:
    """Fill the empty tables of a Prefect server. Columns that its version does not have are left out."""
    with psycopg.connect(conninfo) as connection:
        # Rows come in an order that foreign keys would not allow.
        connection.execute("SET session_replication_role = replica")
        streams = Dataset(flow_runs).streams()
        columns: dict[str, list[str]] = {}
        while some := list(islice(streams, STREAMS_AT_ONCE)):
            by_table: dict[str, list[dict[str, Any]]] = {}
            for stream in some:
                for table, row in _rows(stream):
                    by_table.setdefault(table, []).append(row)
            for table, rows in by_table.items():
                if table not in columns:
                    there = _columns(connection, table)
                    columns[table] = [name for name in rows[0] if name in there]
                _copy(connection, table, columns[table], rows)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def _columns(connection: psycopg.Connection, table: str) -> set[str]:
    named = "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND table_schema = 'public'"
    return {name for (name,) in connection.execute(named, [table])}


def _copy(connection: psycopg.Connection, table: str, columns: list[str], rows: list[dict[str, Any]]) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row([row[column] for column in columns])


def _rows(stream: Stream) -> Iterator[TableRow]:
    id = stream[0].originator_id
    match stream[0]:
        case FlowCreated():
            flow = Flow.replay(id, stream)
            yield (
                "flow",
                {
                    "id": id,
                    "created": flow.created,
                    "updated": flow.updated,
                    "name": flow.name,
                    "tags": Json([]),
                    "labels": Json({}),
                },
            )
        case FlowRunCreated():
            run = FlowRun.replay(id, stream)
            yield (
                "flow_run",
                {
                    **_course(run),
                    "flow_id": run.flow_id,
                    "parameters": Json(run.parameters),
                    "context": Json({}),
                    "empirical_policy": Json(to_jsonable_python(run.empirical_policy)),
                    "auto_scheduled": False,
                    "job_variables": Json({}),
                    "labels": Json(run.labels),
                },
            )
            yield from _states("flow_run_state", "flow_run_id", stream)
        case TaskRunCreated():
            task = TaskRun.replay(id, stream)
            yield (
                "task_run",
                {
                    **_course(task),
                    "flow_run_id": task.flow_run_id,
                    "task_key": task.task_key,
                    "dynamic_key": task.dynamic_key,
                    "empirical_policy": Json(to_jsonable_python(task.empirical_policy)),
                    "flow_run_run_count": 1,
                    "task_inputs": Json(to_jsonable_python(task.task_inputs)),
                    "labels": Json({}),
                },
            )
            yield from _states("task_run_state", "task_run_id", stream)


def _course(run: Run) -> dict[str, Any]:
    state = run.state
    if state is None:
        raise ValueError(f"Run {run.id} has no state")
    return {
        "id": run.id,
        "created": run.created,
        "updated": run.updated,
        "name": run.name,
        "state_type": state.type.value,
        "state_name": state.name,
        "state_id": state.id,
        "state_timestamp": state.timestamp,
        "run_count": run.run_count,
        "expected_start_time": run.expected_start_time,
        "start_time": run.start_time,
        "end_time": run.end_time,
        "total_run_time": f"{run.total_run_time} seconds",
        "tags": Json(run.tags),
    }


def _states(table: str, owner: str, stream: Stream) -> Iterator[TableRow]:
    for event in stream:
        if isinstance(event, StateSet):
            state = event.state
            yield (
                table,
                {
                    "id": state.id,
                    "created": state.timestamp,
                    "updated": state.timestamp,
                    "type": state.type.value,
                    "timestamp": state.timestamp,
                    "name": state.name,
                    "state_details": Json(to_jsonable_python(state.state_details)),
                    owner: event.originator_id,
                },
            )
