"""The documents by which the API shows aggregates, as JSON. Field names and shapes are those of server 3.9.1.

Clients 2.x read some fields of deployments under other names, so those are there as well.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from domain.deployment import Deployment, DeploymentSchedule
from domain.flow import Flow
from domain.flow_run import FlowRun, FlowRunInputWritten
from domain.run import Run
from domain.states import StateType
from domain.task_run import TaskRun
from domain.work_pool import WorkPool
from domain.work_queue import WorkQueue


def as_json(content: Any) -> bytes:
    """Content as JSON; numbers that JSON has no words for become null, as they do in events."""
    return to_json(content, inf_nan_mode="null")


def flow_document(flow: Flow) -> bytes:
    return as_json(
        {
            "id": flow.id,
            "created": flow.created,
            "updated": flow.updated,
            "name": flow.name,
            "tags": flow.tags,
            "labels": flow.labels,
        }
    )


def deployment_document(deployment: Deployment) -> bytes:
    """The document of a deployment, less its limit, its queue and when it was polled, which are joined when read."""
    settings = deployment.settings
    schedules = [schedule_fields(deployment.id, schedule) for schedule in deployment.schedules.values()]
    return as_json(
        {
            "id": deployment.id,
            "created": deployment.created,
            "updated": deployment.updated,
            "name": deployment.name,
            "version": settings.version,
            "description": settings.description,
            "flow_id": deployment.flow_id,
            "paused": settings.paused,
            "schedules": schedules,
            "concurrency_limit": settings.concurrency_limit,
            "concurrency_options": settings.concurrency_options,
            "job_variables": settings.job_variables,
            "parameters": settings.parameters,
            "tags": settings.tags,
            "labels": settings.labels,
            "parameter_openapi_schema": settings.parameter_openapi_schema,
            "path": settings.path,
            "pull_steps": settings.pull_steps,
            "entrypoint": settings.entrypoint,
            "storage_document_id": settings.storage_document_id,
            "infrastructure_document_id": settings.infrastructure_document_id,
            "created_by": None,
            "updated_by": None,
            "enforce_parameter_schema": settings.enforce_parameter_schema,
            "schedule": schedules[0]["schedule"] if schedules else None,
            "is_schedule_active": not settings.paused,
            "infra_overrides": settings.job_variables,
            "manifest_path": settings.manifest_path,
        }
    )


def schedule_fields(deployment_id: UUID, schedule: DeploymentSchedule) -> dict[str, Any]:
    """What the document of a deployment says of one of its schedules."""
    settings = schedule.settings
    return {
        "id": schedule.id,
        "created": schedule.created,
        "updated": schedule.updated,
        "deployment_id": deployment_id,
        "schedule": settings.schedule,
        "active": settings.active,
        "max_scheduled_runs": settings.max_scheduled_runs,
        "parameters": settings.parameters,
        "slug": settings.slug,
    }


def _planner_of(run: FlowRun) -> dict[str, Any] | None:
    """Who made a run, where a schedule did."""
    if run.schedule_id is None:
        return None
    return {"id": run.schedule_id, "type": "SCHEDULE", "display_value": run.schedule_name}


def flow_run_document(run: FlowRun) -> bytes:
    """The document of a flow run, less its queue (`with_queue`) and what moves with the clock (`with_estimates`)."""
    return as_json(
        {
            "id": run.id,
            "created": run.created,
            "updated": run.updated,
            "name": run.name,
            "flow_id": run.flow_id,
            "state_id": run.state.id if run.state else None,
            "deployment_id": run.deployment_id,
            "deployment_version": run.deployment_version,
            "flow_version": run.flow_version,
            "parameters": run.parameters,
            "idempotency_key": run.idempotency_key,
            "context": run.context,
            "empirical_policy": run.empirical_policy,
            "tags": run.tags,
            "labels": run.labels,
            "parent_task_run_id": run.parent_task_run_id,
            **_course(run),
            "auto_scheduled": run.schedule_id is not None,
            "infrastructure_document_id": run.infrastructure_document_id,
            "infrastructure_pid": run.infrastructure_pid,
            "created_by": _planner_of(run),
            "state": run.state,
            "job_variables": run.job_variables,
        }
    )


def work_pool_document(pool: WorkPool) -> bytes:
    """The document of a work pool, less its status and how many of its slots are taken."""
    settings = pool.settings
    return as_json(
        {
            "id": pool.id,
            "created": pool.created,
            "updated": pool.updated,
            "name": pool.name,
            "description": settings.description,
            "type": pool.type,
            "base_job_template": settings.base_job_template,
            "is_paused": settings.is_paused,
            "concurrency_limit": settings.concurrency_limit,
            "default_queue_id": pool.default_queue_id,
            "storage_configuration": settings.storage_configuration,
        }
    )


def work_queue_document(queue: WorkQueue) -> bytes:
    """The document of a work queue, less its pool's name, its status, and how many of its slots are taken."""
    settings = queue.settings
    return as_json(
        {
            "id": queue.id,
            "created": queue.created,
            "updated": queue.updated,
            "name": settings.name,
            "description": settings.description,
            "is_paused": settings.is_paused,
            "concurrency_limit": settings.concurrency_limit,
            "priority": settings.priority,
            "work_pool_id": queue.work_pool_id,
            "filter": settings.filter,
        }
    )


def flow_run_input_document(written: FlowRunInputWritten) -> bytes:
    return as_json(
        {
            "id": written.id,
            "created": written.recorded_at,
            "updated": written.recorded_at,
            "flow_run_id": written.originator_id,
            "key": written.key,
            "value": written.value,
            "sender": written.sender,
        }
    )


def task_run_document(run: TaskRun) -> bytes:
    """The document of a task run, less what moves with the clock (see `with_estimates`)."""
    return as_json(
        {
            "id": run.id,
            "created": run.created,
            "updated": run.updated,
            "name": run.name,
            "flow_run_id": run.flow_run_id,
            "task_key": run.task_key,
            "dynamic_key": run.dynamic_key,
            "cache_key": run.cache_key,
            "cache_expiration": run.cache_expiration,
            "task_version": run.task_version,
            "empirical_policy": run.empirical_policy,
            "tags": run.tags,
            "labels": run.labels,
            "state_id": run.state.id if run.state else None,
            "task_inputs": run.task_inputs,
            "flow_run_run_count": run.flow_run_run_count,
            **_course(run),
            "state": run.state,
        }
    )


def _course(run: Run) -> dict[str, Any]:
    """What a document says of the course a run took."""
    return {
        "state_type": run.state.type.value if run.state else None,
        "state_name": run.state.name if run.state else None,
        "run_count": run.run_count,
        "expected_start_time": run.expected_start_time,
        "next_scheduled_start_time": run.next_scheduled_start_time,
        "start_time": run.start_time,
        "end_time": run.end_time,
        "total_run_time": run.total_run_time,
    }


def with_queue(document: bytes, run: FlowRun, names: bytes | None) -> bytes:
    """A flow run's document with its queue and pool: `names` as they are read, or None where it is in no queue."""
    if names is None:
        called = to_json(run.work_queue_name)
        names = b'"work_queue_id":null,"work_queue_name":%s,"work_pool_id":null,"work_pool_name":null' % called
    return b"{%s,%s" % (names, document[1:])


def with_estimates(document: bytes, run: Run, now: datetime) -> bytes:
    """A run's document with the two figures that move with the clock, in seconds.

    `estimated_run_time` adds the time in RUNNING so far; `estimated_start_time_delta` is how late the run started, or
    is by now where it has neither started nor ended. The queries compute the same in SQL.
    """
    run_time, delta = run.total_run_time, 0.0
    if run.state is not None and run.state.type is StateType.RUNNING:
        run_time += (now - run.state.timestamp).total_seconds()
    if run.expected_start_time is not None:
        if run.start_time is not None:
            delta = max((run.start_time - run.expected_start_time).total_seconds(), 0.0)
        elif run.state is None or not run.state.is_terminal:
            delta = max((now - run.expected_start_time).total_seconds(), 0.0)
    figures = b'{"estimated_run_time":%s,"estimated_start_time_delta":%s,' % (to_json(run_time), to_json(delta))
    return figures + document[1:]
