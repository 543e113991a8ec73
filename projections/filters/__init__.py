"""The filter language of the API: what a caller may ask for, and the conditions in SQL that it stands for.

Every value is bound to a placeholder; no text of a caller becomes part of a statement.
"""

from projections.filters.deployments import DeploymentFilter
from projections.filters.flow_runs import FlowRunFilter
from projections.filters.flows import FlowFilter
from projections.filters.logs import LogFilter
from projections.filters.task_runs import TaskRunFilter
from projections.filters.work import WorkerFilter, WorkPoolFilter, WorkQueueFilter

__all__ = [
    "DeploymentFilter",
    "FlowFilter",
    "FlowRunFilter",
    "LogFilter",
    "TaskRunFilter",
    "WorkPoolFilter",
    "WorkQueueFilter",
    "WorkerFilter",
]
