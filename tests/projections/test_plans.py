"""With a million flow runs nothing that is asked for all the time reads a table of runs from end to end."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection

from api.embedded_postgres import EmbeddedPostgres
from domain.flow_run import FlowRun
from domain.ids import new_id
from projections import (
    as_of,
    audit,
    graph,
    history,
    pages,
    past_runs,
    planning,
    queries,
    run_counts,
    scheduled_work,
    upkeep,
    work,
)
from projections.connection import session_options
from projections.filters import DeploymentFilter, FlowFilter, FlowRunFilter, TaskRunFilter, WorkPoolFilter
from projections.lists import Page
from projections.scheduled_work import Asked
from projections.sorting import FlowRunSort, TaskRunSort
from scripts.benchmarking.dataset import DAY
from scripts.benchmarking.seeding import seed
from tests.projections.seeding import copy_of

FLOW_RUNS = 1_000_000
RUN_TABLES = {
    "flow_runs",
    "flow_run_documents",
    "flow_run_states",
    "flow_run_intervals",
    "task_runs",
    "task_run_documents",
    "task_run_states",
    "run_counts",
}
ONE = UUID(int=1)

flow_runs: Callable[[Any], FlowRunFilter] = FlowRunFilter.model_validate
task_runs: Callable[[Any], TaskRunFilter] = TaskRunFilter.model_validate
of_flow = FlowFilter.model_validate({"name": {"any_": ["flow-7"]}})
running = flow_runs({"state": {"type": {"any_": ["RUNNING"]}}})
NOON = DAY + timedelta(hours=12)
completed = {"state": {"type": {"any_": ["COMPLETED"]}}}
lately = {"after_": DAY + timedelta(hours=23)}
day = {"start": DAY, "end": DAY + timedelta(days=1), "interval": timedelta(minutes=15)}
odd = {
    "start": DAY + timedelta(seconds=1),
    "end": DAY + timedelta(hours=1, seconds=1),
    "interval": timedelta(minutes=5),
}

RUNS, TASKS, FLOWS = queries.LISTED_FLOW_RUNS, queries.LISTED_TASK_RUNS, queries.LISTED_FLOWS
by_id, by_start = FlowRunSort.ID_DESC, FlowRunSort.START_TIME_DESC
deep, page = Page(50, 1000), Page(200)

ASKED: dict[str, tuple[Callable[..., Awaitable[Any]], tuple[Any, ...], dict[str, Any]]] = {
    "a flow run": (queries.read_flow_run, (ONE,), {}),
    "flow runs by id": (queries.read_flow_runs_by_id, ([ONE, new_id()],), {}),
    "the states of a flow run": (queries.read_flow_run_states, (ONE,), {}),
    "a state": (queries.read_flow_run_state, (ONE,), {}),
    "newest flow runs": (queries.read_listed, (RUNS, page), {}),
    "flow runs by start": (queries.read_listed, (RUNS, page, by_start), {}),
    "flow runs from the first start on": (queries.read_listed, (RUNS, page, FlowRunSort.START_TIME_ASC), {}),
    "flow runs by expected start": (queries.read_listed, (RUNS, page, FlowRunSort.EXPECTED_START_TIME_DESC), {}),
    "flow runs in a state": (queries.read_listed, (RUNS, page, by_start), {"flow_runs": flow_runs(completed)}),
    "flow runs far behind": (queries.read_listed, (RUNS, deep, by_start), {"flow_runs": flow_runs(completed)}),
    "flow runs with a tag": (
        queries.read_listed,
        (RUNS, page, by_start),
        {"flow_runs": flow_runs({"tags": {"all_": ["tag-3"]}})},
    ),
    "flow runs with a rare tag": (
        queries.read_listed,
        (RUNS, page, by_start),
        {"flow_runs": flow_runs({"tags": {"any_": ["rare"]}})},
    ),
    "flow runs of a flow": (queries.read_listed, (RUNS, page, by_start), {"flows": of_flow}),
    "flow runs of a deployment": (
        queries.read_listed,
        (RUNS, page, by_start),
        {"flow_runs": flow_runs({"deployment_id": {"any_": [ONE]}})},
    ),
    "flow runs of deployments": (queries.read_listed, (RUNS, page, by_start), {"deployments": DeploymentFilter()}),
    "subflows": (
        queries.read_listed,
        (RUNS, page, by_start),
        {"flow_runs": flow_runs({"parent_task_run_id": {"any_": [ONE]}})},
    ),
    "flow runs that are due": (
        queries.read_listed,
        (RUNS, page, FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC),
        {
            "flow_runs": flow_runs(
                {"state": {"type": {"any_": ["SCHEDULED"]}}, "next_scheduled_start_time": {"before_": DAY}}
            )
        },
    ),
    "flow runs that a runner may start": (
        queries.read_listed,
        (RUNS, page, FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC),
        {
            "flow_runs": flow_runs(
                {
                    "state": {"type": {"any_": ["SCHEDULED"]}},
                    "deployment_id": {"any_": [ONE]},
                    "next_scheduled_start_time": {"before_": DAY},
                }
            ),
            "deployments": DeploymentFilter.model_validate({"id": {"any_": [ONE]}}),
        },
    ),
    "flow runs that a worker may start": (scheduled_work.read_scheduled, (ONE, None, Asked(200, before=DAY)), {}),
    "work pools": (work.read_pools, (), {"limit": 200}),
    "work queues": (work.read_queues, (), {"limit": 200}),
    "the slots of a work queue": (work.read_queue, (ONE,), {}),
    "flow runs of a work pool": (
        queries.read_listed,
        (RUNS, page, by_start),
        {"work_pools": WorkPoolFilter.model_validate({"name": {"any_": ["a pool"]}})},
    ),
    "flow runs to mark late": (upkeep.overdue_runs, (DAY, 500), {}),
    "flow runs paused too long": (upkeep.runs_paused_too_long, (DAY, 500), {}),
    "flow runs about to cancel": (upkeep.runs_cancelling_since, (DAY, 500), {}),
    "task runs of cancelled runs": (upkeep.task_runs_left, (DAY + timedelta(days=1), 500), {}),
    "subflows of cancelled runs": (upkeep.subflow_runs_left, (DAY + timedelta(days=1), 500), {}),
    "deployments to plan": (planning.read_page_to_plan, (ONE, 500), {}),
    "flow runs lately": (
        queries.read_listed,
        (RUNS, page, FlowRunSort.EXPECTED_START_TIME_DESC),
        {"flow_runs": flow_runs({"expected_start_time": lately})},
    ),
    "flow runs by cursor": (queries.read_listed, (RUNS, Page(200, by_cursor=True), by_start), {}),
    "flow runs across kinds": (
        queries.read_listed,
        (RUNS, page, by_start),
        {"flows": of_flow, "task_runs": task_runs({"id": {"any_": [ONE]}})},
    ),
    "flow runs of a flow by the states of their task runs": (
        queries.read_listed,
        (RUNS, page, by_start),
        {"flows": of_flow, "task_runs": task_runs(completed)},
    ),
    "how many of a flow by the states of their task runs": (
        queries.count_listed,
        (RUNS,),
        {"flows": of_flow, "task_runs": task_runs(completed)},
    ),
    "how many flow runs": (queries.count_listed, (RUNS,), {}),
    "how many in a state": (queries.count_listed, (RUNS,), {"flow_runs": flow_runs(completed)}),
    "how many with a tag": (queries.count_listed, (RUNS,), {"flow_runs": flow_runs({"tags": {"all_": ["tag-3"]}})}),
    "how many of a flow": (queries.count_listed, (RUNS,), {"flows": of_flow}),
    "how many lately": (queries.count_listed, (RUNS,), {"flow_runs": flow_runs({"expected_start_time": lately})}),
    "a page with its count": (queries.read_pages, (RUNS,), {"sort": by_start}),
    "the history of a day": (history.read_history, (RUNS,), day),
    "a history between buckets": (history.read_history, (RUNS,), odd),
    "how late runs are": (history.average_lateness, (RUNS,), {}),
    "dots": (pages.read_dots, (), {"sort": by_start, "limit": 1000, "offset": 0}),
    "flow runs that were running": (past_runs.read_past_flow_runs, (NOON,), {"limit": 200, "flow_runs": running}),
    "how many were running": (past_runs.count_past_flow_runs, (NOON,), {"flow_runs": running}),
    "how many of a flow were running": (
        past_runs.count_past_flow_runs,
        (NOON,),
        {"flow_runs": running, "flows": of_flow},
    ),
    "what became of a flow run by then": (
        past_runs.read_past_flow_runs,
        (NOON,),
        {"limit": 200, "flow_runs": flow_runs({"id": {"any_": [ONE]}})},
    ),
    "a flow run as of then": (as_of.read_as_of, (FlowRun, ONE, as_of.Moment(time=NOON)), {}),
    "the events of a flow run": (audit.read_events, (FlowRun, ONE), {"after": 0, "limit": 200}),
    "a task run": (queries.read_task_run, (ONE,), {}),
    "newest task runs": (queries.read_listed, (TASKS, page), {}),
    "task runs of a flow run": (
        queries.read_listed,
        (TASKS, page, TaskRunSort.EXPECTED_START_TIME_DESC),
        {"flow_runs": flow_runs({"id": {"any_": [ONE]}})},
    ),
    "how many task runs": (queries.count_listed, (TASKS,), {}),
    "how many task runs of a flow run": (
        queries.count_listed,
        (TASKS,),
        {"flow_runs": flow_runs({"id": {"any_": [ONE]}})},
    ),
    "the history of task runs": (history.read_history, (TASKS,), day),
    "task runs by state": (pages.count_task_runs_by_state, (), {}),
    "activity": (pages.read_activity, (), {"start": DAY, "end": DAY + timedelta(minutes=20)}),
    "task runs of flow runs": (pages.count_task_runs_of, ([ONE],), {}),
    "next runs": (pages.next_runs_of, ([ONE],), {}),
    "what changed since counters were added up": (run_counts.fold, (), {}),
    "flows": (queries.read_listed, (FLOWS, page), {}),
    "flows with runs": (queries.read_listed, (FLOWS, page), {"flow_runs": flow_runs({"id": {"any_": [ONE]}})}),
    "a graph": (graph.read_graph, (ONE,), {}),
    "a dependency map": (graph.read_task_run_dependencies, (ONE,), {}),
}


SPREAD_OUT = """
TRUNCATE read.flow_run_intervals;
INSERT INTO read.flow_run_intervals
SELECT flow_run_id, version, timestamp, lead(timestamp) OVER states, flow_id, deployment_id, state.doc::json ->> 'type',
    state.name, state.name IN ('Completed', 'Failed'), tag_keys
FROM read.flow_run_states AS state JOIN read.flow_runs AS run ON run.id = flow_run_id
WINDOW states AS (PARTITION BY flow_run_id ORDER BY version)
"""
"""The events of the seeded ledger are all of one moment; here their states last from one to the next."""


class Explaining(AsyncConnection):
    """A connection that has every statement explained before it is executed, and keeps the plans."""

    plans: list[Any]

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        text = query if isinstance(query, str) else query.decode() if isinstance(query, bytes) else query.as_string()
        cursor = await super().execute(cast(Any, f"EXPLAIN (FORMAT JSON) {text}"), params, prepare=False)
        self.plans.extend(row[0] for row in await cursor.fetchall())
        return await super().execute(query, params, **options)


@pytest.fixture(scope="module")
def large(postgres: EmbeddedPostgres) -> Iterator[str]:
    with copy_of("template0", postgres.conninfo) as conninfo:
        seed(conninfo, FLOW_RUNS)
        with psycopg.connect(conninfo, autocommit=True, options="-c statement_timeout=0") as connection:
            connection.execute(SPREAD_OUT)
            connection.execute("VACUUM ANALYZE read.flow_run_intervals")
        yield conninfo


def sequential_scans(plan: Any) -> Iterator[str]:
    """The tables of runs that a plan reads from end to end."""
    if isinstance(plan, list):
        for part in plan:
            yield from sequential_scans(part)
    elif isinstance(plan, dict):
        if plan.get("Node Type") == "Seq Scan" and plan.get("Relation Name") in RUN_TABLES:
            yield plan["Relation Name"]
        for part in plan.values():
            yield from sequential_scans(part)


def plans_of(conninfo: str, query: Callable[..., Awaitable[Any]], args: Any, filters: Any) -> list[Any]:
    async def explain() -> list[Any]:
        options = session_options(2, 60)
        async with await Explaining.connect(conninfo, autocommit=True, options=options) as connection:
            connection.plans = []
            await query(connection, *args, **filters)
            return connection.plans

    return asyncio.run(explain())


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("asked", ASKED)
def test_nothing_usual_reads_a_table_of_runs_from_end_to_end(large: str, asked: str) -> None:
    plans = plans_of(large, *ASKED[asked])
    assert plans
    assert list(sequential_scans(plans)) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_scan_from_end_to_end_would_be_seen(large: str) -> None:
    with psycopg.connect(large) as connection:
        plan = connection.execute("EXPLAIN (FORMAT JSON) SELECT max(total_run_time) FROM read.flow_runs").fetchall()
    assert list(sequential_scans([row[0] for row in plan])) == ["flow_runs"]
