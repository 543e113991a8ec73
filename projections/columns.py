"""Documents with only the fields that a caller names: from the columns of a row where they are, else from its document.

The text of a field is the same as in the whole document.
"""

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from psycopg import sql
from pydantic_core import from_json

from domain.aggregate import Aggregate
from domain.deployment import Deployment
from domain.flow import Flow
from domain.flow_run import FlowRun
from domain.task_run import TaskRun
from projections.estimates import ESTIMATED_RUN_TIME, ESTIMATED_START_TIME_DELTA
from projections.projectors import document_of
from projections.work_documents import FIELDS_OF_DEPLOYMENT, FIELDS_OF_RUN

_NOBODY = UUID(int=0)
_KINDS: dict[str, type[Aggregate]] = {
    "flows": Flow,
    "deployments": Deployment,
    "flow_runs": FlowRun,
    "task_runs": TaskRun,
}

_AS_IT_IS = "coalesce(to_json({column})::text, 'null')"
AS_TIME: LiteralString = (
    """coalesce('"' || replace(to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '.000000', '')"""
    """ || 'Z"', 'null')"""
)
"""A time of a column as JSON text, the way documents have it."""

_PLAIN = ("id", "name", "tags", "state_id", "state_type", "state_name", "flow_id", "flow_run_id", "deployment_id")
_PLAIN_OF_RUNS = (*_PLAIN, "parent_task_run_id", "idempotency_key", "flow_version")
_TIMES = ("start_time", "end_time", "expected_start_time", "next_scheduled_start_time", "created")
_ONLY_FLOW_RUNS = (
    "flow_id",
    "deployment_id",
    "parent_task_run_id",
    "idempotency_key",
    "flow_version",
)
_COMPUTED = {"estimated_run_time": ESTIMATED_RUN_TIME, "estimated_start_time_delta": ESTIMATED_START_TIME_DELTA}

_JOINED: dict[type[Aggregate], frozenset[str]] = {
    Deployment: frozenset({"global_concurrency_limit", *FIELDS_OF_DEPLOYMENT}),
    FlowRun: frozenset({*_COMPUTED, *FIELDS_OF_RUN}),
    TaskRun: frozenset(_COMPUTED),
}
"""The fields that are joined to documents when they are read."""


class UnknownColumn(Exception):
    """A field was asked for that documents do not have; `column` is its name."""

    def __init__(self, column: str) -> None:
        super().__init__(f"There is no column {column!r}.")
        self.column = column


def fields_of(table: str) -> frozenset[str]:
    """The names of the fields that documents of a read table have."""
    kind = _KINDS[table]
    fields = frozenset(from_json(document_of(kind(_NOBODY))))
    return fields | _JOINED.get(kind, frozenset())


def chosen(table: str, document: sql.Composable, columns: Sequence[str]) -> sql.Composable:
    """The document of a row of a table with these fields alone. Raises UnknownColumn."""
    known = fields_of(table)
    for column in columns:
        if column not in known:
            raise UnknownColumn(column)
    names = tuple(dict.fromkeys(columns))
    of_row = {name: value for name in names if (value := _of_row(table, name)) is not None}
    rest = [name for name in names if name not in of_row]
    values = [
        of_row[name] if name in of_row else sql.SQL("coalesce({}::text, 'null')").format(_named(name)) for name in names
    ]
    parts = [
        sql.SQL("{} || {}").format(sql.Literal(f'"{name}":'), value) for name, value in zip(names, values, strict=True)
    ]
    if not parts:
        return sql.SQL("'{}'")
    made = sql.SQL("concat('{{', concat_ws(',', {}), '}}')").format(sql.SQL(", ").join(parts))
    if not rest:
        return made
    typed = sql.SQL(", ").join(sql.SQL("{} json").format(sql.Identifier(name)) for name in rest)
    return sql.SQL("(SELECT {} FROM json_to_record(({})::json) AS named({}))").format(made, document, typed)


def _named(name: str) -> sql.Composable:
    return sql.Identifier("named", name)


def _of_row(table: str, name: str) -> sql.Composable | None:
    """A field as JSON text, made of the columns of a row of runs; None where there is no such column."""
    if table not in ("flow_runs", "task_runs"):
        return None
    if name in _COMPUTED:
        return sql.SQL("({})::text").format(_COMPUTED[name])
    if (table == "flow_runs" and name == "flow_run_id") or (table == "task_runs" and name in _ONLY_FLOW_RUNS):
        return None
    template: LiteralString = AS_TIME if name in _TIMES else _AS_IT_IS
    if name not in _TIMES and name not in _PLAIN_OF_RUNS:
        return None
    column = sql.Identifier(name) if name == "id" else sql.Identifier(table, name)
    return sql.SQL(template).format(column=column)
