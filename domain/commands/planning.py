"""Planning the runs that the schedules of deployments name."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain import keys
from domain.commands.command import Command, ProposedState
from domain.commands.deployments import AskedRun, facts_of_run
from domain.commands.flow_runs import CreateFlowRun
from domain.commands.schedules import find_schedule
from domain.deployment import Deployment, DeploymentSchedule
from domain.flow_run import FlowRunFacts
from domain.ids import new_id
from domain.keys import Key
from domain.run_policy import FlowRunPolicy
from domain.session import Session
from domain.states import StateDetails, StateType

AUTO_SCHEDULED = "auto-scheduled"
"""The tag of runs that were planned by a schedule. Source: server 3.9.1."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run to be made for a time that a schedule names."""

    run_id: UUID
    name: str
    schedule_id: UUID
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRuns(Command):
    """Make the runs that the schedules of a deployment name, each once however often they are planned.

    The dates were calculated for a `version` of the deployment; where it has another by now, nothing happens.
    """

    deployment_id: UUID
    flow_id: UUID
    version: int
    planned: tuple[PlannedRun, ...]

    def ids(self) -> Iterable[UUID | None]:
        return (self.deployment_id, self.flow_id)

    def natural_keys(self) -> Iterable[Key]:
        return [
            keys.flow_run_idempotency(self.flow_id, plan_of(self.deployment_id, planned.schedule_id, planned.at))
            for planned in self.planned
        ]

    def decide(self, session: Session) -> None:
        deployment = session.find(Deployment, self.deployment_id)
        if deployment is None or deployment.version != self.version:
            return
        for planned in self.planned:
            schedule = find_schedule(deployment, planned.schedule_id)
            facts = _facts_of(deployment, schedule, planned)
            details = StateDetails(scheduled_time=planned.at)
            state = ProposedState(new_id(), StateType.SCHEDULED, message="Flow run scheduled", details=details)
            made = CreateFlowRun(caller=self.caller, id=planned.run_id, facts=facts, state=state).decide(session)
            if made.created:
                session.claim(keys.planned_run(deployment.id, schedule.id, made.id), made.id)


def plan_of(deployment_id: UUID, schedule_id: UUID, at: datetime) -> str:
    """The idempotency key of the one run that a schedule names for a time."""
    return f"scheduled {deployment_id} {schedule_id} {at.isoformat()}"


def _facts_of(deployment: Deployment, schedule: DeploymentSchedule, planned: PlannedRun) -> FlowRunFacts:
    asked = AskedRun(
        name=planned.name,
        parameters=schedule.settings.parameters,
        context={},
        tags=[AUTO_SCHEDULED],
        labels={},
        empirical_policy=FlowRunPolicy(),
        job_variables={},
        idempotency_key=plan_of(deployment.id, schedule.id, planned.at),
    )
    name = schedule.settings.slug or type(schedule.settings.schedule).__name__
    return facts_of_run(deployment, asked).model_copy(update={"schedule_id": schedule.id, "schedule_name": name})
