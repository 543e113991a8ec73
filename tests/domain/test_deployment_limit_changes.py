"""What becomes of the slots of a deployment's runs when time passes or the deployment changes under them."""

from typing import Any
from uuid import UUID

import pytest

from domain.commands.deployments import DeleteDeployment, References, UpdateDeployment
from domain.commands.flow_runs import SetFlowRunState
from domain.commands.slot_requests import EndLease, RenewLease
from domain.deployment import CollisionStrategy, ConcurrencyOptions, DeploymentSettings
from tests.checks import check_ledger
from tests.domain.conftest import CALLER, Desk, proposed
from tests.domain.test_deployment_limits import (
    RENEWING,
    deployment,
    held,
    lease_of,
    limit_of,
    propose,
    scheduled,
)


def graced(seconds: int) -> ConcurrencyOptions:
    return ConcurrencyOptions(collision_strategy=CollisionStrategy.ENQUEUE, grace_period_seconds=seconds)


def change(desk: Desk, id: UUID, **settings: Any) -> None:
    changes = DeploymentSettings(enforce_parameter_schema=False, **settings)
    desk.ask(UpdateDeployment(caller=CALLER, id=id, changes=changes, references=References()))


def under_way(desk: Desk, deployment_id: UUID) -> UUID:
    run = scheduled(desk, deployment_id)
    for state in ("PENDING", "RUNNING"):
        assert propose(desk, run, state).status == "ACCEPT"
    return run


@pytest.mark.parametrize("started", [True, False])
def test_a_slot_is_kept_for_the_grace_that_the_deployment_grants_and_no_longer(desk: Desk, started: bool) -> None:
    id = deployment(desk, concurrency_options=graced(60))
    run = scheduled(desk, id)
    for state in ["PENDING", "RUNNING"] if started else ["PENDING"]:
        propose(desk, run, state)
    desk.clock.move(seconds=59)
    assert propose(desk, scheduled(desk, id), "PENDING").status == "REJECT"
    desk.clock.move(seconds=1)
    assert propose(desk, scheduled(desk, id), "PENDING").status == "ACCEPT"
    assert held(desk, id) == 1


def test_a_client_that_renews_in_time_keeps_the_slot_as_long_as_it_likes(desk: Desk) -> None:
    id = deployment(desk, concurrency_options=graced(60))
    run = scheduled(desk, id)
    lease = lease_of(propose(desk, run, "PENDING"))
    propose(desk, run, "RUNNING")
    for _ in range(10):
        desk.clock.move(seconds=59)
        desk.ask(RenewLease(caller=RENEWING, lease_id=lease, seconds=60))
    assert propose(desk, scheduled(desk, id), "PENDING").status == "REJECT"
    propose(desk, run, "COMPLETED")
    assert held(desk, id) == 0


def test_a_lease_that_the_client_ends_is_not_given_back_twice(desk: Desk, conninfo: str) -> None:
    id = deployment(desk)
    run = scheduled(desk, id)
    lease = lease_of(propose(desk, run, "PENDING"))
    propose(desk, run, "RUNNING")
    desk.ask(EndLease(caller=RENEWING, lease_id=lease))
    other = under_way(desk, id)
    propose(desk, run, "COMPLETED")
    assert held(desk, id) == 1
    propose(desk, other, "COMPLETED")
    assert held(desk, id) == 0
    check_ledger(conninfo)


def test_a_run_of_a_lower_limit_goes_on_and_others_wait(desk: Desk) -> None:
    id = deployment(desk, concurrency_limit=2)
    one, two = under_way(desk, id), under_way(desk, id)
    change(desk, id, concurrency_limit=1)
    propose(desk, one, "COMPLETED")
    assert propose(desk, scheduled(desk, id), "PENDING").status == "REJECT"
    propose(desk, two, "COMPLETED")
    assert propose(desk, scheduled(desk, id), "PENDING").status == "ACCEPT"


@pytest.mark.parametrize("gone", ["limit", "deployment"])
def test_a_run_ends_in_peace_when_its_limit_is_gone(desk: Desk, conninfo: str, gone: str) -> None:
    id = deployment(desk)
    run, waiting = under_way(desk, id), scheduled(desk, id)
    if gone == "limit":
        change(desk, id, concurrency_limit=None)
    else:
        desk.ask(DeleteDeployment(caller=CALLER, id=id))
    assert limit_of(desk, id) is None
    assert propose(desk, waiting, "PENDING").status == "ACCEPT"
    assert propose(desk, run, "COMPLETED").status == "ACCEPT"
    check_ledger(conninfo)


def test_a_limit_that_was_taken_off_and_put_back_begins_empty(desk: Desk, conninfo: str) -> None:
    id = deployment(desk)
    run = under_way(desk, id)
    change(desk, id, concurrency_limit=None)
    change(desk, id, concurrency_limit=1)
    assert held(desk, id) == 0
    other = under_way(desk, id)
    propose(desk, run, "COMPLETED")
    assert held(desk, id) == 1
    propose(desk, other, "COMPLETED")
    assert held(desk, id) == 0
    check_ledger(conninfo)


def test_a_change_of_the_strategy_holds_for_the_next_run(desk: Desk) -> None:
    id = deployment(desk)
    under_way(desk, id)
    put_off = propose(desk, scheduled(desk, id), "PENDING").state
    options = ConcurrencyOptions(collision_strategy=CollisionStrategy.CANCEL_NEW)
    change(desk, id, concurrency_options=options)
    cancelled = propose(desk, scheduled(desk, id), "PENDING").state
    assert [state and state.type for state in (put_off, cancelled)] == ["SCHEDULED", "CANCELLED"]


@pytest.mark.parametrize("type", ["COMPLETED", "SCHEDULED", "PAUSED"])
def test_a_run_that_is_forced_out_gives_its_slot_back(desk: Desk, conninfo: str, type: str) -> None:
    id = deployment(desk)
    run = under_way(desk, id)
    desk.ask(SetFlowRunState(caller=RENEWING, id=run, state=proposed(type), force=True))
    assert held(desk, id) == 0
    check_ledger(conninfo)


def test_a_run_of_no_deployment_or_of_no_limit_needs_no_slot(desk: Desk) -> None:
    id = deployment(desk, concurrency_limit=None)
    for run in (scheduled(desk, id), scheduled(desk, id), desk.flow_run(state=proposed("SCHEDULED"))):
        answer = propose(desk, run, "PENDING")
        assert answer.state is not None
        assert (answer.status, answer.state.state_details.deployment_concurrency_lease_id) == ("ACCEPT", None)
