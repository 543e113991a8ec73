"""What a server process counts of itself, and the page on which Prometheus finds it.

Each process answers for itself alone, with its process id as the label `process`: of several workers each scrape asks
one. What concerns the ledger and the services is read from the database, and is the same whichever process answers.

Requests are counted without the library's locks, on the one event loop that serves them: a request bears 0.4 us of it.
"""

import json
import os
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric

from projections.head import Head

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets that requests are sorted into by how long they took."""

COMMANDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Upper bounds of the buckets that batches are sorted into by how many commands they had."""


class Distribution:
    """How many values fell into each bucket, and their sum. Written by one thread."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def note(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """How many values there are up to each bound, as Prometheus has it."""
        total, buckets = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self.counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(float(bound)), float(total)))
        return buckets


class Timings(dict[int, Distribution]):
    """How long the requests of one endpoint took, by the status of their answers."""

    def __missing__(self, status: int) -> Distribution:
        self[status] = Distribution(SECONDS)
        return self[status]


class Metrics:
    """What one process counts. `batches` is how many commands were decided in each transaction."""

    def __init__(self) -> None:
        self.batches = Distribution(COMMANDS)
        self._timings: dict[tuple[str, str], Timings] = {}

    def timings_of(self, method: str, route: str) -> Timings:
        """What takes note of the requests of one endpoint, which is told by the template of its path."""
        return self._timings.setdefault((method, route), Timings())

    def page(
        self,
        *,
        waiting: int,
        pool: Mapping[str, int],
        readers: int,
        head: Head | None,
        services: bytes,
        now: datetime,
        notifications: Mapping[str, int] | None = None,
    ) -> bytes:
        """All that is known, in the text format of Prometheus (0.0.4).

        `waiting` commands are in line, `pool` says how the connections for reading are in use, `readers` follow the
        ledger, `services` is what is known of those, as JSON, `notifications` how many there are by status; without a
        `head` the database did not answer.
        """
        registry = CollectorRegistry(auto_describe=False)
        registry.register(
            _Known(
                [
                    *self._of_process(waiting, pool, readers),
                    *_of_ledger(head, services, now),
                    *_of_followers(services, notifications or {}),
                ]
            )
        )
        return generate_latest(registry)

    def _of_process(self, waiting: int, pool: Mapping[str, int], readers: int) -> Iterable[Metric]:
        process = str(os.getpid())
        requests = HistogramMetricFamily(
            "flowledger_request_duration_seconds",
            "How long requests took, from when their headers were read to when their answers were sent",
            labels=["method", "route", "status", "process"],
        )
        for (method, route), timings in self._timings.items():
            for status, times in list(timings.items()):
                requests.add_metric([method, route, str(status), process], times.buckets(), times.sum)
        yield requests
        batches = HistogramMetricFamily(
            "flowledger_batch_commands", "How many commands were decided in each transaction", labels=["process"]
        )
        batches.add_metric([process], self.batches.buckets(), self.batches.sum)
        yield batches
        yield _gauge("flowledger_queue_commands", "Commands that wait to be decided", [([process], waiting)], "process")
        yield _gauge("flowledger_live_feed_readers", "Who follow the ledger", [([process], readers)], "process")
        connections = [
            ([state, process], pool.get(name, 0))
            for state, name in (("open", "pool_size"), ("free", "pool_available"), ("awaited", "requests_waiting"))
        ]
        what = "Connections for reading: open, free, and awaited by requests"
        yield _gauge("flowledger_read_connections", what, connections, "state", "process")


class _Known:
    """A collector of what is known already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def _of_ledger(head: Head | None, services: bytes, now: datetime) -> Iterable[Metric]:
    yield _gauge("flowledger_database_up", "Whether the database answers", [([], head is not None)])
    if head is None:
        return
    yield _gauge("flowledger_head_position", "Position of the last event", [([], head.position)])
    info = InfoMetricFamily("flowledger_head", "The head of the ledger: its hash, and which ledger it is of")
    info.add_metric([], {"hash": head.hash.hex(), "position": str(head.position), "ledger_id": str(head.ledger_id)})
    yield info
    if head.recorded_at is not None:
        age = max((now - head.recorded_at.astimezone(UTC)).total_seconds(), 0.0)
        yield _gauge("flowledger_last_event_age_seconds", "How long ago the last event was recorded", [([], age)])
    known = json.loads(services)
    success = [
        ([service["name"]], datetime.fromisoformat(service["last_success"]).timestamp())
        for service in known
        if service["last_success"]
    ]
    what = "When the last round of a service succeeded, as a Unix time"
    yield _gauge("flowledger_service_last_success_timestamp_seconds", what, success, "service")
    lag = [([service["name"]], service["lag_seconds"]) for service in known]
    yield _gauge("flowledger_service_lag_seconds", "How late the last round of a service began", lag, "service")


def _of_followers(services: bytes, notifications: Mapping[str, int]) -> Iterable[Metric]:
    known = {service["name"]: service["follower"] for service in json.loads(services) if service.get("follower")}
    for name, field, what in (
        ("position", "position", "Position up to which a follower of the log has done what it does"),
        ("behind_events", "behind", "How many positions a follower is behind the head of the ledger"),
        ("behind_seconds", "behind_seconds", "How long ago the first event was recorded that a follower has not taken"),
        ("set_aside", "set_aside", "How many events a follower failed on and went past"),
    ):
        values = [([service], follower[field]) for service, follower in known.items()]
        yield _gauge(f"flowledger_follower_{name}", what, values, "follower")
    what = "Notifications that are queued, being sent, and given up"
    yield _gauge("flowledger_notifications", what, [([s], n) for s, n in notifications.items()], "status")


def _gauge(name: str, what: str, values: Iterable[tuple[Sequence[str], float]], *labels: str) -> Metric:
    gauge = GaugeMetricFamily(name, what, labels=labels)
    for marks, value in values:
        gauge.add_metric(marks, value)
    return gauge
