"""A ledger that was filled in bulk is a ledger like any other."""

from domain.commands.command import Made, OrchestrationResult
from domain.commands.flow_runs import CreateFlowRun, SetFlowRunState
from domain.ledger import Ledger
from projections import queries
from projections.connection import LedgerConnection
from projections.filters import FlowFilter, FlowRunFilter, TaskRunFilter
from projections.recorder import PostgresLedgerRecorder
from scripts.benchmarking.seeding import seed
from tests.checks import check_ledger
from tests.projections.seeding import CALLER, Books, flow_run_command, proposed


def test_a_seeded_ledger_holds_what_events_make_and_goes_on(empty_database: str) -> None:
    number = seed(empty_database, flow_runs=200)
    assert check_ledger(empty_database) == number
    with Books(empty_database) as books:
        graphs = FlowFilter.model_validate({"name": {"like_": "graph"}})
        running = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING"]}}})
        assert books.ask(queries.count_flow_runs) == 203
        assert books.ask(queries.count_flow_runs, flows=graphs) == 3
        assert books.ask(queries.count_task_runs, flows=graphs) == 1101
        assert books.ask(queries.count_task_runs, task_runs=TaskRunFilter()) == 1101 + 200 * 5
        assert 0 < books.ask(queries.count_flow_runs, flow_runs=running) < 30
        (run,) = books.ask(queries.read_ids, queries.LISTED_FLOW_RUNS, limit=1, flow_runs=running)
        (flow,) = books.ask(queries.read_ids, queries.LISTED_FLOWS, limit=1, flows=FlowFilter())
    with Ledger(PostgresLedgerRecorder(LedgerConnection(empty_database))) as ledger:
        create: CreateFlowRun = flow_run_command(flow, "new")
        cancel = SetFlowRunState(caller=CALLER, id=run, state=proposed("CANCELLED"), force=False)
        made, cancelled = (outcome.answer for outcome in ledger.execute(lambda: [create, cancel]))
    assert isinstance(made, Made)
    assert isinstance(cancelled, OrchestrationResult)
    assert (made.created, cancelled.status) == (True, "ACCEPT")
    assert check_ledger(empty_database) == number + 3
