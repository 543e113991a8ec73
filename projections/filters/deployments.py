"""The filter of deployments."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from psycopg import sql

from projections.filters.condition import Condition, Operator, compare, exists, joined
from projections.filters.criteria import (
    AnyOrAllTags,
    AnyOrNotAnyId,
    AnyText,
    Criteria,
    Entity,
    Name,
    NameOfQueue,
    Test,
    partial_match,
)

FLOW = "FROM read.flows AS own_flow WHERE own_flow.id = deployments.flow_id"


class Paused(Criteria):
    TESTS: ClassVar[Mapping[str, Test]] = {"eq_": lambda column, value: compare("{} = %s", column, value)}

    eq_: bool | None = None


class ScheduleActive(Criteria):
    """What clients before 3.x ask in the place of `paused`."""

    TESTS: ClassVar[Mapping[str, Test]] = {"eq_": lambda column, value: compare("{} <> %s", column, value)}

    eq_: bool | None = None


class SlotCount(Criteria):
    """How many slots the limit of a deployment has."""

    ge_: int | None = None
    le_: int | None = None
    is_null_: bool | None = None


class EitherName(Criteria):
    """What the name of a deployment or that of its flow has in it."""

    like_: str | None = None

    def conditions(self, table: str, column: str) -> Iterator[Condition]:
        if self.like_ is not None:
            pattern = partial_match(self.like_)
            own = Condition(sql.SQL("deployments.name ILIKE %s"), (pattern,))
            of_flow = exists(FLOW, Condition(sql.SQL("own_flow.name ILIKE %s"), (pattern,)))
            yield joined(Operator.OR, [own, of_flow])


class QueueOfDeployment(NameOfQueue, AnyText):
    pass


class DeploymentFilter(Entity):
    """Which deployments are meant. Fields and their meaning are those of server 3.9.1, and one of server 2.7.12."""

    TABLE: ClassVar[str] = "deployments"
    COLUMNS: ClassVar[Mapping[str, str]] = {"is_schedule_active": "paused"}

    id: AnyOrNotAnyId | None = None
    name: Name | None = None
    flow_or_deployment_name: EitherName | None = None
    paused: Paused | None = None
    is_schedule_active: ScheduleActive | None = None
    tags: AnyOrAllTags | None = None
    work_queue_name: QueueOfDeployment | None = None
    concurrency_limit: SlotCount | None = None
