"""The services that there are, and how often each does its round."""

from collections.abc import Callable

from api.block_secrets import Sealing
from api.notifications import delivery, queueing
from api.notifications.delivery import Delivery
from api.notifications.queueing import Queueing
from api.services import scheduler, upkeep
from api.services.counter_folding import fold_counters
from api.services.following import Following
from api.services.foreman import look_after_workers
from api.services.head_log import NAME, HeadLog
from api.services.service import Service
from api.settings import Settings
from domain.events import EventMapper

FOLDING_SECONDS = 1.0
"""How long counters are left alone after they were added up."""


def services_of(settings: Settings) -> list[Service]:
    """The services that are to run under these settings."""
    if not settings.services_enabled:
        return []
    log_retention = Service("log-retention", settings.retention_interval_seconds, upkeep.delete_old_logs)
    artifact_retention = Service("artifact-retention", settings.retention_interval_seconds, upkeep.delete_old_artifacts)
    event_retention = Service("event-retention", settings.retention_interval_seconds, upkeep.delete_old_events)
    return [
        Service("counter-folding", FOLDING_SECONDS, fold_counters),
        Service(scheduler.NAME, settings.scheduler_interval_seconds, scheduler.plan_runs),
        Service("late-runs", settings.late_runs_interval_seconds, upkeep.mark_late_runs),
        Service("pause-expiry", settings.pause_expiry_interval_seconds, upkeep.end_pauses),
        Service("cancellation", settings.cancellation_interval_seconds, upkeep.clean_up_cancelled),
        Service(NAME, settings.head_log_interval_seconds, HeadLog()),
        Service("foreman", settings.foreman_interval_seconds, look_after_workers),
        *([log_retention] if settings.log_retention_days else []),
        *([artifact_retention] if settings.artifact_retention_days else []),
        *([event_retention] if settings.event_retention_days else []),
    ]


def followers_of(
    settings: Settings, sealing: Sealing, tell: Callable[[], None], mapper: Callable[[], EventMapper] = EventMapper
) -> list[Service]:
    """The services that follow the log, and those that go on with what followers left them, under these settings.

    `tell` spreads the word that something was committed, `mapper` gives what reads events once.
    """
    if not (settings.services_enabled and settings.followers_enabled):
        return []
    often = settings.notifications_interval_seconds
    retention = Service("notification-retention", settings.retention_interval_seconds, upkeep.delete_old_notifications)
    return [
        Service(queueing.NAME, often, Following(Queueing(tell)), woken=True),
        Service(delivery.NAME, often, Delivery(sealing, mapper=mapper), woken=True),
        *([retention] if settings.notification_retention_days else []),
    ]
