"""Task runs as 3.x clients report them: from one client event to one command.

Source: frames recorded from client 3.9.1. One event `prefect.task-run.<StateName>` is sent for every state a task run
enters; only those labelled as orchestrated by the client are reports.
"""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from api.text import SUSPECT, representable
from domain.commands.command import Caller
from domain.commands.task_runs import ReportTaskRunState
from domain.states import State, StateDetails, StateType, default_name
from domain.task_run import ReportedCounters, TaskRunFacts
from projections.client_events import ClientEvent

PREFIX = "prefect.task-run."


class ReportedState(BaseModel):
    type: StateType
    name: str | None = None
    message: str | None = None
    state_details: StateDetails = Field(default_factory=StateDetails)
    data: Any = None


class ReportedTaskRun(TaskRunFacts, ReportedCounters):
    """A task run as its client describes it with every state; the flow run it belongs to is said elsewhere."""


class Report(BaseModel):
    validated_state: ReportedState
    task_run: ReportedTaskRun


EVENTS: TypeAdapter[ClientEvent] = TypeAdapter(ClientEvent)


def parse_event(frame: str) -> ClientEvent:
    """The event of one text frame. NUL characters, which the ledger cannot keep, become U+FFFD, infinite numbers null.

    Raises pydantic.ValidationError for what is no event.
    """
    if SUSPECT.search(frame.encode()):
        return EVENTS.validate_python(representable(from_json(frame)))
    return EVENTS.validate_json(frame)


def is_report(event: ClientEvent) -> bool:
    """Whether an event is the report of a task run by the client that orchestrates it."""
    return event.event.startswith(PREFIX) and event.resource.get("prefect.orchestration") == "client"


def report_of(event: ClientEvent, caller: Caller) -> ReportTaskRunState | None:
    """The command that takes a reported state down, or None for any other event. Raises pydantic.ValidationError."""
    if not is_report(event):
        return None
    report = Report.model_validate(event.payload)
    state, run = report.validated_state, report.task_run
    return ReportTaskRunState(
        caller=caller,
        id=UUID(event.resource["prefect.resource.id"].removeprefix(PREFIX)),
        facts=TaskRunFacts(**{**dict(run), "flow_run_id": _flow_run_id(event)}),
        state=State(
            id=event.id,
            type=state.type,
            name=state.name or default_name(state.type),
            timestamp=event.occurred,
            message=state.message,
            data=state.data,
            state_details=state.state_details.model_copy(update={"deferred": state.state_details.deferred or False}),
        ),
        follows=event.follows,
        counters=ReportedCounters(**dict(run)),
    )


def _flow_run_id(event: ClientEvent) -> UUID | None:
    for related in event.related:
        if related.get("prefect.resource.role") == "flow-run":
            return UUID(related["prefect.resource.id"].removeprefix("prefect.flow-run."))
    return None


BAD_EVENT = (ValidationError, ValueError, KeyError)
"""What parsing an event, or making a report of it, raises when a client sends something else."""


def in_short(error: Exception) -> str:
    """What is wrong with an event, in one line."""
    if isinstance(error, ValidationError):
        details = error.errors(include_url=False, include_input=False)[:3]
        return "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in details)
    return str(error)
