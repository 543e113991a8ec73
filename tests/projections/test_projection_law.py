"""Whatever is asked of the ledger, the read tables equal what the events make when each stream is folded by itself."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.block_document import BlockContent
from domain.block_type import BlockTypeDescription
from domain.commands.blocks import (
    CreateBlockDocument,
    CreateBlockSchema,
    CreateBlockType,
    DeleteBlockDocument,
    DeleteBlockSchema,
    DeleteBlockType,
    UpdateBlockDocument,
    UpdateBlockType,
)
from domain.commands.command import Command
from domain.commands.deployments import CreateDeployment, DeleteDeployment, References
from domain.commands.flow_run_inputs import DeleteFlowRunInput, ResumeFlowRun, WriteFlowRunInput
from domain.commands.flow_runs import DeleteFlowRun, LabelFlowRun, SetFlowRunState, UpdateFlowRun
from domain.commands.flows import CreateFlow, DeleteFlow, UpdateFlow
from domain.commands.hand_outs import HandBackTaskRun, HandOutTaskRun, TakeTaskRun
from domain.commands.limits import CreateLimit, DeleteLimit, ResetLimit, UpdateLimit
from domain.commands.notification_policies import (
    CreateNotificationPolicy,
    DeleteNotificationPolicy,
    UpdateNotificationPolicy,
)
from domain.commands.planning import PlannedRun, PlanRuns
from domain.commands.saved_searches import SaveSearch
from domain.commands.schedules import AddSchedules, ChangeSchedule, GivenSchedule, PauseDeployment, RemoveSchedule
from domain.commands.slot_requests import EndLease, RenewLease, ReturnSlots, TakeSlots
from domain.commands.task_runs import DeleteTaskRun, ReportTaskRunState, SetTaskRunState, UpdateTaskRun
from domain.commands.variables import CreateVariable, DeleteVariable, UpdateVariable
from domain.commands.work_pools import CreateWorkPool, DeleteWorkPool, UpdateWorkPool
from domain.commands.work_queues import CreateWorkQueue, DeleteWorkQueue, UpdateWorkQueue
from domain.concurrency_limit import Holder, LimitChanges
from domain.deployment import DeploymentSettings, ScheduleChanges
from domain.flow_run import FlowRunChanges
from domain.ledger import Ledger
from domain.notification_policy import PolicyTerms, SealedUrl
from domain.run_policy import FlowRunPolicy
from domain.schedules import CronSchedule, RRuleSchedule
from domain.states import State, StateType
from domain.task_run import ReportedCounters
from domain.variable import VariableFacts
from domain.work_pool import WorkPoolSettings
from domain.work_queue import WorkQueueSettings
from projections import statements
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from projections.tables import TABLES
from tests.checks import check_ledger
from tests.domain.conftest import CALLER, Clock, create_flow_run, create_task_run, proposed

FLOWS = [UUID(int=n) for n in (1, 2)]
RUNS = [UUID(int=n) for n in (11, 12, 13)]
LIMITS = [UUID(int=n) for n in (31, 32)]
TASKS = [UUID(int=n) for n in (21, 22, 23)]
DEPLOYMENT = UUID(int=41)
SCHEDULES = [UUID(int=n) for n in (51, 52)]

types = st.sampled_from([type.value for type in StateType])
runs, tasks, forced = st.sampled_from(RUNS), st.sampled_from(TASKS), st.booleans()
input_keys = st.sampled_from("kl")
leases = st.sampled_from([UUID(int=n) for n in (71, 72)])
limit_names, counts = st.sampled_from(["tag:a", "tag:b"]), st.none() | st.integers(0, 2)
cached_states = types.map(lambda type: proposed(type, cache_key="key"))
slots = st.none() | st.integers(1, 2)
pools, queues = st.sampled_from("op"), st.none() | st.sampled_from("qr")
queue_changes = st.builds(WorkQueueSettings, name=st.sampled_from("qr"), priority=st.integers(1, 3))
tags = st.lists(st.sampled_from(["a", "b"]), max_size=2)
deployment, schedule_ids = st.just(DEPLOYMENT), st.sampled_from(SCHEDULES)
schedule_changes = st.builds(
    ScheduleChanges,
    schedule=st.sampled_from([CronSchedule(cron="0 0 * * *"), RRuleSchedule(rrule="FREQ=DAILY")]),
    active=st.none() | st.booleans(),
    slug=st.none() | st.sampled_from("st"),
)
given_schedules = st.builds(GivenSchedule, schedule_ids, schedule_changes, st.none() | st.sampled_from("st"))


def asked(make: Callable[..., Command], **facts: st.SearchStrategy[Any]) -> st.SearchStrategy[Command]:
    return st.builds(lambda **drawn: make(caller=CALLER, **drawn), **facts)


def _new_flow_run(id: UUID, parent: UUID | None, type: str, tags: list[str], retries: int, key: str | None) -> Command:
    command = create_flow_run(
        FLOWS[0],
        state=proposed(type),
        tags=tags,
        parent_task_run_id=parent,
        idempotency_key=key,
        empirical_policy=FlowRunPolicy(retries=retries),
    )
    object.__setattr__(command, "id", id)
    return command


def _report(id: UUID, flow_run: UUID, type: str, number: int, follows: int | None) -> Command:
    task = create_task_run(flow_run, dynamic_key=str(id))
    at = Clock()()
    state = State(id=UUID(int=1000 + number), type=StateType(type), name=type, timestamp=at)
    return ReportTaskRunState(
        caller=CALLER,
        id=id,
        facts=task.facts,
        state=state,
        follows=None if follows is None else UUID(int=1000 + follows),
        counters=ReportedCounters(run_count=number),
    )


def _new_flow(id: UUID, name: str) -> Command:
    return CreateFlow(caller=CALLER, id=id, name=name, tags=[], labels={})


def _new_task_run(id: UUID, flow_run: UUID | None, type: str, tags: list[str]) -> Command:
    command = create_task_run(flow_run, id=id, dynamic_key=str(id), state=proposed(type))
    object.__setattr__(command, "facts", command.facts.model_copy(update={"tags": tags}))
    return command


def _new_background_run(id: UUID, type: str) -> Command:
    return create_task_run(None, id=id, dynamic_key=str(id), state=proposed(type, deferred=True))


def _new_limit(id: UUID, name: str, slots: int, decay: float) -> Command:
    return CreateLimit(caller=CALLER, id=id, facts=LimitChanges(name=name, limit=slots, slot_decay_per_second=decay))


def _take_slots(id: UUID, name: str, lease: float | None, holder: UUID | None) -> Command:
    held_by = None if holder is None else Holder(type="task_run", id=holder)
    return TakeSlots(caller=CALLER, id=id, names=(name,), slots=1, lease_seconds=lease, holder=held_by)


def _new_run_in_queue(id: UUID, pool: str, queue: str | None) -> Command:
    command = create_flow_run(FLOWS[0], state=proposed("SCHEDULED"), work_pool_name=pool, work_queue_name=queue)
    object.__setattr__(command, "id", id)
    return command


def _new_pool(id: UUID, name: str) -> Command:
    return CreateWorkPool(caller=CALLER, id=id, name=name, type="process", settings=WorkPoolSettings())


def _new_queue(id: UUID, pool: str | None, name: str, priority: int | None) -> Command:
    named = WorkQueueSettings(name=name)
    return CreateWorkQueue(caller=CALLER, id=id, pool_name=pool, settings=named, priority=priority)


BLOCK_TYPE, BLOCK_SCHEMA, OTHER_SCHEMA = UUID(int=61), UUID(int=62), UUID(int=65)
blocks = st.sampled_from([UUID(int=63), UUID(int=64)])
variables = st.sampled_from("uv")
policies = st.sampled_from([UUID(int=66), UUID(int=67)])
terms = st.builds(
    PolicyTerms,
    state_names=st.lists(st.sampled_from(["Failed", "Crashed"]), max_size=2),
    tags=tags,
    block_document_id=st.none() | blocks,
    url=st.none() | st.just(SealedUrl(sealed="gCCCC", shown="https://example.com/********")),
)
descriptions = st.builds(BlockTypeDescription, description=st.none() | st.just("d"))


def _new_deployment(
    id: UUID, slots: int | None, given: list[GivenSchedule], pool: str | None, queue: str | None
) -> Command:
    return CreateDeployment(
        caller=CALLER,
        id=id,
        flow_id=FLOWS[0],
        name="d",
        settings=DeploymentSettings(concurrency_limit=slots),
        references=References(work_pool_name=pool, work_queue_name=queue),
        schedules=given,
    )


def _planned(run: UUID, schedule: UUID, version: int, hours: int) -> Command:
    planned = PlannedRun(run, "planned", schedule, Clock()() + timedelta(hours=hours))
    return PlanRuns(caller=CALLER, deployment_id=DEPLOYMENT, flow_id=FLOWS[0], version=version, planned=(planned,))


def _new_block(id: UUID, name: str, refers_to: UUID | None) -> Command:
    content = BlockContent(sealed="gAAAA", references={} if refers_to is None else {"inner": refers_to})
    ids = {"block_type_id": BLOCK_TYPE, "block_schema_id": BLOCK_SCHEMA}
    return CreateBlockDocument(caller=CALLER, id=id, name=name, is_anonymous=False, content=content, **ids)


def _changed_block(id: UUID, seen: int, schema: UUID) -> Command:
    return UpdateBlockDocument(
        caller=CALLER, id=id, seen=seen, block_schema_id=schema, content=BlockContent(sealed="gBBBB")
    )


kept = st.one_of(
    asked(CreateBlockType, id=st.just(BLOCK_TYPE), name=st.just("t"), slug=st.just("t"), description=descriptions),
    asked(UpdateBlockType, id=st.just(BLOCK_TYPE), changes=descriptions),
    asked(
        CreateBlockSchema,
        id=st.sampled_from([BLOCK_SCHEMA, OTHER_SCHEMA]),
        block_type_id=st.just(BLOCK_TYPE),
        fields=st.sampled_from([{"title": "t"}, {"title": "u"}]),
        capabilities=st.just(["c"]),
        version=st.just("1"),
    ),
    st.builds(_new_block, blocks, st.sampled_from("xy"), st.none() | blocks),
    st.builds(_changed_block, blocks, st.integers(1, 2), st.sampled_from([BLOCK_SCHEMA, OTHER_SCHEMA])),
    asked(DeleteBlockDocument, id=blocks),
    asked(DeleteBlockSchema, id=st.just(BLOCK_SCHEMA)),
    asked(DeleteBlockType, id=st.just(BLOCK_TYPE)),
    asked(
        CreateVariable, id=st.uuids(), facts=st.builds(VariableFacts, name=variables, value=st.none() | st.text("a"))
    ),
    asked(UpdateVariable, variable=variables, changes=st.builds(VariableFacts, name=variables)),
    asked(DeleteVariable, variable=variables),
    asked(CreateNotificationPolicy, id=policies, terms=terms),
    asked(UpdateNotificationPolicy, id=policies, changes=terms),
    asked(UpdateNotificationPolicy, id=policies, changes=st.builds(PolicyTerms, is_active=st.booleans())),
    asked(DeleteNotificationPolicy, id=policies),
    asked(SaveSearch, id=st.uuids(), name=variables, filters=st.just([])),
    asked(DeleteFlow, id=st.just(FLOWS[1])),
)

commands = st.one_of(
    kept,
    st.builds(_new_flow, st.sampled_from(FLOWS), st.sampled_from("ab")),
    asked(UpdateFlow, id=st.sampled_from(FLOWS), tags=tags),
    st.builds(_new_flow_run, runs, st.none() | tasks, types, tags, st.integers(0, 2), st.none() | st.just("k")),
    st.builds(_new_run_in_queue, runs, pools, queues),
    st.builds(_new_task_run, tasks, st.none() | runs, types, tags),
    st.builds(_new_limit, st.sampled_from(LIMITS), limit_names, st.integers(0, 2), st.sampled_from([0, 0.5])),
    st.builds(_take_slots, leases | st.uuids(), limit_names, st.none() | st.just(60.0), st.none() | tasks),
    asked(RenewLease, lease_id=leases, seconds=st.just(60.0)),
    asked(EndLease, lease_id=leases),
    asked(ReturnSlots, names=st.tuples(limit_names), slots=st.integers(1, 2), holder_id=st.none() | tasks),
    asked(UpdateLimit, limit=limit_names, changes=st.builds(LimitChanges, limit=counts, active_slots=counts)),
    asked(UpdateLimit, limit=limit_names, changes=st.builds(LimitChanges, name=limit_names)),
    asked(ResetLimit, limit=limit_names, task_runs=st.tuples(tasks)),
    asked(DeleteLimit, limit=limit_names),
    st.builds(_new_deployment, deployment, slots, st.lists(given_schedules, max_size=2), st.none() | pools, queues),
    st.builds(_new_pool, st.uuids(), pools),
    st.builds(_new_queue, st.uuids(), st.none() | pools, st.sampled_from("qr"), st.none() | st.integers(1, 3)),
    asked(UpdateWorkPool, name=pools, changes=st.builds(WorkPoolSettings, is_paused=st.booleans())),
    asked(UpdateWorkQueue, names=st.tuples(pools, st.sampled_from("qr")), changes=queue_changes),
    asked(DeleteWorkQueue, names=st.tuples(pools, st.sampled_from("qr"))),
    asked(DeleteWorkPool, name=pools),
    asked(DeleteDeployment, id=deployment),
    asked(AddSchedules, id=deployment, given=st.tuples(given_schedules)),
    asked(ChangeSchedule, id=deployment, schedule_id=schedule_ids, changes=schedule_changes),
    asked(RemoveSchedule, id=deployment, schedule_id=schedule_ids),
    asked(PauseDeployment, id=deployment, paused=st.booleans()),
    st.builds(_planned, runs | st.uuids(), schedule_ids, st.integers(1, 6), st.integers(1, 3)),
    st.builds(_new_background_run, tasks, types),
    asked(HandOutTaskRun, id=tasks, subscriber=st.sampled_from("ab"), seconds=st.just(30.0)),
    asked(TakeTaskRun, id=tasks, subscriber=st.sampled_from("ab")),
    asked(HandBackTaskRun, id=tasks, subscriber=st.sampled_from("ab")),
    asked(SetTaskRunState, id=tasks, state=cached_states, force=forced),
    asked(SetFlowRunState, id=runs, state=types.map(proposed), force=forced),
    asked(SetTaskRunState, id=tasks, state=types.map(proposed), force=forced),
    asked(UpdateFlowRun, id=runs, changes=st.builds(FlowRunChanges, name=st.sampled_from("xy"), tags=tags)),
    asked(LabelFlowRun, id=runs, labels=st.dictionaries(st.sampled_from("lm"), st.booleans(), max_size=2)),
    asked(UpdateTaskRun, id=tasks, name=st.sampled_from("xy")),
    asked(WriteFlowRunInput, id=runs, input_id=st.uuids(), key=input_keys, value=st.text("ab"), sender=st.none()),
    asked(DeleteFlowRunInput, id=runs, key=input_keys),
    asked(ResumeFlowRun, id=runs, state_id=st.uuids(), run_input=st.none()),
    asked(DeleteFlowRun, id=runs),
    asked(DeleteTaskRun, id=tasks),
    st.builds(_report, tasks, runs, types, st.integers(0, 5), st.none() | st.integers(0, 5)),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(commands, min_size=1, max_size=8), min_size=1, max_size=6))
def test_read_tables_equal_the_fold_of_the_events(conninfo: str, batches: list[list[Command]]) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(statements.clear([table.name for table in TABLES]))
        connection.execute(statements.NEW_IDENTITY)
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=Clock()) as ledger:
        for batch in [[CreateFlow(caller=CALLER, id=FLOWS[0], name="f", tags=[], labels={})], *batches]:
            outcomes = ledger.execute(lambda batch=batch: batch)
            assert len(outcomes) == len(batch)
    check_ledger(conninfo)
