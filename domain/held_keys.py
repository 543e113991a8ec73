"""Which natural keys an aggregate holds as it stands: what commands claim and release, seen from the events.

The law: after every command the claimed keys are those that the live aggregates hold, each for the one that holds it.
"""

from collections.abc import Iterable

from domain import keys
from domain.aggregate import Aggregate
from domain.block_document import BlockDocument
from domain.block_schema import BlockSchema
from domain.block_type import BlockType
from domain.concurrency_limit import ConcurrencyLimit
from domain.deployment import Deployment
from domain.flow import Flow
from domain.flow_run import FlowRun
from domain.keys import Key
from domain.notification_policy import NotificationPolicy
from domain.saved_search import SavedSearch
from domain.task_run import TaskRun
from domain.variable import Variable
from domain.work_pool import WorkPool
from domain.work_queue import WorkQueue


def held_keys(aggregate: Aggregate) -> set[Key]:
    """The keys that stand for the aggregate; none once it was deleted. Raises TypeError for an unknown kind."""
    return set() if aggregate.deleted else set(_keys(aggregate))


def _keys(aggregate: Aggregate) -> Iterable[Key]:
    match aggregate:
        case TaskRun():
            return aggregate.natural_keys()
        case FlowRun():
            return _of_flow_run(aggregate)
        case Flow():
            return (keys.flow_name(aggregate.name),)
        case Deployment():
            return (keys.deployment_name(aggregate.flow_id, aggregate.name),)
        case ConcurrencyLimit():
            return _of_limit(aggregate)
        case Variable():
            return (keys.variable_name(aggregate.facts.name),)
        case SavedSearch():
            return (keys.saved_search_name(aggregate.name),)
        case WorkPool():
            return (keys.work_pool_name(aggregate.name),)
        case WorkQueue():
            return (keys.work_queue_name(aggregate.work_pool_id, aggregate.name),)
        case BlockType():
            return (keys.block_type_slug(aggregate.slug),)
        case BlockSchema():
            return (
                keys.block_schema(aggregate.checksum, aggregate.version_name),
                keys.block_schema_of(aggregate.block_type_id, aggregate.id),
            )
        case BlockDocument():
            return (
                keys.block_document_name(aggregate.block_type_id, aggregate.name),
                keys.block_document_with(aggregate.block_schema_id, aggregate.id),
            )
        case NotificationPolicy():
            return ()
        case _:
            raise TypeError(f"It is not known which keys stand for a {aggregate.kind}")


def _of_flow_run(run: FlowRun) -> Iterable[Key]:
    if run.idempotency_key is not None:
        yield keys.flow_run_idempotency(run.flow_id, run.idempotency_key)
    plan = run.plan_key()
    if plan is not None:
        yield plan


def _of_limit(limit: ConcurrencyLimit) -> Iterable[Key]:
    yield keys.limit_name(limit.name)
    for id, holding in limit.holdings.items():
        if holding.leased:
            yield keys.lease_on(id, limit.id)
