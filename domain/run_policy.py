"""What a run is allowed on its own account: retries, delays, pauses."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class FlowRunPolicy(BaseModel):
    """A flow run's retries (delay in seconds) and what its pauses left behind.

    `max_retries` and `retry_delay_seconds` are the spelling of early 2.x clients; `retries` and `retry_delay` win. Null
    pause keys are none, and a null `resuming` is false, or the run would not be what its events say.
    """

    model_config = ConfigDict(frozen=True)

    max_retries: int = 0
    retry_delay_seconds: float = 0
    retries: int | None = None
    retry_delay: int | None = None
    pause_keys: Annotated[list[str], BeforeValidator(lambda keys: [] if keys is None else keys)] = Field(
        default_factory=list
    )
    resuming: Annotated[bool, BeforeValidator(lambda resuming: resuming or False)] = False
    retry_type: Literal["in_process", "reschedule"] | None = None

    @property
    def allowed_retries(self) -> int:
        return self.max_retries if self.retries is None else self.retries

    @property
    def delay(self) -> float:
        """Seconds between a failure and the next try."""
        return self.retry_delay_seconds if self.retry_delay is None else self.retry_delay


class TaskRunPolicy(BaseModel):
    """A task run's retries; `retry_delay` is in seconds, one for all or one for each retry in order."""

    model_config = ConfigDict(frozen=True)

    max_retries: int = 0
    retry_delay_seconds: float = 0
    retries: int | None = None
    retry_delay: int | float | list[int] | list[float] | None = None
    retry_jitter_factor: float | None = None

    @property
    def allowed_retries(self) -> int:
        return self.max_retries if self.retries is None else self.retries

    def delay(self, run_count: int) -> float:
        """Seconds between the failure of attempt `run_count` and the next; the last of a list holds for the rest."""
        if self.retry_delay is None:
            return self.retry_delay_seconds
        if isinstance(self.retry_delay, list):
            return self.retry_delay[min(run_count, len(self.retry_delay)) - 1] if self.retry_delay else 0
        return self.retry_delay
