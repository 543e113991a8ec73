"""What may be asked of the schedules of deployments, and the runs that are planned by them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

from domain import keys
from domain.commands.command import CommandOnOne, Made
from domain.commands.flow_runs import delete_run
from domain.deployment import (
    Deployment,
    DeploymentSchedule,
    DeploymentSettings,
    DeploymentUpdated,
    ScheduleAdded,
    ScheduleChanged,
    ScheduleChanges,
    ScheduleRemoved,
    ScheduleSettings,
    changed,
)
from domain.errors import NotFound, ScheduleMissing, SlugConflict, SlugsMissing, SlugTaken
from domain.flow_run import FlowRun
from domain.session import Session

AT_ONCE = 500
"""How many planned runs are loaded at a time to be deleted."""

MOST_PLANNED = 1_000_000
"""More than the runs that wait at once for the schedules of one deployment."""

SHAPE_RUNS = frozenset(
    {"parameters", "tags", "labels", "version", "paused", "infrastructure_document_id", "work_queue_name"}
)
"""The settings of a deployment by which its planned runs were made."""


@dataclass(frozen=True, slots=True)
class GivenSchedule:
    """A schedule as a caller gives it, as far as it is `set`, under the id that it gets if it is new.

    It takes the place of the schedule of its slug, or of the one whose slug it `replaces`.
    """

    id: UUID
    set: ScheduleChanges
    replaces: str | None = None

    @property
    def slug(self) -> str | None:
        return self.set.slug

    def settings(self) -> ScheduleSettings:
        """The settings of a new schedule. Raises ScheduleMissing."""
        if self.set.schedule is None:
            raise ScheduleMissing
        return ScheduleSettings(**{field: value for field, value in self.set if value is not None})


def add_schedule(session: Session, deployment: Deployment, given: GivenSchedule) -> None:
    """Say that a deployment got a schedule. Raises ScheduleMissing."""
    session.record(deployment, ScheduleAdded, id=given.id, settings=given.settings())


def change_schedule(
    session: Session, deployment: Deployment, schedule: DeploymentSchedule, changes: ScheduleChanges
) -> None:
    """Say what changed of a schedule, if anything did; what it planned is no longer true then."""
    if changed(schedule.settings, changes) != schedule.settings:
        session.record(deployment, ScheduleChanged, id=schedule.id, changes=changes)
        drop_planned(session, deployment, schedule.id)


def remove_schedule(session: Session, deployment: Deployment, schedule_id: UUID) -> None:
    """Say that a deployment has a schedule no more."""
    session.record(deployment, ScheduleRemoved, id=schedule_id)
    drop_planned(session, deployment, schedule_id)


def drop_planned(session: Session, deployment: Deployment, schedule_id: UUID | None = None) -> None:
    """Delete the runs that a schedule of a deployment, or any of them, planned and that have not begun."""
    waiting = iter(session.ids_under(keys.planned_runs_of(deployment.id, schedule_id), MOST_PLANNED).values())
    while ids := list(islice(waiting, AT_ONCE)):
        session.prefetch(ids)
        for id in ids:
            run = session.find(FlowRun, id)
            if run is not None and id not in session.touched:
                delete_run(session, run)


def replace_schedules(session: Session, deployment: Deployment, given: Sequence[GivenSchedule]) -> None:
    """Give a deployment these schedules in the place of those it has; one that it has already stays as it is.

    Raises SlugTaken and ScheduleMissing.
    """
    require_free_slugs((), (new.slug for new in given))
    left = dict(deployment.schedules)
    for new in given:
        settings = new.settings()
        same = next((id for id, schedule in left.items() if schedule.settings == settings), None)
        if same is None:
            add_schedule(session, deployment, new)
        else:
            del left[same]
    for id in left:
        remove_schedule(session, deployment, id)


def update_schedules(session: Session, deployment: Deployment, given: Sequence[GivenSchedule]) -> None:
    """Change the schedules of a deployment by their slugs where all have one, else give it these in their place.

    Schedules whose slugs are not given stay then. Raises SlugsMissing where only those that are given lack slugs,
    SlugConflict where two are to replace the same or one would take the slug of another, SlugTaken and ScheduleMissing.
    Source: server 3.9.1.
    """
    by_slug = {schedule.settings.slug: schedule for schedule in deployment.schedules.values()}
    if not by_slug or None in by_slug:
        replace_schedules(session, deployment, given)
        return
    if any(new.slug is None for new in given):
        raise SlugsMissing
    require_free_slugs((), (new.slug for new in given))
    replaced = [new.replaces for new in given if new.replaces is not None]
    for new in given:
        if new.replaces is not None and (
            replaced.count(new.replaces) > 1 or (new.slug in by_slug and new.slug not in replaced)
        ):
            raise SlugConflict(new.replaces, new.slug)
    for new in given:
        schedule = by_slug.get(new.replaces or new.slug)
        if schedule is None:
            add_schedule(session, deployment, new)
        else:
            change_schedule(session, deployment, schedule, new.set)


def require_free_slugs(others: Iterable[DeploymentSchedule], slugs: Iterable[str | None]) -> None:
    """Raise SlugTaken where a slug is that of another schedule, or comes twice."""
    taken = {schedule.settings.slug for schedule in others}
    for slug in slugs:
        if slug is not None and slug in taken:
            raise SlugTaken(slug)
        taken.add(slug)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddSchedules(CommandOnOne):
    """Give a deployment more schedules. Raises SlugTaken and ScheduleMissing."""

    given: tuple[GivenSchedule, ...]

    def decide(self, session: Session) -> Made:
        deployment = session.get(Deployment, self.id)
        require_free_slugs(deployment.schedules.values(), (new.slug for new in self.given))
        for new in self.given:
            add_schedule(session, deployment, new)
        return Made(deployment.id, created=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSchedule(CommandOnOne):
    """Change what is set of a schedule of a deployment. Raises SlugTaken, and NotFound where there is no such one."""

    schedule_id: UUID
    changes: ScheduleChanges

    def decide(self, session: Session) -> None:
        deployment = session.get(Deployment, self.id)
        schedule = find_schedule(deployment, self.schedule_id)
        others = (other for other in deployment.schedules.values() if other.id != schedule.id)
        require_free_slugs(others, [self.changes.slug])
        change_schedule(session, deployment, schedule, self.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveSchedule(CommandOnOne):
    """Take a schedule of a deployment away. Raises NotFound also where it has no such schedule."""

    schedule_id: UUID

    def decide(self, session: Session) -> None:
        deployment = session.get(Deployment, self.id)
        remove_schedule(session, deployment, find_schedule(deployment, self.schedule_id).id)


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseDeployment(CommandOnOne):
    """Plan no runs of a deployment any more, or, where it is not `paused`, plan them again."""

    paused: bool

    def decide(self, session: Session) -> None:
        deployment = session.get(Deployment, self.id)
        if deployment.settings.paused != self.paused:
            session.record(deployment, DeploymentUpdated, changes=DeploymentSettings(paused=self.paused))
            if self.paused:
                drop_planned(session, deployment)


def find_schedule(deployment: Deployment, id: UUID) -> DeploymentSchedule:
    """A schedule of a deployment by its id. Raises NotFound."""
    if id not in deployment.schedules:
        raise NotFound("Schedule", id)
    return deployment.schedules[id]
