"""A limit on a deployment: so many of its runs are under way, each under a lease that its client keeps alive."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from domain.commands.command import OrchestrationResult, ProposedState
from domain.commands.deployments import CreateDeployment, DeleteDeployment, References, UpdateDeployment
from domain.commands.flow_run_inputs import ResumeFlowRun
from domain.commands.flow_runs import DeleteFlowRun, SetFlowRunState
from domain.commands.slot_requests import RenewLease
from domain.concurrency_limit import ConcurrencyLimit
from domain.deployment import CollisionStrategy, ConcurrencyOptions, DeploymentSettings
from domain.ids import new_id
from domain.keys import limit_name
from domain.run_policy import FlowRunPolicy
from tests.domain.conftest import CALLER, Desk, proposed

RENEWING = replace(CALLER, renews_leases=True)


def deployment(desk: Desk, **settings: Any) -> UUID:
    given = DeploymentSettings(**{"concurrency_limit": 1, **settings})
    command = CreateDeployment(
        caller=CALLER, id=new_id(), flow_id=desk.flow_id, name="d", settings=given, references=References()
    )
    return desk.make(command)


def scheduled(desk: Desk, deployment_id: UUID, **facts: Any) -> UUID:
    return desk.flow_run(deployment_id=deployment_id, state=proposed("SCHEDULED"), **facts)


def propose(desk: Desk, id: UUID, state: ProposedState | str, caller: Any = RENEWING) -> OrchestrationResult:
    given = proposed(state) if isinstance(state, str) else state
    answer = desk.ask(SetFlowRunState(caller=caller, id=id, state=given, force=False))
    assert isinstance(answer, OrchestrationResult)
    return answer


def limit_of(desk: Desk, deployment_id: UUID) -> ConcurrencyLimit | None:
    with desk.ledger._ledger_recorder.transaction() as transaction:
        key = limit_name(f"deployment:{deployment_id}")
        id = transaction.ids_of([key]).get(key)
    limit = None if id is None else desk.ledger.cached(id)
    assert limit is None or isinstance(limit, ConcurrencyLimit)
    return limit


def held(desk: Desk, deployment_id: UUID) -> int:
    limit = limit_of(desk, deployment_id)
    return 0 if limit is None else len(limit.holdings)


def lease_of(answer: OrchestrationResult) -> UUID:
    assert answer.state is not None
    lease = answer.state.state_details.deployment_concurrency_lease_id
    assert lease is not None
    return lease


def test_a_run_beyond_the_limit_is_put_off(desk: Desk) -> None:
    id = deployment(desk)
    one, two = scheduled(desk, id), scheduled(desk, id)
    lease = lease_of(propose(desk, one, "PENDING"))
    assert lease_of(propose(desk, one, proposed("PENDING", "Submitting"))) == lease
    refused = propose(desk, two, "PENDING")
    assert refused.state is not None
    assert (refused.status, refused.state.name, refused.wrote) == ("REJECT", "AwaitingConcurrencySlot", True)
    assert lease_of(propose(desk, one, "RUNNING")) == lease
    propose(desk, one, "COMPLETED")
    desk.clock.move(seconds=31)
    assert propose(desk, two, "PENDING").status == "ACCEPT"
    assert held(desk, id) == 1


def test_a_run_beyond_the_limit_is_cancelled_where_the_deployment_says_so(desk: Desk) -> None:
    id = deployment(desk, concurrency_options=ConcurrencyOptions(collision_strategy=CollisionStrategy.CANCEL_NEW))
    propose(desk, scheduled(desk, id), "PENDING")
    refused = propose(desk, scheduled(desk, id), "PENDING")
    assert refused.state is not None
    assert (refused.status, refused.state.type) == ("REJECT", "CANCELLED")


@pytest.mark.parametrize("left", ["COMPLETED", "FAILED", "CRASHED", "CANCELLED", "PAUSED", "deleted"])
def test_a_run_gives_its_slot_back_however_it_leaves(desk: Desk, left: str) -> None:
    id = deployment(desk)
    run = scheduled(desk, id)
    for state in ("PENDING", "RUNNING"):
        propose(desk, run, state)
    assert held(desk, id) == 1
    if left == "deleted":
        desk.ask(DeleteFlowRun(caller=CALLER, id=run))
    else:
        assert propose(desk, run, left).status == "ACCEPT"
    assert held(desk, id) == 0


def test_a_run_that_waits_for_its_retry_keeps_its_slot(desk: Desk) -> None:
    id = deployment(desk)
    run = scheduled(desk, id, empirical_policy=FlowRunPolicy(retries=1, retry_delay=0))
    for state in ("PENDING", "RUNNING"):
        lease = lease_of(propose(desk, run, state))
    assert propose(desk, run, "FAILED").status == "REJECT"
    assert held(desk, id) == 1
    propose(desk, run, "RUNNING")
    desk.clock.move(seconds=200)
    assert desk.ask(RenewLease(caller=RENEWING, lease_id=lease, seconds=60)).granted
    assert propose(desk, scheduled(desk, id), "PENDING").status == "REJECT"


def test_the_slot_of_a_client_that_no_longer_renews_it_comes_free(desk: Desk) -> None:
    id = deployment(desk)
    run = scheduled(desk, id)
    for state in ("PENDING", "RUNNING"):
        propose(desk, run, state)
    desk.clock.move(seconds=301)
    assert propose(desk, scheduled(desk, id), "PENDING").status == "ACCEPT"


def test_a_client_that_never_renews_holds_its_slot_until_the_run_is_over(desk: Desk) -> None:
    id = deployment(desk)
    run = scheduled(desk, id)
    for state in ("PENDING", "RUNNING"):
        propose(desk, run, state, CALLER)
    desk.clock.move(hours=5)
    assert propose(desk, scheduled(desk, id), "PENDING").status == "REJECT"
    propose(desk, run, "CRASHED", CALLER)
    assert held(desk, id) == 0


@pytest.mark.parametrize("taken_meanwhile", [True, False])
def test_a_run_whose_slot_ran_out_before_it_started_needs_another(desk: Desk, taken_meanwhile: bool) -> None:
    id = deployment(desk)
    run = scheduled(desk, id)
    first = lease_of(propose(desk, run, "PENDING"))
    desk.clock.move(seconds=301)
    if taken_meanwhile:
        propose(desk, scheduled(desk, id), "PENDING")
    answer = propose(desk, run, "RUNNING")
    assert answer.state is not None
    if taken_meanwhile:
        assert (answer.status, answer.state.type) == ("REJECT", "CANCELLED")
    else:
        assert answer.status == "ACCEPT"
        assert lease_of(answer) != first
    assert held(desk, id) == 1


def test_a_deployment_changes_and_takes_its_limit_along(desk: Desk) -> None:
    id = deployment(desk)
    changes = DeploymentSettings(concurrency_limit=2, enforce_parameter_schema=False)
    desk.ask(UpdateDeployment(caller=CALLER, id=id, changes=changes, references=References()))
    limit = limit_of(desk, id)
    assert limit is not None
    assert limit.limit == 2
    desk.ask(DeleteDeployment(caller=CALLER, id=id))
    assert limit_of(desk, id) is None
    assert propose(desk, scheduled_without(desk), "PENDING").status == "ACCEPT"


def scheduled_without(desk: Desk) -> UUID:
    return desk.flow_run(state=proposed("SCHEDULED"))


def test_a_suspended_run_of_a_deployment_is_resumed_by_scheduling_it(desk: Desk) -> None:
    run = scheduled(desk, deployment(desk))
    for state in ("PENDING", "RUNNING"):
        propose(desk, run, state)
    suspended = proposed("PAUSED", "Suspended", pause_reschedule=True, pause_key="k")
    assert propose(desk, run, suspended).status == "ACCEPT"
    answer = desk.ask(ResumeFlowRun(caller=RENEWING, id=run, state_id=new_id(), run_input=None))
    assert isinstance(answer, OrchestrationResult)
    assert answer.state is not None
    assert (answer.status, answer.state.type, answer.state.name) == ("ACCEPT", "SCHEDULED", "Resuming")
    for state in ("PENDING", "RUNNING"):
        assert propose(desk, run, state).status == "ACCEPT"
    assert propose(desk, run, suspended).details["reason"] == "This suspend has already fired."
