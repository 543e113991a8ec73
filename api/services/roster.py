"""The services that there are, and how often each does its round."""

from api.services.counter_folding import fold_counters
from api.services.foreman import look_after_workers
from api.services.service import Service
from api.settings import Settings

FOLDING_SECONDS = 1.0
"""How long counters are left alone after they were added up."""


def services_of(settings: Settings) -> list[Service]:
    """The services that are to run under these settings."""
    if not settings.services_enabled:
        return []
    return [
        Service("counter-folding", FOLDING_SECONDS, fold_counters),
        Service("foreman", settings.foreman_interval_seconds, look_after_workers),
    ]
