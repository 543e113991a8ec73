"""Work pools and their queues: names, priorities, what is made by itself, and what becomes of who belongs to one."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain import keys
from domain.commands.command import Deleted
from domain.commands.deployments import (
    AskedRun,
    CreateDeployment,
    CreateFlowRunOfDeployment,
    References,
    UpdateDeployment,
)
from domain.commands.work_pools import CreateWorkPool, DeleteWorkPool, UpdateWorkPool
from domain.commands.work_queues import CreateWorkQueue, DeleteWorkQueue, UpdateWorkQueue
from domain.deployment import Deployment, DeploymentSettings
from domain.errors import (
    DefaultQueue,
    JobVariablesUnchecked,
    NameTaken,
    NoSuchWorkQueue,
    NoWorkQueue,
    ReservedWorkPool,
    UnknownWorkPool,
)
from domain.flow_run import FlowRun
from domain.ids import new_id
from domain.ledger import Ledger
from domain.run_policy import FlowRunPolicy
from domain.work_pool import AGENT_POOL, WorkPool, WorkPoolSettings
from domain.work_queue import WorkQueue, WorkQueueSettings
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from tests.domain.conftest import CALLER, Clock, Desk, proposed


def make_pool(desk: Desk, name: str = "p", **given: Any) -> UUID:
    pool = CreateWorkPool(caller=CALLER, id=new_id(), name=name, type="process", settings=WorkPoolSettings(**given))
    return desk.make(pool)


def make_queue(desk: Desk, name: str, pool: str | None = "p", priority: int | None = None) -> UUID:
    given = WorkQueueSettings(name=name)
    return desk.make(CreateWorkQueue(caller=CALLER, id=new_id(), pool_name=pool, settings=given, priority=priority))


def queues(desk: Desk, pool: str = "p") -> dict[str, int]:
    """The priorities of a pool's queues by name, told from the keys and the events."""
    with desk.ledger.construct_recorder().transaction() as transaction:
        pool_id = next(iter(transaction.ids_of([keys.work_pool_name(pool)]).values()), None)
        found = transaction.ids_under(keys.work_queues_of(pool_id), 1000) if pool_id else {}
    known = [desk.ledger.cached(id) for id in found.values()]
    return {queue.name: queue.settings.priority for queue in known if isinstance(queue, WorkQueue)}


def deployment(desk: Desk, name: str = "d", references: References = References(), **given: Any) -> UUID:  # noqa: B008
    given.setdefault("enforce_parameter_schema", False)
    return desk.make(
        CreateDeployment(
            caller=CALLER,
            id=new_id(),
            flow_id=desk.flow_id,
            name=name,
            settings=DeploymentSettings(work_queue_name=references.work_queue_name, **given),
            references=references,
        )
    )


def run_of(desk: Desk, id: UUID, **asked: Any) -> FlowRun:
    facts: dict[str, Any] = {"parameters": {}, "context": {}, "tags": [], "labels": {}, "job_variables": {}}
    run = desk.make(
        CreateFlowRunOfDeployment(
            caller=CALLER,
            id=id,
            run_id=new_id(),
            asked=AskedRun(name="r", empirical_policy=FlowRunPolicy(), **{**facts, **asked}),
            state=proposed("SCHEDULED"),
        )
    )
    found = desk.ledger.cached(run)
    assert isinstance(found, FlowRun)
    return found


def queue_of(desk: Desk, id: UUID | None) -> WorkQueue:
    assert id is not None
    queue = desk.ledger.cached(id)
    assert isinstance(queue, WorkQueue)
    return queue


def of(desk: Desk, id: UUID) -> Deployment:
    found = desk.ledger.cached(id)
    assert isinstance(found, Deployment)
    return found


def test_a_pool_has_a_default_queue_and_keeps_it(desk: Desk) -> None:
    pool = desk.ledger.cached(make_pool(desk))
    assert isinstance(pool, WorkPool)
    assert queues(desk) == {"default": 1}
    with pytest.raises(DefaultQueue):
        desk.ask(DeleteWorkQueue(caller=CALLER, id=pool.default_queue_id))


def test_names_of_pools_and_of_queues_in_a_pool_are_unique(desk: Desk) -> None:
    make_pool(desk)
    make_pool(desk, "other")
    make_queue(desk, "q")
    make_queue(desk, "q", "other")
    with pytest.raises(NameTaken):
        make_pool(desk)
    with pytest.raises(NameTaken):
        make_queue(desk, "q")
    with pytest.raises(NameTaken):
        desk.ask(UpdateWorkQueue(caller=CALLER, names=("p", "q"), changes=WorkQueueSettings(name="default")))
    desk.ask(UpdateWorkQueue(caller=CALLER, names=("p", "q"), changes=WorkQueueSettings(name="r")))
    make_queue(desk, "q")


@pytest.mark.parametrize("name", ["prefect", "Prefect-pool", "PREFECT:managed"])
def test_reserved_names_are_not_for_callers(desk: Desk, name: str) -> None:
    with pytest.raises(ReservedWorkPool):
        make_pool(desk, name)
    with pytest.raises(ReservedWorkPool):
        desk.ask(DeleteWorkPool(caller=CALLER, name=name))
    with pytest.raises(ReservedWorkPool):
        desk.ask(UpdateWorkPool(caller=CALLER, name=name, changes=WorkPoolSettings(description="d")))
    with pytest.raises(UnknownWorkPool):
        desk.ask(UpdateWorkPool(caller=CALLER, name=name, changes=WorkPoolSettings(is_paused=True)))


def test_a_queue_gets_the_first_free_priority_or_the_one_asked_for_and_others_move(desk: Desk) -> None:
    make_pool(desk)
    make_queue(desk, "second")
    make_queue(desk, "ninth", priority=9)
    make_queue(desk, "third")
    assert queues(desk) == {"default": 1, "second": 2, "third": 3, "ninth": 9}
    make_queue(desk, "first", priority=1)
    assert queues(desk) == {"first": 1, "default": 2, "second": 3, "third": 4, "ninth": 9}
    desk.ask(UpdateWorkQueue(caller=CALLER, names=("p", "third"), changes=WorkQueueSettings(priority=2)))
    assert queues(desk) == {"first": 1, "third": 2, "default": 3, "second": 4, "ninth": 9}


asked_for = st.lists(st.tuples(st.sampled_from("abcde"), st.none() | st.integers(1, 6)), max_size=8)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=asked_for)
def test_no_two_queues_of_a_pool_ever_have_the_same_priority_and_none_goes_before_who_was_there(
    conninfo: str, asked: list[tuple[str, int | None]]
) -> None:
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=Clock()) as ledger:
        ledger.clear()
        desk = Desk(ledger, Clock())
        make_pool(desk)
        for name, priority in asked:
            before = queues(desk)
            if name not in before:
                make_queue(desk, name, priority=priority)
            elif priority is not None:
                changes = WorkQueueSettings(priority=priority)
                desk.ask(UpdateWorkQueue(caller=CALLER, names=("p", name), changes=changes))
            after = queues(desk)
            assert len(set(after.values())) == len(after)
            assert priority is None or after[name] == priority
            others = [other for other in before if other != name]
            assert sorted(others, key=before.__getitem__) == sorted(others, key=after.__getitem__)


def test_the_pool_of_queues_that_name_none_is_made_when_it_is_needed(desk: Desk) -> None:
    with pytest.raises(UnknownWorkPool):
        desk.ask(UpdateWorkPool(caller=CALLER, name=AGENT_POOL, changes=WorkPoolSettings(is_paused=True)))
    make_queue(desk, "q", None)
    assert queues(desk, AGENT_POOL) == {"default": 1, "q": 2}
    deployment(desk, references=References(work_queue_name="urgent"))
    assert queues(desk, AGENT_POOL) == {"urgent": 1, "default": 2, "q": 3}


def test_a_first_deployment_with_only_a_queue_brings_the_pool_and_the_queue_along(desk: Desk) -> None:
    id = deployment(desk, references=References(work_queue_name="q"))
    assert queues(desk, AGENT_POOL) == {"q": 1, "default": 2}
    assert queue_of(desk, of(desk, id).settings.work_queue_id).name == "q"
    again = deployment(desk, "other", references=References(work_queue_name="default"))
    assert queue_of(desk, of(desk, again).settings.work_queue_id).name == "default"


def test_a_deployment_belongs_to_the_queue_it_names_or_to_the_default_queue_of_its_pool(desk: Desk) -> None:
    make_pool(desk)
    plain = deployment(desk, references=References(work_pool_name="p"))
    named = deployment(desk, "n", References(work_pool_name="p", work_queue_name="new"))
    assert queue_of(desk, of(desk, plain).settings.work_queue_id).name == "default"
    assert queue_of(desk, of(desk, named).settings.work_queue_id).name == "new"
    with pytest.raises(UnknownWorkPool):
        deployment(desk, "x", References(work_pool_name="nope"))
    assert set(queues(desk)) == {"default", "new"}


@pytest.mark.parametrize(
    ("references", "name"),
    [
        (References(), "new"),
        (References(work_pool_name="p"), "default"),
        (References(work_queue_name="other"), "other"),
        (References(leaves_queue=True), None),
    ],
)
def test_a_change_of_a_deployment_moves_it_as_far_as_it_says_so(
    desk: Desk, references: References, name: str | None
) -> None:
    make_pool(desk)
    id = deployment(desk, references=References(work_pool_name="p", work_queue_name="new"))
    changes = DeploymentSettings(enforce_parameter_schema=False)
    desk.ask(UpdateDeployment(caller=CALLER, id=id, changes=changes, references=references))
    found = of(desk, id).settings.work_queue_id
    assert (queue_of(desk, found).name if found else None) == name


def test_runs_go_to_the_queue_of_their_deployment_or_to_another_of_its_pool(desk: Desk) -> None:
    make_pool(desk)
    id = deployment(desk, references=References(work_pool_name="p"))
    assert queue_of(desk, run_of(desk, id).work_queue_id).name == "default"
    elsewhere = run_of(desk, id, work_queue_name="other")
    assert queue_of(desk, elsewhere.work_queue_id).name == "other"
    assert set(queues(desk)) == {"default", "other"}
    with pytest.raises(NoWorkQueue):
        run_of(desk, deployment(desk, "served"), work_queue_name="other")


def test_a_run_that_names_a_pool_goes_to_a_queue_of_it(desk: Desk) -> None:
    make_pool(desk)
    for queue in (None, "q"):
        run = desk.run(desk.flow_run(work_pool_name="p", work_queue_name=queue))
        assert isinstance(run, FlowRun)
        assert queue_of(desk, run.work_queue_id).name == (queue or "default")
    with pytest.raises(UnknownWorkPool):
        desk.flow_run(work_pool_name="nope")


def test_a_deleted_pool_takes_its_queues_along_and_its_name_is_free(desk: Desk) -> None:
    make_pool(desk)
    id = deployment(desk, references=References(work_pool_name="p", work_queue_name="q"))
    queue = queue_of(desk, of(desk, id).settings.work_queue_id)
    assert desk.ask(DeleteWorkPool(caller=CALLER, name="p")) == Deleted(finished=True)
    assert queue.deleted
    assert queues(desk) == {}
    run_of(desk, id)
    with pytest.raises(NoWorkQueue):
        run_of(desk, id, work_queue_name="other")
    with pytest.raises(NoSuchWorkQueue):
        desk.ask(UpdateWorkQueue(caller=CALLER, id=queue.id, changes=WorkQueueSettings(is_paused=True)))
    make_pool(desk)
    make_queue(desk, "q")


def test_a_queue_that_comes_again_is_a_new_one(desk: Desk) -> None:
    make_pool(desk)
    ids = set()
    for _ in range(3):
        run = desk.run(desk.flow_run(work_pool_name="p", work_queue_name="q"))
        assert isinstance(run, FlowRun)
        ids.add(run.work_queue_id)
        desk.ask(DeleteWorkQueue(caller=CALLER, names=("p", "q")))
    assert len(ids) == 3


def test_job_variables_are_to_be_checked_against_the_pool_as_it_is(desk: Desk) -> None:
    template = {"variables": {"properties": {"n": {"type": "integer"}}}}
    pool = make_pool(desk, base_job_template=template)
    references = References(work_pool_name="p")
    with pytest.raises(JobVariablesUnchecked) as unchecked:
        deployment(desk, references=references, job_variables={"n": "x"})
    assert unchecked.value.stamp == (pool, 1, 0)
    assert (unchecked.value.variables, unchecked.value.template) == ({"n": "x"}, template)
    command = CreateDeployment(
        caller=CALLER,
        id=uuid4(),
        flow_id=desk.flow_id,
        name="d",
        settings=DeploymentSettings(job_variables={"n": 1}, enforce_parameter_schema=False),
        references=references,
        fits=unchecked.value.stamp,
    )
    id = desk.make(command)
    with pytest.raises(JobVariablesUnchecked) as of_run:
        run_of(desk, id, job_variables={"m": 2})
    assert of_run.value.all_there
    assert of_run.value.variables == {"n": 1, "m": 2}
    desk.ask(UpdateWorkPool(caller=CALLER, name="p", changes=WorkPoolSettings(base_job_template={})))
    run_of(desk, id, job_variables={"m": 2})
