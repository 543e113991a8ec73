"""The data that queries are measured on: streams of events, the same for the same number of flow runs.

The flow runs are of 50 flows, with 20 tags, over one day; 85 % completed, 10 % failed, 5 % running. Up to 10,000 of
them, evenly spread, have five task runs; three more, of the flows graph-1, graph-100 and graph-1000, have that many,
each depending on one to three of the twenty before it. All have their whole history of states.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from domain.events import Event
from domain.flow import FlowCreated
from domain.flow_run import FlowRunCreated, FlowRunStateSet
from domain.run_policy import FlowRunPolicy, TaskRunPolicy
from domain.states import State, StateDetails, StateType
from domain.task_run import TaskRunCreated, TaskRunResult, TaskRunStateSet

DAY = datetime(2026, 11, 21, tzinfo=UTC)
RECORDED = DAY + timedelta(days=1)
FLOWS, TAGS, WITH_TASKS, GRAPHS = 50, 20, 10_000, (1, 100, 1000)
ACTOR = "benchmark"
NAMES = {type: type.value.capitalize() for type in StateType}

Stream = list[Event]


class Dataset:
    """The streams of so many flow runs, flows before runs and a run before its task runs."""

    def __init__(self, flow_runs: int, seed: int = 7) -> None:
        self._number = flow_runs
        self._random = random.Random(seed)  # noqa: S311 - data, not secrets
        self._made = 0

    def streams(self) -> Iterator[Stream]:
        names = [f"flow-{number}" for number in range(FLOWS)] + [f"graph-{size}" for size in GRAPHS]
        flows = [self._id() for _ in names]
        for id, name in zip(flows, names, strict=True):
            yield [FlowCreated(**_head(id, 1), name=name, tags=[], labels={})]
        every = max(1, self._number // WITH_TASKS)
        for number in range(self._number):
            yield from self._flow_run(flows, number, number % every == 0 and number // every < WITH_TASKS)
        for flow, size in zip(flows[FLOWS:], GRAPHS, strict=True):
            yield from self._graph(flow, size)

    def _flow_run(self, flows: Sequence[UUID], number: int, with_tasks: bool) -> Iterator[Stream]:
        draw = self._random
        share = draw.random()
        last = StateType.COMPLETED if share < 0.85 else StateType.FAILED if share < 0.95 else StateType.RUNNING
        expected = DAY + timedelta(seconds=draw.uniform(0, 86_000))
        flow = flows[draw.randrange(FLOWS)]
        tags = [f"tag-{number % TAGS}", f"tag-{(number * 7 + 3) % TAGS}"]
        wait, duration = draw.uniform(0.5, 5), min(3600.0, draw.lognormvariate(3, 1))
        states = self._states(expected, wait, duration, last, scheduled=True)
        id = self._id()
        yield _run(id, flow, f"run-{number}", tags, {"x": number, "name": "marvin"}, states)
        if with_tasks:
            upstream: list[UUID] = []
            for place in range(5):
                task = self._id()
                fails = last is StateType.FAILED and place == 4
                ended = StateType.FAILED if fails else StateType.COMPLETED
                yield self._task(task, id, flow, place, expected + timedelta(seconds=wait + place), upstream, ended)
                upstream = [task]

    def _graph(self, flow: UUID, size: int) -> Iterator[Stream]:
        expected = DAY + timedelta(seconds=60)
        id = self._id()
        states = self._states(expected, 1, 3600, StateType.COMPLETED, scheduled=True)
        yield _run(id, flow, f"graph-{size}", ["graph"], {}, states)
        tasks: list[UUID] = []
        for place in range(size):
            upstream = self._random.sample(tasks[-20:], min(len(tasks), self._random.randint(1, 3)))
            tasks.append(self._id())
            begin = expected + timedelta(seconds=1 + place)
            yield self._task(tasks[-1], id, flow, place, begin, upstream, StateType.COMPLETED)

    def _task(
        self, id: UUID, run: UUID, flow: UUID, place: int, expected: datetime, upstream: Sequence[UUID], last: StateType
    ) -> Stream:
        created = TaskRunCreated(
            **_head(id, 1),
            flow_run_id=run,
            flow_id=flow,
            name=f"task-{place}",
            task_key=f"task-{place % 10}",
            dynamic_key=str(place),
            task_inputs={"x": [TaskRunResult(id=one) for one in upstream]},
            empirical_policy=TaskRunPolicy(),
        )
        states = self._states(expected, 0.1, self._random.uniform(0.5, 5), last, scheduled=False)
        details = StateDetails(flow_run_id=run, task_run_id=id)
        entered = (state.model_copy(update={"state_details": details}) for state in states)
        return [created, *(TaskRunStateSet(**_head(id, 2 + n), state=state) for n, state in enumerate(entered))]

    def _states(
        self, expected: datetime, wait: float, duration: float, last: StateType, *, scheduled: bool
    ) -> list[State]:
        course = [(StateType.SCHEDULED, expected)] if scheduled else []
        course += [
            (StateType.PENDING, expected + timedelta(seconds=wait / 2)),
            (StateType.RUNNING, expected + timedelta(seconds=wait)),
        ]
        if last is not StateType.RUNNING:
            course.append((last, expected + timedelta(seconds=wait + duration)))
        return [
            State(
                id=self._id(),
                type=type,
                name=NAMES[type],
                timestamp=time,
                state_details=StateDetails(scheduled_time=time if type is StateType.SCHEDULED else None),
            )
            for type, time in course
        ]

    def _id(self) -> UUID:
        """Ids that sort in the order in which they are made, as those of the ledger do."""
        self._made += 1
        value = (self._made << 80) | self._random.getrandbits(76)
        return UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)


def _run(id: UUID, flow: UUID, name: str, tags: list[str], parameters: dict[str, Any], states: list[State]) -> Stream:
    created = FlowRunCreated(
        **_head(id, 1),
        flow_id=flow,
        name=name,
        parameters=parameters,
        context={},
        tags=tags,
        labels={"prefect.flow.id": str(flow)},
        empirical_policy=FlowRunPolicy(),
    )
    entered = (
        state.model_copy(update={"state_details": state.state_details.model_copy(update={"flow_run_id": id})})
        for state in states
    )
    return [created, *(FlowRunStateSet(**_head(id, 2 + n), state=state) for n, state in enumerate(entered))]


def _head(id: UUID, version: int) -> dict[str, Any]:
    return {"originator_id": id, "originator_version": version, "recorded_at": RECORDED, "actor": ACTOR}
