"""A ledger to fill by commands, and a connection to ask the read side, for the tests of queries."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from domain.aggregate import Aggregate
from domain.commands.command import Caller, Command, Made, ProposedState
from domain.commands.flow_runs import CreateFlowRun, DeleteFlowRun, SetFlowRunState
from domain.commands.flows import CreateFlow
from domain.commands.task_runs import CreateTaskRun, ReportTaskRunState, SetTaskRunState
from domain.events import Event, EventMapper
from domain.flow_run import FlowRunCreated, FlowRunFacts
from domain.ids import new_id
from domain.ledger import Ledger, replay
from domain.run_policy import FlowRunPolicy, TaskRunPolicy
from domain.states import State, StateDetails, StateType
from domain.task_run import ReportedCounters, TaskRunFacts
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
CALLER = Caller(actor="a test", dialect="prefect-3")


@contextmanager
def copy_of(template: str, server: str) -> Iterator[str]:
    """The connection string of a copy of a database, dropped afterwards, for fixtures that many tests share."""
    name = f"shared_{new_id().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        try:
            yield make_conninfo(server, dbname=name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def at(seconds: float) -> datetime:
    """That many seconds after noon, when the clock of a ledger under test starts."""
    return NOON + timedelta(seconds=seconds)


def proposed(type: StateType | str, name: str | None = None, **details: Any) -> ProposedState:
    return ProposedState(new_id(), StateType(type), name, details=StateDetails(**details))


class Books:
    """A ledger on a database, whose clock stands still unless a test sets it, and an asker of queries."""

    def __init__(self, conninfo: str) -> None:
        self.now = NOON
        self._recorder = PostgresLedgerRecorder(LedgerConnection(conninfo))
        self._ledger = Ledger(self._recorder, clock=lambda: self.now)
        self._loop = asyncio.Runner()
        # Whatever is asked is answered in UTC, whatever the session is in.
        elsewhere = make_conninfo(conninfo, options="-c timezone=Asia/Kolkata -c jit=off")
        self.connection = self._loop.run(psycopg.AsyncConnection.connect(elsewhere, autocommit=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self.connection.close())
        self._loop.close()
        self._recorder.close()

    def ask(self, query: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """The answer to a query, as it comes."""
        return self._loop.run(self._ask(query, args, kwargs))

    async def _ask(self, query: Callable[..., Awaitable[Any]], args: Any, kwargs: Any) -> Any:
        return await query(self.connection, *args, **kwargs)

    def names(self, query: Callable[..., Awaitable[Any]], **kwargs: Any) -> list[str]:
        """The names of the things that a query lists, in its order."""
        return [thing["name"] for thing in json.loads(self.ask(query, **kwargs))]

    def execute(self, *commands: Command) -> list[Any]:
        """The answers to commands that are executed as one batch, none of which fails."""
        outcomes = self._ledger.execute(lambda: commands)
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
        return [outcome.answer for outcome in outcomes]

    def flow(self, name: str, *tags: str) -> UUID:
        return self._made(CreateFlow(caller=CALLER, id=new_id(), name=name, tags=list(tags), labels={}))

    def flow_run(self, flow_id: UUID, name: str, *tags: str, state: ProposedState | None = None, **facts: Any) -> UUID:
        return self._made(flow_run_command(flow_id, name, *tags, state=state, **facts))

    def task_run(
        self, flow_run_id: UUID | None, name: str, *tags: str, state: ProposedState | None = None, **facts: Any
    ) -> UUID:
        run = task_run_facts(flow_run_id, name, *tags, **facts)
        return self._made(CreateTaskRun(caller=CALLER, id=new_id(), facts=run, state=state or proposed("PENDING")))

    def report(
        self,
        flow_run_id: UUID | None,
        name: str,
        counters: ReportedCounters | None = None,
        state: State | None = None,
        id: UUID | None = None,
    ) -> UUID:
        """The id of a task run that a client reports, by default a new one with a state that came to be just now."""
        reported = ReportTaskRunState(
            caller=CALLER,
            id=id or new_id(),
            facts=task_run_facts(flow_run_id, name),
            state=state or State(id=new_id(), type=StateType.RUNNING, name="Running", timestamp=self.now),
            follows=None,
            counters=counters or ReportedCounters(),
        )
        self.execute(reported)
        return reported.id

    def set_flow_run(self, id: UUID, type: StateType | str, name: str | None = None, **details: Any) -> None:
        self.execute(SetFlowRunState(caller=CALLER, id=id, state=proposed(type, name, **details), force=True))

    def set_task_run(self, id: UUID, type: StateType | str, name: str | None = None, **details: Any) -> None:
        self.execute(SetTaskRunState(caller=CALLER, id=id, state=proposed(type, name, **details), force=True))

    def delete_flow_run(self, id: UUID) -> None:
        self.execute(DeleteFlowRun(caller=CALLER, id=id))

    def record(self, *events: Event) -> None:
        """Append events that no command would lead to, such as those of a run that was made without a state."""
        self._recorder.insert_events([EventMapper().to_stored_event(event) for event in events])

    def aggregate(self, id: UUID) -> Aggregate:
        """What the events of one stream add up to, told from the events alone."""
        return replay(EventMapper(), id, self._recorder.select_events(id))

    def _made(self, command: Command) -> UUID:
        (answer,) = self.execute(command)
        if not isinstance(answer, Made):
            raise TypeError(f"{command} made nothing")
        return answer.id


def flow_run_command(
    flow_id: UUID, name: str, *tags: str, state: ProposedState | None = None, **facts: Any
) -> CreateFlowRun:
    id = facts.pop("id", None) or new_id()
    given = flow_run_facts(flow_id, name, *tags, **facts)
    return CreateFlowRun(caller=CALLER, id=id, facts=given, state=state or proposed("PENDING"))


def flow_run_facts(flow_id: UUID, name: str, *tags: str, **facts: Any) -> FlowRunFacts:
    return FlowRunFacts(
        flow_id=flow_id,
        name=name,
        parameters={},
        context={},
        tags=list(tags),
        labels={},
        empirical_policy=FlowRunPolicy(),
        **facts,
    )


def stateless_flow_run(
    flow_id: UUID, name: str, *tags: str, recorded_at: datetime = NOON, **facts: Any
) -> FlowRunCreated:
    """The only event of a flow run that has no state."""
    return FlowRunCreated(
        originator_id=facts.pop("id", None) or new_id(),
        originator_version=1,
        recorded_at=recorded_at,
        actor=CALLER.actor,
        **dict(flow_run_facts(flow_id, name, *tags, **facts)),
    )


def task_run_facts(flow_run_id: UUID | None, name: str, *tags: str, **facts: Any) -> TaskRunFacts:
    return TaskRunFacts(
        flow_run_id=flow_run_id,
        name=name,
        task_key=name,
        dynamic_key="0",
        tags=list(tags),
        labels={},
        task_inputs={},
        empirical_policy=TaskRunPolicy(),
        **facts,
    )
