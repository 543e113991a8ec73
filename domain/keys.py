"""Natural keys: names that stand for one live aggregate, claimed under the ledger lock and freed by its deletion."""

import hashlib
from uuid import UUID

Key = tuple[str, str]
"""The kind of key, and its text."""


LONGEST = 200
"""Characters of a name that stand in a key as they are; an index entry has room for no more than some 2,700 bytes."""


def flow_name(name: str) -> Key:
    return "flow_name", short(name)


def deployment_name(flow_id: UUID, name: str) -> Key:
    return "deployment_name", f"{flow_id}:{short(name)}"


def flow_run_idempotency(flow_id: UUID, idempotency_key: str) -> Key:
    return "flow_run_idempotency", f"{flow_id}:{short(idempotency_key)}"


def task_runs_of(flow_run_id: UUID) -> Key:
    """The beginning of the keys of all task runs of one flow run."""
    return "task_run", f"{flow_run_id}:"


def task_run(flow_run_id: UUID, task_key: str, dynamic_key: str) -> Key:
    kind, beginning = task_runs_of(flow_run_id)
    return kind, beginning + short(f"{len(task_key)}:{task_key}:{dynamic_key}")


def planned_runs_of(deployment_id: UUID, schedule_id: UUID | None = None) -> Key:
    """The beginning of the keys of all runs that a deployment's schedules, or one of them, planned and that wait."""
    return "planned_run", f"{deployment_id}:" if schedule_id is None else f"{deployment_id}:{schedule_id}:"


def planned_run(deployment_id: UUID, schedule_id: UUID, run_id: UUID) -> Key:
    kind, beginning = planned_runs_of(deployment_id, schedule_id)
    return kind, f"{beginning}{run_id}"


def limit_name(name: str) -> Key:
    return "concurrency_limit", short(name)


def lease(lease_id: UUID) -> Key:
    """The beginning of the keys of all holdings under one lease."""
    return "lease", f"{lease_id}:"


def lease_on(lease_id: UUID, limit_id: UUID) -> Key:
    kind, beginning = lease(lease_id)
    return kind, f"{beginning}{limit_id}"


def variable_name(name: str) -> Key:
    return "variable_name", short(name)


def saved_search_name(name: str) -> Key:
    return "saved_search_name", short(name)


def block_type_slug(slug: str) -> Key:
    return "block_type_slug", short(slug)


def block_schema(checksum: str, version: str) -> Key:
    return "block_schema", f"{checksum}:{short(version)}"


def block_schemas_of(block_type_id: UUID) -> Key:
    """The beginning of the keys of all schemas of a block type."""
    return "block_schema_of", f"{block_type_id}:"


def block_schema_of(block_type_id: UUID, id: UUID) -> Key:
    kind, beginning = block_schemas_of(block_type_id)
    return kind, f"{beginning}{id}"


def block_documents_of(block_type_id: UUID) -> Key:
    """The beginning of the keys of all documents of a block type."""
    return "block_document_name", f"{block_type_id}:"


def block_document_name(block_type_id: UUID, name: str) -> Key:
    kind, beginning = block_documents_of(block_type_id)
    return kind, beginning + short(name)


def block_documents_with(block_schema_id: UUID) -> Key:
    """The beginning of the keys of all documents that have a block schema."""
    return "block_document_with", f"{block_schema_id}:"


def block_document_with(block_schema_id: UUID, id: UUID) -> Key:
    kind, beginning = block_documents_with(block_schema_id)
    return kind, f"{beginning}{id}"


def work_pool_name(name: str) -> Key:
    return "work_pool_name", short(name)


def work_queues_of(pool_id: UUID) -> Key:
    """The beginning of the keys of all queues of one work pool."""
    return "work_queue", f"{pool_id}:"


def work_queue_name(pool_id: UUID, name: str) -> Key:
    kind, beginning = work_queues_of(pool_id)
    return kind, beginning + short(name)


def short(name: str) -> str:
    """A name that fits into an index: long ones are represented by their SHA-256."""
    return name if len(name) <= LONGEST else "sha256:" + hashlib.sha256(name.encode()).hexdigest()
