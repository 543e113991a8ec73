"""Every setting of the service, its default and what it is for."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.block_secrets import Sealer

Dialect = Literal["orion", "prefect-2", "prefect-3", "strict"]
LogLevel = Literal["debug", "info", "warning", "error"]

MEBIBYTE = 1024 * 1024


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

    @field_validator("encryption_key")
    @classmethod
    def _usable(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            Sealer(keys.get_secret_value().split(","))
        return keys
