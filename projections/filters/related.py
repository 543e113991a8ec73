"""Filters of several kinds of things as one condition on one of them: flows by their runs, runs by their flow, ….

A filter of another kind, even one that asks nothing, leaves out what has no such thing. Where a flow is to have a flow
run and a task run, they belong together: the task run is one of that flow run.
"""

from collections.abc import Iterator
from typing import LiteralString, TypedDict

from projections.filters.condition import Condition, Operator, exists, joined
from projections.filters.criteria import Entity
from projections.filters.deployments import DeploymentFilter
from projections.filters.flow_runs import FlowRunFilter
from projections.filters.flows import FlowFilter
from projections.filters.task_runs import TaskRunFilter
from projections.filters.work import WorkPoolFilter, WorkQueueFilter

DEPLOYMENTS_OF_FLOW = "FROM read.deployments WHERE deployments.flow_id = flows.id"
DEPLOYMENT_OF_RUN = "FROM read.deployments WHERE deployments.id = flow_runs.deployment_id"
RUNS_OF_FLOW = "FROM read.flow_runs WHERE flow_runs.flow_id = flows.id"
RUNS_WITH_TASKS_OF_FLOW = (
    "FROM read.flow_runs JOIN read.task_runs ON task_runs.flow_run_id = flow_runs.id WHERE flow_runs.flow_id = flows.id"
)
FLOW_OF_DEPLOYMENT = "FROM read.flows WHERE flows.id = deployments.flow_id"
RUNS_OF_DEPLOYMENT = "FROM read.flow_runs WHERE flow_runs.deployment_id = deployments.id"
RUNS_WITH_TASKS_OF_DEPLOYMENT = (
    "FROM read.flow_runs JOIN read.task_runs ON task_runs.flow_run_id = flow_runs.id"
    " WHERE flow_runs.deployment_id = deployments.id"
)
FLOW_OF_RUN = "FROM read.flows WHERE flows.id = flow_runs.flow_id"
TASKS_OF_RUN = "FROM read.task_runs WHERE task_runs.flow_run_id = flow_runs.id"
TASKS_OF_RUN_OF_FLOW = (
    "FROM read.task_runs JOIN read.flows ON flows.id = task_runs.flow_id WHERE task_runs.flow_run_id = flow_runs.id"
)
QUEUE_OF_DEPLOYMENT = (
    "FROM read.work_queues JOIN read.work_pools ON work_pools.id = work_queues.work_pool_id"
    " WHERE work_queues.id = deployments.work_queue_id"
)
QUEUE_OF_RUN = (
    "FROM read.work_queues JOIN read.work_pools ON work_pools.id = work_queues.work_pool_id"
    " WHERE work_queues.id = flow_runs.work_queue_id"
)
RUN_OF_TASK = "FROM read.flow_runs WHERE flow_runs.id = task_runs.flow_run_id"
FLOW_RUN_OF_ARTIFACT = "FROM read.flow_runs WHERE flow_runs.id = artifacts.flow_run_id"
TASK_RUN_OF_ARTIFACT = "FROM read.task_runs WHERE task_runs.id = artifacts.task_run_id"
FLOW_RUN_OF_LATEST_ARTIFACT = "FROM read.flow_runs WHERE flow_runs.id = latest_artifacts.flow_run_id"
TASK_RUN_OF_LATEST_ARTIFACT = "FROM read.task_runs WHERE task_runs.id = latest_artifacts.task_run_id"


class Filters(TypedDict, total=False):
    """What a list or a count may be restricted by, whichever kind of thing it is of."""

    flows: FlowFilter | None
    flow_runs: FlowRunFilter | None
    task_runs: TaskRunFilter | None
    deployments: DeploymentFilter | None
    work_pools: WorkPoolFilter | None
    work_pool_queues: WorkQueueFilter | None


def flows_where(filters: Filters) -> Condition:
    """The condition on `read.flows` of flows that fit, and have runs that fit and deployments, in queues, that fit."""
    parts = _own(filters.get("flows"))
    deployments, queues = filters.get("deployments"), _in_queue(QUEUE_OF_DEPLOYMENT, filters)
    if deployments is not None or queues:
        parts.append(exists(DEPLOYMENTS_OF_FLOW, *_own(deployments), *queues))
    flow_runs, task_runs = filters.get("flow_runs"), filters.get("task_runs")
    if task_runs is not None:
        parts.append(exists(RUNS_WITH_TASKS_OF_FLOW, *_own(flow_runs), *_own(task_runs)))
    elif flow_runs is not None:
        parts.append(exists(RUNS_OF_FLOW, *_own(flow_runs)))
    return joined(Operator.AND, parts)


def deployments_where(filters: Filters) -> Condition:
    """The condition on `read.deployments` of deployments that fit, of such a flow, in such a queue, with such runs."""
    parts = _own(filters.get("deployments")) + _in_queue(QUEUE_OF_DEPLOYMENT, filters)
    flows, flow_runs, task_runs = filters.get("flows"), filters.get("flow_runs"), filters.get("task_runs")
    if flows is not None:
        parts.append(exists(FLOW_OF_DEPLOYMENT, *_own(flows)))
    if task_runs is not None:
        parts.append(exists(RUNS_WITH_TASKS_OF_DEPLOYMENT, *_own(flow_runs), *_own(task_runs)))
    elif flow_runs is not None:
        parts.append(exists(RUNS_OF_DEPLOYMENT, *_own(flow_runs)))
    return joined(Operator.AND, parts)


def flow_runs_where(filters: Filters) -> Condition:
    """The condition on `read.flow_runs` of flow runs that fit, of a flow and of a deployment that fit, in a queue that
    fits, with a task run that fits.
    """
    parts = _own(filters.get("flow_runs")) + _in_queue(QUEUE_OF_RUN, filters)
    flows, task_runs, deployments = filters.get("flows"), filters.get("task_runs"), filters.get("deployments")
    if deployments is not None:
        parts.append(exists(DEPLOYMENT_OF_RUN, *_own(deployments)))
    if flows is not None:
        parts.append(exists(FLOW_OF_RUN, *_own(flows)))
    if task_runs is not None and flows is not None:
        # The flow once more: few runs of a flow may have such a task run, and these are found by the flow as well.
        parts.append(exists(TASKS_OF_RUN_OF_FLOW, *_own(flows), *_own(task_runs)))
    elif task_runs is not None:
        parts.append(exists(TASKS_OF_RUN, *_own(task_runs)))
    return joined(Operator.AND, parts)


def task_runs_where(filters: Filters) -> Condition:
    """The condition on `read.task_runs` of task runs that fit, in a run of a flow, a deployment, a queue that fit."""
    parts = _own(filters.get("task_runs"))
    flows, flow_runs, deployments = filters.get("flows"), filters.get("flow_runs"), filters.get("deployments")
    queues = _in_queue(QUEUE_OF_RUN, filters)
    if flows is not None or flow_runs is not None or deployments is not None or queues:
        of_flow = [] if flows is None else [exists(FLOW_OF_RUN, *_own(flows))]
        of_deployment = [] if deployments is None else [exists(DEPLOYMENT_OF_RUN, *_own(deployments))]
        parts.append(exists(RUN_OF_TASK, *_own(flow_runs), *of_flow, *of_deployment, *queues))
    return joined(Operator.AND, parts)


def runs_of_artifacts_where(flow_run: LiteralString, task_run: LiteralString, filters: Filters) -> Iterator[Condition]:
    """The conditions on artifacts of a flow run and of a task run that fit, of a flow and a deployment that fit.

    `flow_run` and `task_run` say where the runs of an artifact are found.
    """
    flows, flow_runs, deployments = filters.get("flows"), filters.get("flow_runs"), filters.get("deployments")
    if flows is not None or flow_runs is not None or deployments is not None:
        of_flow = [] if flows is None else [exists(FLOW_OF_RUN, *_own(flows))]
        of_deployment = [] if deployments is None else [exists(DEPLOYMENT_OF_RUN, *_own(deployments))]
        yield exists(flow_run, *_own(flow_runs), *of_flow, *of_deployment)
    task_runs = filters.get("task_runs")
    if task_runs is not None:
        yield exists(task_run, *_own(task_runs))


def _in_queue(template: LiteralString, filters: Filters) -> list[Condition]:
    """The condition that something is in a queue that fits, in a pool that does; none where nothing of it is asked."""
    pools, queues = filters.get("work_pools"), filters.get("work_pool_queues")
    return [] if pools is None and queues is None else [exists(template, *_own(queues), *_own(pools))]


def _own(filter: Entity | None) -> list[Condition]:
    return [] if filter is None else [filter.condition()]
