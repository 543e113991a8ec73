"""Runs and a limit, driven at random against a small model: no slot is lost, and every verdict can be had again."""

from collections import Counter
from uuid import UUID

import psycopg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from domain.commands.command import Caller, OrchestrationResult, Slots
from domain.commands.limits import CreateLimit, UpdateLimit
from domain.commands.slot_requests import TakeSlots
from domain.commands.task_runs import DeleteTaskRun, SetTaskRunState
from domain.concurrency_limit import ConcurrencyLimit, Holder, LimitChanges
from domain.ids import new_id
from domain.ledger import Ledger
from domain.orchestration.policies import DIALECTS
from domain.states import TERMINAL, State, StateType
from projections import statements
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from projections.tables import TABLES
from tests.checks import check_ledger
from tests.domain.conftest import CALLER, Clock, Desk, create_task_run, proposed
from tests.support.verdicts import decide_all_again

types = st.sampled_from([type.value for type in StateType])
tasks = st.integers(0, 3)
LIMIT = 2
HOLDS = {StateType.RUNNING, StateType.CANCELLING}


class Runs(RuleBasedStateMachine):
    """A flow run, its task runs, and the limit on their tag; `held` is the model's idea of who holds a slot.

    `sure` are those who took theirs since the flow run last ended: nobody can have ended what they hold.
    `loose` are those whose client took a slot beside the rules: it lasts until someone finds them gone.
    """

    conninfo: str

    @initialize(dialect=st.sampled_from(DIALECTS))
    def begin(self, dialect: str) -> None:
        with psycopg.connect(self.conninfo) as connection:
            connection.execute(statements.clear([table.name for table in TABLES]))
            connection.execute(statements.NEW_IDENTITY)
        clock = Clock()
        self.ledger = Ledger(PostgresLedgerRecorder(LedgerConnection(self.conninfo)), clock=clock)
        self.desk = Desk(self.ledger, clock)
        self.desk.dialect = dialect
        self.limit = self.desk.make(
            CreateLimit(caller=CALLER, id=new_id(), facts=LimitChanges(name="tag:t", limit=LIMIT))
        )
        self.size = LIMIT
        self.flow_run = self.desk.flow_run()
        self.desk.propose("flow", self.flow_run, proposed("RUNNING"))
        self.tasks: list[UUID] = []
        self.held: set[UUID] = set()
        self.sure: set[UUID] = set()
        self.loose: set[UUID] = set()
        for _ in range(4):
            command = create_task_run(self.flow_run)
            object.__setattr__(command, "facts", command.facts.model_copy(update={"tags": ["t"]}))
            self.tasks.append(self.desk.make(command))

    @rule(type=types, force=st.booleans(), message=st.sampled_from([None, " ", "because"]))
    def propose_for_the_flow_run(self, type: str, force: bool, message: str | None) -> None:
        before = self._state(self.flow_run)
        answer = self.desk.propose("flow", self.flow_run, proposed(type, message=message), force)
        self._check_strict(before, answer, type, message)
        after = self._state(self.flow_run)
        if after is not None and after.is_terminal:
            self.sure.clear()

    @rule(task=tasks, type=types, force=st.booleans())
    def propose_for_a_task_run(self, task: int, type: str, force: bool) -> None:
        id = self.tasks[task]
        if self.desk.ledger.cached(id) is None:
            return
        before, free = self._state(id), self.size - len(self.sure)
        command = SetTaskRunState(caller=Caller("a test", self.desk.dialect), id=id, state=proposed(type), force=force)
        answer = self.desk.ask(command)
        assert isinstance(answer, OrchestrationResult)
        self._check_strict(before, answer, type, None)
        if not answer.wrote:
            return
        assert answer.state is not None
        forced = force and self.desk.dialect != "strict"
        if answer.state.type not in HOLDS:
            self.held.discard(id)
            self.sure.discard(id)
        elif answer.state.type is StateType.RUNNING and not forced:
            flow_run_holds = self._state(self.flow_run)
            assert flow_run_holds is not None
            assert free >= 1 or flow_run_holds.is_terminal
            self.held.add(id)
            if not flow_run_holds.is_terminal:
                self.sure.add(id)

    @rule(task=tasks)
    def delete_a_task_run(self, task: int) -> None:
        id = self.tasks[task]
        self.desk.ask(DeleteTaskRun(caller=CALLER, id=id))
        self.held.discard(id)
        self.sure.discard(id)
        command = create_task_run(self.flow_run)
        object.__setattr__(command, "facts", command.facts.model_copy(update={"tags": ["t"]}))
        self.tasks[task] = self.desk.make(command)

    @rule(seconds=st.integers(1, 100))
    def let_time_pass(self, seconds: int) -> None:
        self.desk.clock.move(seconds=seconds)

    @rule(task=tasks)
    def ask_for_a_slot_beside_the_rules(self, task: int) -> None:
        id = self.tasks[task]
        holder = Holder(type="task_run", id=id)
        answer = self.desk.ask(TakeSlots(caller=CALLER, id=id, names=("tag:t",), slots=1, holder=holder))
        assert isinstance(answer, Slots)
        if answer.granted:
            limit = self.ledger.cached(self.limit)
            assert isinstance(limit, ConcurrencyLimit)
            assert id in limit.holdings
            self.loose.add(id)

    @rule(size=st.integers(1, 3))
    def change_the_limit(self, size: int) -> None:
        self.desk.ask(UpdateLimit(caller=CALLER, limit=self.limit, changes=LimitChanges(limit=size)))
        self.size = size

    @invariant()
    def no_slot_is_lost_or_doubled(self) -> None:
        limit = self.ledger.cached(self.limit)
        assert isinstance(limit, ConcurrencyLimit)
        holding = Counter(holding.holder.id for holding in limit.holdings.values() if holding.holder)
        assert all(count == 1 for count in holding.values())
        # Whose flow run has ended may hold a slot until someone looks.
        assert self.sure <= set(holding) <= self.held | self.loose

    def _state(self, id: UUID) -> State | None:
        return self.desk.run(id).state

    def _check_strict(self, before: State | None, answer: OrchestrationResult, type: str, message: str | None) -> None:
        """Nothing leaves a terminal state in `strict` but for a reason."""
        if self.desk.dialect == "strict" and before is not None and before.type in TERMINAL and answer.wrote:
            assert (type, (message or "").strip()) == ("SCHEDULED", "because")

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            check_ledger(self.conninfo)
            again = decide_all_again(self.conninfo)
            assert (again.differing, again.unknown) == ({}, {})
            self.ledger.close()


def test_runs_and_a_limit_are_as_a_small_model_has_them(conninfo: str) -> None:
    machine = type("RunsOnADatabase", (Runs,), {"conninfo": conninfo})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
