"""Whether job variables fit the template of the work pool in which a job will run."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from domain.commands.command import Command
from domain.commands.work_queues import pool_named
from domain.errors import JobVariablesUnchecked
from domain.session import Session
from domain.work_pool import WorkPool
from domain.work_queue import WorkQueue

Stamp = tuple[UUID, int, int]
"""What variables were checked against: a work pool, its version, and that of the deployment they are of or 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOnJobs(Command):
    """What is asked of something that will be a job in a work pool. `fits` says which variables are known to fit."""

    fits: Stamp | None = None


def require_fit(
    session: Session,
    command: CommandOnJobs,
    queue_id: UUID | None,
    variables: dict[str, Any],
    *,
    pool_name: str | None = None,
    version: int = 0,
    all_there: bool = False,
) -> None:
    """Raise JobVariablesUnchecked unless variables are known to fit the pool of that name, or else of that queue.

    `version` is that of the deployment whose variables are among them; `all_there` says whether required ones must be.
    """
    if pool_name is not None:
        pool: WorkPool | None = pool_named(session, pool_name)
    else:
        queue = session.find(WorkQueue, queue_id)
        pool = None if queue is None else session.find(WorkPool, queue.work_pool_id)
    if pool is None or not pool.settings.base_job_template.get("variables"):
        return
    stamp = (pool.id, pool.version, version)
    if command.fits != stamp:
        raise JobVariablesUnchecked(stamp, variables, pool.settings.base_job_template, all_there=all_there)
