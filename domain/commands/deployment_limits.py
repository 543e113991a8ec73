"""The concurrency limit of a deployment: a limit like any other, under a name made of the deployment's id."""

from uuid import UUID, uuid5

from domain.commands import slots
from domain.commands.limits import change_limit, create_limit, delete_limit
from domain.concurrency_limit import ConcurrencyLimit, LimitChanges
from domain.deployment import CollisionStrategy, Deployment
from domain.orchestration.rule import DeploymentFacts
from domain.session import Session

USUAL_GRACE_SECONDS = 300.0
"""How long a slot is kept for a run that does not say that it is alive. Source: server 3.9.1."""


def deployment_limit(deployment_id: UUID) -> str:
    """The name of a deployment's limit."""
    return f"deployment:{deployment_id}"


def deployment_facts(session: Session, deployment_id: UUID | None) -> DeploymentFacts | None:
    """What a rule gets to know of the deployment of a run, if there is one."""
    deployment = session.find(Deployment, deployment_id)
    if deployment is None:
        return None
    options = deployment.settings.concurrency_options
    grace = options.grace_period_seconds if options else None
    limit = _limit_of(session, deployment)
    return DeploymentFacts(
        None if limit is None or not limit.active else slots.facts_of(session, limit),
        options is not None and options.collision_strategy is CollisionStrategy.CANCEL_NEW,
        USUAL_GRACE_SECONDS if grace is None else float(grace),
    )


def settle_limit(session: Session, deployment: Deployment, version: int, wanted: int | None) -> None:
    """Make, change or delete the limit of a deployment, so that it is what the event of that version says."""
    limit = _limit_of(session, deployment)
    if limit is not None and wanted is not None:
        change_limit(session, limit, LimitChanges(limit=wanted))
    elif limit is not None:
        delete_limit(session, limit)
    elif wanted is not None:
        name = deployment_limit(deployment.id)
        create_limit(session, uuid5(deployment.id, f"limit {version}"), LimitChanges(name=name, limit=wanted))


def _limit_of(session: Session, deployment: Deployment) -> ConcurrencyLimit | None:
    if deployment.settings.concurrency_limit is None:
        return None
    return next(iter(slots.limits_named(session, [deployment_limit(deployment.id)])), None)
