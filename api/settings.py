"""Every setting of the service, its default and what it is for."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.block_secrets import Sealer

Dialect = Literal["orion", "prefect-2", "prefect-3", "strict"]
LogLevel = Literal["debug", "info", "warning", "error"]

MEBIBYTE = 1024 * 1024
DAY = 86_400.0


class Settings(BaseSettings):
    """The settings of one server, read from environment variables named `FLOWLEDGER_<NAME>`.

    Arguments given to the constructor win over the environment. Raises `pydantic.ValidationError` naming every
    value that is out of range or of the wrong type.
    """

    model_config = SettingsConfigDict(env_prefix="FLOWLEDGER_", env_ignore_empty=True, extra="forbid")

    database_url: SecretStr | None = Field(
        default=None,
        description="Connection string or URL of a PostgreSQL 14 or newer; empty: the embedded PostgreSQL is used.",
    )
    data_dir: Path | None = Field(
        default=None,
        description="Directory of the embedded PostgreSQL; empty: /var/lib/flowledger/data for root, "
        "else `flowledger` in the user's data folder.",
    )
    host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    port: int = Field(default=4200, ge=0, le=65535, description="Port the API listens on; 0 picks a free one.")
    workers: int = Field(default=1, ge=1, le=256, description="Number of server processes that share the port.")
    grace_seconds: int = Field(
        default=5, ge=0, le=600, description="How long requests under way may take to end, in seconds, after a Ctrl-C."
    )
    allow_clear: bool = Field(
        default=False, description="Whether `POST /api/admin/database/clear` may delete everything."
    )
    max_body_bytes: int = Field(
        default=4 * MEBIBYTE, ge=1024, description="Largest request body accepted, in bytes; larger ones get 413."
    )
    dialect: Dialect = Field(
        default="prefect-3",
        description="Rules applied to clients whose generation their headers do not tell; "
        "`strict` applies to all of them.",
    )
    encryption_key: SecretStr | None = Field(
        default=None,
        description="Key that encrypts the data of blocks, 32 bytes as URL-safe base64; of several, separated by "
        "commas, the first. Empty: a key that the database keeps.",
    )
    payload_keys: SecretStr | None = Field(
        default=None,
        description="Where the keys are kept that encrypt what people put into runs, so that it can be erased: a "
        "directory, or the URL of another PostgreSQL database. Empty: nothing is encrypted.",
    )
    cache_size: int = Field(default=20_000, ge=1, description="Aggregates each process keeps in memory.")
    batch_size: int = Field(default=300, ge=1, le=10_000, description="Most commands decided in one transaction.")
    page_limit: int = Field(default=200, ge=1, le=10_000, description="Most rows one filter request may ask for.")
    log_level: LogLevel = Field(default="info", description="Least severe level that is logged, on standard error.")
    read_pool_size: int = Field(
        default=4, ge=1, le=100, description="Connections each process keeps for answering queries."
    )
    statement_timeout_seconds: float = Field(
        default=5.0, gt=0, description="Longest one SQL statement may run, in seconds, before it is cancelled."
    )
    lock_timeout_seconds: float = Field(
        default=2.0, gt=0, description="Longest a batch waits for the ledger lock, in seconds, before it answers 503."
    )
    services_enabled: bool = Field(
        default=True, description="Whether what runs in the background (schedules, late runs, ...) may run here."
    )
    service_batch_size: int = Field(
        default=500, ge=1, le=10_000, description="Most runs, deployments or lines one step of a service looks at."
    )
    scheduler_interval_seconds: float = Field(
        default=60.0, gt=0, description="How often runs are planned for deployments with schedules, in seconds."
    )
    scheduler_max_runs: int = Field(
        default=100, ge=1, le=1000, description="Most runs planned ahead for one schedule at a time."
    )
    scheduler_min_runs: int = Field(
        default=3, ge=0, le=1000, description="Fewest runs planned ahead for one schedule, however far away they are."
    )
    scheduler_max_scheduled_seconds: float = Field(
        default=100 * DAY, gt=0, le=3650 * DAY, description="How far ahead runs are planned at most, in seconds."
    )
    scheduler_min_scheduled_seconds: float = Field(
        default=3600.0, ge=0, le=3650 * DAY, description="How far ahead runs are planned at least, in seconds."
    )
    late_runs_interval_seconds: float = Field(
        default=5.0, gt=0, description="How often runs that did not start in time are marked late, in seconds."
    )
    late_after_seconds: float = Field(
        default=15.0, ge=0, description="How long after its scheduled time a run counts as late, in seconds."
    )
    pause_expiry_interval_seconds: float = Field(
        default=5.0, gt=0, description="How often pauses that timed out are ended, in seconds."
    )
    cancellation_interval_seconds: float = Field(
        default=20.0, gt=0, description="How often what belongs to cancelled runs is cancelled too, in seconds."
    )
    cancelling_timeout_seconds: float = Field(
        default=300.0,
        gt=0,
        description="How long a run may be about to cancel before it counts as cancelled, in seconds.",
    )
    foreman_interval_seconds: float = Field(
        default=15.0, gt=0, description="How often it is looked which workers are still there, in seconds."
    )
    head_log_interval_seconds: float = Field(
        default=3600.0,
        gt=0,
        description="How often the head of the ledger is written to the log if it has moved, in seconds.",
    )
    lost_worker_retention_days: float = Field(
        default=7.0, gt=0, le=36500, description="How long a worker that is gone is still listed, in days."
    )
    retention_interval_seconds: float = Field(
        default=60.0,
        gt=0,
        description="How often log lines, artifacts and events that are too old are deleted, in seconds.",
    )
    log_retention_days: float = Field(
        default=0.0, ge=0, le=36500, description="How long log lines are kept, in days; 0 keeps them for ever."
    )
    artifact_retention_days: float = Field(
        default=0.0, ge=0, le=36500, description="How long artifacts are kept, in days; 0 keeps them for ever."
    )
    event_retention_days: float = Field(
        default=7.0,
        ge=0,
        le=36500,
        description="How long events that clients sent of themselves are kept, in days; 0 keeps them for ever.",
    )

    live_feed_readers: int = Field(
        default=1000, ge=0, le=100_000, description="How many readers of each process may follow the ledger at a time."
    )
    live_feed_patience_seconds: float = Field(
        default=20.0,
        gt=0,
        description="How long a reader that follows the ledger may take nothing before it is cut off, in seconds.",
    )
    followers_enabled: bool = Field(
        default=True,
        description="Whether what follows the log (notifications) may run here, beside the other services.",
    )
    notifications_allow_private_targets: bool = Field(
        default=False,
        description="Whether notifications may go to addresses that are not public: loopback, private networks, ...",
    )
    notifications_ui_url: str | None = Field(
        default=None,
        description="Where people look at runs; links in notifications begin with it. Empty: they are paths alone.",
    )
    notifications_timeout_seconds: float = Field(
        default=10.0, gt=0, le=300, description="How long one attempt to deliver a notification may take, in seconds."
    )
    notifications_attempts: int = Field(
        default=12, ge=1, le=1000, description="How often a notification is tried before it is given up."
    )
    notifications_backoff_seconds: float = Field(
        default=2.0,
        gt=0,
        le=3600,
        description="How long it is waited at most after a first failure, in seconds; twice as long after each further "
        "one.",
    )
    notifications_backoff_max_seconds: float = Field(
        default=900.0, gt=0, le=7 * DAY, description="How long it is waited at most between two attempts, in seconds."
    )
    notifications_interval_seconds: float = Field(
        default=1.0,
        gt=0,
        le=3600,
        description="How often at least it is looked for notifications that are due, in seconds.",
    )
    notification_retention_days: float = Field(
        default=30.0,
        ge=0,
        le=36500,
        description="How long it is kept what became of notifications, in days; 0 keeps it for ever.",
    )

    @property
    def keys_at(self) -> str | None:
        """Where the keys of payloads are."""
        return None if self.payload_keys is None else self.payload_keys.get_secret_value()

    @field_validator("encryption_key")
    @classmethod
    def _usable(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            Sealer(keys.get_secret_value().split(","))
        return keys
