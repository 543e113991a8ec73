"""Which keys an aggregate holds is told by its events alone, and is what commands have claimed."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from domain import keys
from domain.aggregate import Aggregate
from domain.commands.flow_runs import DeleteFlowRun
from domain.commands.limits import CreateLimit, ResetLimit, UpdateLimit
from domain.commands.planning import PlannedRun, PlanRuns
from domain.commands.slot_requests import EndLease, TakeSlots
from domain.concurrency_limit import LimitChanges
from domain.held_keys import held_keys
from domain.ids import new_id
from domain.keys import Key
from domain.ledger import AGGREGATES
from tests.checks import claimed_keys
from tests.domain.conftest import CALLER, Clock, Desk, proposed
from tests.domain.test_planned_runs import Planner


@pytest.fixture
def claimed(conninfo: str) -> Callable[[UUID], set[Key]]:
    """The keys that stand for an aggregate in the store."""

    def read(id: UUID) -> set[Key]:
        with psycopg.connect(conninfo) as connection:
            return {key for key, claimed_for in claimed_keys(connection).items() if claimed_for == id}

    return read


def held(desk: Desk, id: UUID) -> set[Key]:
    aggregate = desk.ledger.cached(id)
    assert aggregate is not None
    return held_keys(aggregate)


def test_a_planned_run_holds_its_plan_until_it_first_leaves_the_scheduled_states(
    desk: Desk, clock: Clock, claimed: Callable[[UUID], set[Key]]
) -> None:
    planner = Planner(desk)
    (schedule,) = planner.deployment.schedules
    planned = PlannedRun(new_id(), "planned", schedule, clock() + timedelta(hours=1))
    version = planner.deployment.version
    desk.ask(
        PlanRuns(
            caller=CALLER,
            deployment_id=planner.id,
            flow_id=desk.flow_id,
            version=version,
            planned=(planned,),
        )
    )
    run, plan = planned.run_id, keys.planned_run(planner.id, schedule, planned.run_id)
    assert plan in held(desk, run) == claimed(run)
    desk.propose("flow", run, proposed("SCHEDULED", "Late"), force=True)
    assert plan in held(desk, run) == claimed(run)
    desk.propose("flow", run, proposed("PENDING"))
    assert plan not in held(desk, run) == claimed(run)
    desk.propose("flow", run, proposed("SCHEDULED"), force=True)
    assert plan not in held(desk, run) == claimed(run)
    assert len(held(desk, run)) == 1
    desk.ask(DeleteFlowRun(caller=CALLER, id=run))
    assert held(desk, run) == claimed(run) == set()


def test_a_limit_holds_its_present_name_and_the_leases_on_it(
    desk: Desk, clock: Clock, claimed: Callable[[UUID], set[Key]]
) -> None:
    limit = desk.make(CreateLimit(caller=CALLER, id=new_id(), facts=LimitChanges(name="a", limit=5)))
    leases = [new_id() for _ in range(3)]
    for lease in leases:
        desk.ask(TakeSlots(caller=CALLER, id=lease, names=("a",), slots=1, lease_seconds=60))
    desk.ask(TakeSlots(caller=CALLER, id=new_id(), names=("a",), slots=1))
    desk.ask(UpdateLimit(caller=CALLER, limit="a", changes=LimitChanges(name="b")))
    on = {lease: keys.lease_on(lease, limit) for lease in leases}
    assert held(desk, limit) == claimed(limit) == {keys.limit_name("b"), *on.values()}
    desk.ask(EndLease(caller=CALLER, lease_id=leases[0]))
    assert held(desk, limit) == claimed(limit) == {keys.limit_name("b"), on[leases[1]], on[leases[2]]}
    desk.ask(ResetLimit(caller=CALLER, limit="b"))
    assert held(desk, limit) == claimed(limit) == {keys.limit_name("b")}


@pytest.mark.parametrize("kind", AGGREGATES.values(), ids=AGGREGATES.keys())
def test_of_every_kind_it_is_known_which_keys_it_holds(kind: type[Aggregate]) -> None:
    aggregate = kind(new_id())
    held_keys(aggregate)
    aggregate.deleted = True
    assert held_keys(aggregate) == set()


def test_another_kind_is_not_passed_over() -> None:
    class Other(Aggregate):
        kind = "Other"

    with pytest.raises(TypeError, match="a Other"):
        held_keys(Other(new_id()))
