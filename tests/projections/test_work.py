"""What workers and agents get when they ask, in order, and never more than limits leave free; and who is there."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.embedded_postgres import EmbeddedPostgres
from domain.commands.deployments import CreateDeployment, References
from domain.commands.work_pools import CreateWorkPool, DeleteWorkPool, UpdateWorkPool
from domain.commands.work_queues import CreateWorkQueue, UpdateWorkQueue
from domain.deployment import DeploymentSettings
from domain.ids import new_id
from domain.run_policy import FlowRunPolicy
from domain.work_pool import WorkPoolSettings
from domain.work_queue import QueueFilter, WorkQueueSettings
from projections import queries, scheduled_work, statements, work
from projections.filters import WorkerFilter, WorkPoolFilter, WorkQueueFilter
from projections.scheduled_work import Asked
from projections.tables import TABLES
from projections.work_documents import MISSED_HEARTBEATS
from tests.projections.seeding import CALLER, Books, at, copy_of, flow_run_command, proposed

MANY = Asked(100)


@pytest.fixture(scope="module")
def database(postgres: EmbeddedPostgres, template_database: str) -> Iterator[str]:
    with copy_of(template_database, postgres.conninfo) as conninfo:
        yield conninfo


@pytest.fixture
def books(database: str) -> Iterator[Books]:
    """A ledger with nothing in it but a pool named p."""
    with psycopg.connect(database) as connection:
        connection.execute(statements.clear([table.name for table in TABLES]))
        connection.execute(statements.NEW_IDENTITY)
    with Books(database) as books:
        make_pool(books, "p")
        yield books


def make_pool(books: Books, name: str, type: str = "process", **given: Any) -> None:
    books.execute(CreateWorkPool(caller=CALLER, id=new_id(), name=name, type=type, settings=WorkPoolSettings(**given)))


def make_queue(books: Books, name: str, pool: str | None = "p", priority: int | None = None, **given: Any) -> UUID:
    facts = WorkQueueSettings(name=name, **given)
    command = CreateWorkQueue(caller=CALLER, id=new_id(), pool_name=pool, settings=facts, priority=priority)
    (made,) = books.execute(command)
    id: UUID = made.id
    return id


def change_pool(books: Books, **changes: Any) -> None:
    books.execute(UpdateWorkPool(caller=CALLER, name="p", changes=WorkPoolSettings(**changes)))


def change_queue(books: Books, queue: str, **changes: Any) -> None:
    books.execute(UpdateWorkQueue(caller=CALLER, names=("p", queue), changes=WorkQueueSettings(**changes)))


def run(books: Books, name: str, queue: str | None = None, due: float = 0, pool: str = "p", **facts: Any) -> UUID:
    state = proposed("SCHEDULED", scheduled_time=at(due))
    flow = books.flow("f")
    return books.flow_run(flow, name, state=state, work_pool_name=pool, work_queue_name=queue, **facts)


def handed_out(books: Books, asked: Asked = MANY, queues: list[str] | None = None) -> list[str]:
    """The names of the runs that a worker gets of the pool, in order."""
    pool = books.ask(work.find_pool, "p")
    ids = None if queues is None else list(books.ask(scheduled_work.queues_named, pool, queues).values())
    found = json.loads(books.ask(scheduled_work.read_scheduled, pool, ids, asked))
    for one in found:
        assert one["work_pool_id"] == one["flow_run"]["work_pool_id"] == str(pool)
        assert one["work_queue_id"] == one["flow_run"]["work_queue_id"]
    return [one["flow_run"]["name"] for one in found]


def test_runs_come_by_priority_of_their_queue_and_then_by_time(books: Books) -> None:
    make_queue(books, "low", priority=5)
    make_queue(books, "high", priority=1)
    run(books, "low", "low", 0)
    run(books, "later", None, 2)
    run(books, "sooner", None, 1)
    run(books, "high", "high", 9)
    assert handed_out(books) == ["high", "sooner", "later", "low"]
    assert handed_out(books, Asked(2)) == ["high", "sooner"]
    assert handed_out(books, queues=["low", "high"]) == ["high", "low"]
    change_queue(books, "low", priority=1)
    assert handed_out(books) == ["low", "high", "sooner", "later"]


def test_only_runs_that_wait_and_are_due_are_handed_out(books: Books) -> None:
    run(books, "due", due=5)
    run(books, "not yet", due=7)
    run(books, "passed", due=1)
    started = run(books, "started", due=5)
    run(books, "elsewhere", due=5, pool=_other(books))
    books.set_flow_run(started, "PENDING")
    retrying = FlowRunPolicy(retry_type="in_process")
    state = proposed("SCHEDULED", "AwaitingRetry", scheduled_time=at(5))
    books.execute(_retrying(books, state, retrying))
    assert handed_out(books, Asked(100, before=at(6), after=at(2))) == ["due"]
    assert handed_out(books, Asked(100, before=at(5), after=at(5))) == ["due"]
    assert handed_out(books, Asked(0)) == []


def _other(books: Books) -> str:
    make_pool(books, "other")
    return "other"


def _retrying(books: Books, state: Any, policy: FlowRunPolicy) -> Any:
    command = flow_run_command(books.flow("f"), "retrying", state=state, work_pool_name="p")
    facts = command.facts.model_copy(update={"empirical_policy": policy})
    object.__setattr__(command, "facts", facts)
    return command


def test_paused_queues_and_pools_give_nothing(books: Books) -> None:
    make_queue(books, "q")
    run(books, "in q", "q")
    run(books, "in default")
    change_queue(books, "q", is_paused=True)
    assert handed_out(books) == ["in default"]
    change_pool(books, is_paused=True)
    assert handed_out(books) == []


limits = st.none() | st.integers(0, 3)
states = st.sampled_from(["SCHEDULED", "SCHEDULED", "PENDING", "RUNNING", "COMPLETED", "CANCELLING"])
placed = st.lists(st.tuples(st.sampled_from(["default", "a", "b"]), states, st.integers(0, 3)), max_size=10)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=placed, pool_limit=limits, queue_limits=st.tuples(limits, limits), limit=st.integers(0, 6))
def test_what_is_handed_out_together_with_what_runs_never_exceeds_a_limit_and_leaves_no_slot_unused(
    database: str,
    runs: list[tuple[str, str, int]],
    pool_limit: int | None,
    queue_limits: tuple[int | None, int | None],
    limit: int,
) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(statements.clear([table.name for table in TABLES]))
        connection.execute(statements.NEW_IDENTITY)
    with Books(database) as books:
        make_pool(books, "p", concurrency_limit=pool_limit)
        of_queue = dict(zip("ab", queue_limits, strict=True))
        for name, slots in of_queue.items():
            make_queue(books, name, concurrency_limit=slots)
        for number, (queue, state, due) in enumerate(runs):
            id = run(books, f"{number}", queue, due)
            if state != "SCHEDULED":
                books.set_flow_run(id, state)
        expected = expected_names(runs, pool_limit, {**of_queue, "default": None}, limit)
        assert handed_out(books, Asked(limit)) == expected


def expected_names(
    runs: list[tuple[str, str, int]], pool_limit: int | None, of_queue: dict[str, int | None], limit: int
) -> list[str]:
    """What a worker is to get, told one queue after the other."""
    holding = [queue for queue, state, _ in runs if state in ("PENDING", "RUNNING")]
    chosen: list[str] = []
    for queue in ("default", "a", "b"):
        waiting = [(due, n) for n, (of, state, due) in enumerate(runs) if of == queue and state == "SCHEDULED"]
        slots = of_queue[queue]
        free = len(waiting) if slots is None else max(slots - holding.count(queue), 0)
        chosen += [str(n) for _, n in sorted(waiting)[:free]]
    free = len(chosen) if pool_limit is None else max(pool_limit - len(holding), 0)
    return chosen[: min(free, limit)]


def test_agents_get_the_runs_of_one_queue(books: Books) -> None:
    id = make_queue(books, "q", None, concurrency_limit=2)
    flow = books.flow("f")
    deployment = CreateDeployment(
        caller=CALLER,
        id=new_id(),
        flow_id=flow,
        name="d",
        settings=DeploymentSettings(work_queue_name="q"),
        references=References(work_queue_name="q"),
    )
    books.execute(deployment)
    ids = [run(books, f"r{n}", "q", n, pool="default-agent-pool") for n in range(3)]
    assert _of_queue(books, id) == ["r0", "r1"]
    books.set_flow_run(ids[0], "RUNNING")
    assert _of_queue(books, id) == ["r1"]
    checked = json.loads(books.ask(work.read_queues_of_deployment, deployment.id))
    assert [queue["id"] for queue in checked] == [str(id)]
    assert books.ask(scheduled_work.read_runs_of_queue, new_id(), MANY) is None


def _of_queue(books: Books, id: UUID, asked: Asked = MANY) -> list[str]:
    return [one["name"] for one in json.loads(books.ask(scheduled_work.read_runs_of_queue, id, asked))]


@pytest.mark.parametrize(
    ("filter", "names"),
    [
        (QueueFilter(), ["one", "two"]),
        (QueueFilter(tags=["a"]), ["one"]),
        (QueueFilter(tags=["a", "b"]), []),
        (QueueFilter(deployment_ids=[UUID(int=5)]), ["one", "two"]),
        (QueueFilter(deployment_ids=[]), []),
    ],
)
def test_a_queue_with_a_filter_hands_out_runs_of_deployments_that_fit(
    books: Books, filter: QueueFilter, names: list[str]
) -> None:
    id = make_queue(books, "old", None, filter=filter)
    flow = books.flow("f")
    books.execute(
        CreateDeployment(
            caller=CALLER,
            id=UUID(int=5),
            flow_id=flow,
            name="d",
            settings=DeploymentSettings(tags=["a"]),
            references=References(),
        )
    )
    scheduled = proposed("SCHEDULED", scheduled_time=at(0))
    books.flow_run(flow, "one", "a", state=scheduled, deployment_id=UUID(int=5))
    books.flow_run(flow, "two", state=proposed("SCHEDULED", scheduled_time=at(1)), deployment_id=UUID(int=5))
    books.flow_run(flow, "no deployment", "a", state=proposed("SCHEDULED"))
    assert _of_queue(books, id) == names
    assert _of_queue(books, id, Asked(1, before=at(0))) == names[:1]
    books.execute(UpdateWorkQueue(caller=CALLER, id=id, changes=WorkQueueSettings(concurrency_limit=1)))
    assert _of_queue(books, id) == names[:1]
    books.execute(UpdateWorkQueue(caller=CALLER, id=id, changes=WorkQueueSettings(is_paused=True)))
    assert _of_queue(books, id) == []
    listed = json.loads(books.ask(work.read_queues_of_deployment, UUID(int=5)))
    assert bool(listed) is (filter.tags in (None, ["a"]) and filter.deployment_ids != [])


def pool(books: Books) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(books.ask(work.read_pool, "p"))
    return found


def age(books: Books, table: str, column: str, seconds: float) -> None:
    """Let something have been heard of that much earlier."""

    async def move(connection: psycopg.AsyncConnection) -> None:
        statement = psycopg.sql.SQL("UPDATE telemetry.{} SET {} = {} - %s").format(
            *map(psycopg.sql.Identifier, (table, column, column))
        )
        await connection.execute(statement, [timedelta(seconds=seconds)])

    books.ask(move)


def test_a_worker_is_offline_and_its_pool_not_ready_after_three_missed_heartbeats(books: Books) -> None:
    id = books.ask(work.find_pool, "p")
    assert pool(books)["status"] == "NOT_READY"
    books.ask(work.note_heartbeat, id, "w", 10)
    age(books, "workers", "last_heartbeat_time", MISSED_HEARTBEATS * 10 - 5)
    assert pool(books)["status"] == "READY"
    assert [one["status"] for one in workers(books, id)] == ["ONLINE"]
    age(books, "workers", "last_heartbeat_time", 6)
    assert pool(books)["status"] == "NOT_READY"
    assert [one["status"] for one in workers(books, id)] == ["OFFLINE"]
    books.ask(work.note_heartbeat, id, "w", None)
    (worker,) = workers(books, id)
    assert (worker["status"], worker["heartbeat_interval_seconds"]) == ("ONLINE", 10)
    change_pool(books, is_paused=True)
    assert pool(books)["status"] == "PAUSED"


def workers(books: Books, id: UUID, **asked: Any) -> list[dict[str, Any]]:
    filter = WorkerFilter.model_validate(asked) if asked else None
    found: list[dict[str, Any]] = json.loads(books.ask(work.read_workers, id, filter, limit=10))
    return found


def test_workers_are_found_by_their_status_and_by_when_they_were_heard_of(books: Books) -> None:
    id = books.ask(work.find_pool, "p")
    books.ask(work.note_heartbeat, id, "gone", 10)
    age(books, "workers", "last_heartbeat_time", 100)
    books.ask(work.note_heartbeat, id, "there", 10)
    heard = workers(books, id)[1]["last_heartbeat_time"]

    def names(**asked: Any) -> list[str]:
        return [one["name"] for one in workers(books, id, **asked)]

    assert names() == ["there", "gone"]
    assert names(status={"any_": ["ONLINE"]}) == ["there"]
    assert names(status={"not_any_": ["ONLINE"]}) == ["gone"]
    assert names(last_heartbeat_time={"before_": heard}) == ["gone"]
    assert names(last_heartbeat_time={"after_": heard}, status={"any_": ["OFFLINE"]}) == ["gone"]
    assert names(operator="or_", last_heartbeat_time={"before_": heard}, status={"any_": ["ONLINE"]}) == [
        "there",
        "gone",
    ]
    assert books.ask(work.count_workers) == (1, 1)
    assert books.ask(work.forget_worker, id, "there")
    assert not books.ask(work.forget_worker, id, "there")
    books.execute(DeleteWorkPool(caller=CALLER, name="p"))
    assert books.ask(work.forget_gone, at(-(10**9))) == 1


def test_a_queue_is_ready_while_it_is_polled_and_healthy_while_no_run_is_late(books: Books) -> None:
    id = make_queue(books, "q")
    late = run(books, "r", "q")

    def status() -> tuple[str, bool, int]:
        queue = json.loads(books.ask(work.read_queue, id))
        health = json.loads(books.ask(scheduled_work.read_queue_status, id))
        assert (queue["last_polled"] is None) is (health["last_polled"] is None)
        return queue["status"], health["healthy"], health["late_runs_count"]

    assert status() == ("NOT_READY", False, 0)
    books.ask(work.note_pool_polled, books.ask(work.find_pool, "p"), None)
    assert status() == ("READY", True, 0)
    books.set_flow_run(late, "SCHEDULED", "Late")
    assert status() == ("READY", False, 1)
    age(books, "polls", "last_polled", 61)
    assert status() == ("NOT_READY", False, 1)
    change_queue(books, "q", is_paused=True)
    assert status()[0] == "PAUSED"


def test_slots_of_pools_and_queues_are_counted_where_there_is_a_limit(books: Books) -> None:
    id = make_queue(books, "q", concurrency_limit=3)
    for number, state in enumerate(["PENDING", "RUNNING", "CANCELLING", "COMPLETED"]):
        books.set_flow_run(run(books, f"r{number}", "q"), state)
    books.set_flow_run(run(books, "other"), "RUNNING")
    assert pool(books)["active_slots"] is None
    change_pool(books, concurrency_limit=9)
    assert pool(books)["active_slots"] == 3
    assert json.loads(books.ask(work.read_queue, id))["active_slots"] == 2
    of_queue = json.loads(books.ask(scheduled_work.read_queue_slots, id, limit=1, page=2))
    assert [one["name"] for one in of_queue.pop("flow_runs")] == ["r1"]
    assert of_queue == {"active_slots": 2, "concurrency_limit": 3, "count": 2, "limit": 1, "pages": 2, "page": 2}
    of_pool = json.loads(books.ask(scheduled_work.read_pool_slots, "p", limit=10, page=1, flow_run_limit=1))
    assert [(one["queue_name"], one["active_slots"], len(one["flow_runs"])) for one in of_pool["queues"]] == [
        ("default", 1, 1),
        ("q", 2, 1),
    ]
    assert of_pool["active_slots"] == 3


def test_pools_and_queues_are_found_by_every_field_of_their_filters(books: Books) -> None:
    make_pool(books, "agents", type="prefect-agent")
    make_queue(books, "fast")
    make_queue(books, "Fasting")
    id = str(books.ask(work.find_pool, "p"))

    def pools(**asked: Any) -> list[str]:
        found = json.loads(books.ask(work.read_pools, WorkPoolFilter.model_validate(asked), limit=10))
        assert books.ask(work.count_pools, WorkPoolFilter.model_validate(asked)) == len(found)
        return [one["name"] for one in found]

    def queues(**asked: Any) -> list[str]:
        asked_for = WorkQueueFilter.model_validate(asked)
        return [one["name"] for one in json.loads(books.ask(work.read_queues, asked_for, limit=10))]

    assert pools() == ["agents", "p"]
    assert pools(id={"any_": [id]}) == pools(name={"any_": ["p"]}) == pools(type={"any_": ["process"]}) == ["p"]
    assert pools(operator="or_", id={"any_": [id]}, type={"any_": ["prefect-agent"]}) == ["agents", "p"]
    assert queues(name={"any_": ["fast"]}) == ["fast"]
    assert sorted(queues(name={"startswith_": ["FAST", "x%"]})) == ["Fasting", "fast"]
    assert queues(name={"startswith_": []}) == []


def test_runs_and_deployments_show_the_queue_they_are_in_and_what_it_was_called_when_it_is_gone(books: Books) -> None:
    flow = books.flow("f")
    command = CreateDeployment(
        caller=CALLER,
        id=new_id(),
        flow_id=flow,
        name="d",
        settings=DeploymentSettings(work_queue_name="q"),
        references=References(work_pool_name="p", work_queue_name="q"),
    )
    (made,) = books.execute(command)
    id = run(books, "r", "q")

    def shown(document: bytes) -> tuple[Any, Any, bool]:
        thing = json.loads(document)
        return thing["work_queue_name"], thing["work_pool_name"], thing["work_queue_id"] is None

    assert shown(made.document) == ("q", "p", False)
    assert shown(books.ask(queries.read_flow_run, id)) == ("q", "p", False)
    change_queue(books, "q", name="renamed")
    assert shown(books.ask(queries.read_deployment, command.id)) == ("renamed", "p", False)
    assert shown(books.ask(queries.read_flow_run, id)) == ("renamed", "p", False)
    books.execute(DeleteWorkPool(caller=CALLER, name="p"))
    assert shown(books.ask(queries.read_deployment, command.id)) == ("q", None, True)
    assert shown(books.ask(queries.read_flow_run, id)) == ("q", None, True)
