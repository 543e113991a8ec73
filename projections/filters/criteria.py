"""What a filter can ask of one field, as clients write it, and the SQL that each question stands for.

An empty list given to `any_` matches nothing, one given to `not_any_` or `all_` everything. A null field fits no list
that holds something, neither of `any_` nor of `not_any_`. Both ends of a range of times belong to it; a time without an
offset is in UTC. Source: answers of server 3.8.8 on PostgreSQL, where however `%` and `_` in `like_` are wildcards.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, LiteralString
from uuid import UUID

from psycopg import sql
from pydantic import BaseModel, ConfigDict

from domain.states import StateType
from domain.times import Time
from projections.filters.condition import Condition, Operator, compare, joined
from projections.tag_keys import keys_of_tags

Test = Callable[[sql.Composable, Any], Condition]


def partial_match(text: str) -> str:
    """The pattern by which LIKE finds a text anywhere in another, its wildcards meaning themselves."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _any(column: sql.Composable, values: list[Any]) -> Condition:
    # With `=` an index on the column and a time gives rows in order of the time; with ANY they would have to be sorted.
    if len(values) == 1:
        return compare("{} = %s", column, values[0])
    return compare("{} = ANY(%s)", column, values)


def _begins_with_any(column: sql.Composable, beginnings: list[str]) -> Condition:
    patterns = [partial_match(beginning).removeprefix("%") for beginning in beginnings]
    return compare("{} ILIKE ANY(%s)", column, patterns)


def _not_any(column: sql.Composable, values: list[Any]) -> Condition:
    return compare("{} <> ALL(%s)", column, values)


def _is_null(column: sql.Composable, wanted: bool) -> Condition:
    return compare("{} IS NULL" if wanted else "{} IS NOT NULL", column)


def _is_empty(column: sql.Composable, wanted: bool) -> Condition:
    return compare("{} = '{{}}'" if wanted else "{} <> '{{}}'", column)


def _with_tags(template: LiteralString, column: sql.Composable, tags: list[str]) -> Condition:
    # Rows without tags are not in the index; that none of them is meant is not plain to PostgreSQL by itself.
    asked = compare(template, column, keys_of_tags(tags))
    return joined(Operator.AND, [asked, _is_empty(column, False)]) if tags else asked


def _at_least(column: sql.Composable, value: Any) -> Condition:
    return compare("{} >= %s", column, value)


def _at_most(column: sql.Composable, value: Any) -> Condition:
    return compare("{} <= %s", column, value)


class Criteria(BaseModel):
    """What a filter asks of one field; subclasses name the questions. A question that is null is not asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    TESTS: ClassVar[Mapping[str, Test]] = {
        "any_": _any,
        "not_any_": _not_any,
        "is_null_": _is_null,
        "like_": lambda column, text: compare("{} ILIKE %s", column, partial_match(text)),
        "startswith_": _begins_with_any,
        "after_": _at_least,
        "before_": _at_most,
        "ge_": _at_least,
        "le_": _at_most,
    }

    def conditions(self, table: str, column: str) -> Iterator[Condition]:
        """One condition for each question, of a column of a table that the statement speaks of by that name."""
        identifier = sql.Identifier(table, column)
        for question, value in self:
            if question != "operator" and value is not None:
                yield self.TESTS[question](identifier, value)

    def condition(self, table: str, column: str) -> Condition:
        """All questions as one."""
        return joined(Operator.AND, self.conditions(table, column))


class JoinedCriteria(Criteria):
    """Criteria whose caller says how they are joined."""

    operator: Operator = Operator.AND

    def condition(self, table: str, column: str) -> Condition:
        return joined(self.operator, self.conditions(table, column))


class AnyId(Criteria):
    any_: list[UUID] | None = None


class AnyOrNotAnyId(AnyId):
    not_any_: list[UUID] | None = None


class AnyOrNoId(JoinedCriteria):
    any_: list[UUID] | None = None
    is_null_: bool | None = None


class AnyText(Criteria):
    any_: list[str] | None = None


class AnyOrNotAnyText(AnyText):
    not_any_: list[str] | None = None


class Name(AnyText):
    like_: str | None = None


class AnyOrNoText(JoinedCriteria):
    any_: list[str] | None = None
    is_null_: bool | None = None


class TimeRange(Criteria):
    before_: Time | None = None
    after_: Time | None = None


class TimeRangeOrNone(TimeRange):
    is_null_: bool | None = None


class AnyStateType(Criteria):
    any_: list[StateType] | None = None


class AnyOrNotAnyStateType(AnyStateType):
    not_any_: list[StateType] | None = None


class StateCriteria(JoinedCriteria):
    """What the state a run is in must be; subclasses name its `type` and `name`, which are columns of the run's row."""

    def conditions(self, table: str, column: str) -> Iterator[Condition]:
        for field, criteria in self:
            if isinstance(criteria, Criteria):
                yield from criteria.conditions(table, f"{column}_{field}")


class Tags(JoinedCriteria):
    """`all_`: carries all these tags, and perhaps others. `is_null_`: carries none at all."""

    TESTS: ClassVar[Mapping[str, Test]] = {
        "all_": lambda column, tags: compare("{} @> %s", column, tags),
        "any_": lambda column, tags: compare("{} && %s", column, tags),
        "is_null_": _is_empty,
    }

    all_: list[str] | None = None
    is_null_: bool | None = None


class AnyOrAllTags(Tags):
    any_: list[str] | None = None


class TagsOfRun(Tags):
    """The same of runs, whose tags are looked for by their keys."""

    TESTS: ClassVar[Mapping[str, Test]] = {
        "all_": lambda column, tags: _with_tags("{} @> %s", column, tags),
        "any_": lambda column, tags: _with_tags("{} && %s", column, tags),
        "is_null_": _is_empty,
    }


class AnyOrAllTagsOfRun(TagsOfRun):
    any_: list[str] | None = None


class NameOfQueue(Criteria):
    """What the work queue of something is called, or was when it was there; only rows with its id have one."""

    def conditions(self, table: str, column: str) -> Iterator[Condition]:
        name = sql.SQL(
            "coalesce((SELECT own_queue.name FROM read.work_queues AS own_queue WHERE own_queue.id = {}), {})"
        ).format(sql.Identifier(table, "work_queue_id"), sql.Identifier(table, column))
        for question, value in self:
            if question != "operator" and value is not None:
                yield self.TESTS[question](name, value)


class Entity(BaseModel):
    """A filter of one kind of thing: criteria for its fields. A field has the name of its column, or `COLUMNS` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    TABLE: ClassVar[str]
    COLUMNS: ClassVar[Mapping[str, str]] = {}

    operator: Operator = Operator.AND

    def condition(self) -> Condition:
        """The filter as a condition on the rows of its table."""
        return joined(
            self.operator,
            [
                criteria.condition(self.TABLE, self.COLUMNS.get(field, field))
                for field, criteria in self
                if isinstance(criteria, Criteria)
            ],
        )
