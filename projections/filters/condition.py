"""A condition on rows: a piece of SQL and the values bound to its placeholders, which meet only in PostgreSQL."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, LiteralString

from psycopg import sql


class Operator(StrEnum):
    """How the parts of a filter are joined: all of them must hold, or at least one."""

    AND = "and_"
    OR = "or_"


@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean expression with one `%s` for each of its values, in their order."""

    text: sql.Composable
    values: tuple[Any, ...] = ()


EVERY_ROW = Condition(sql.SQL("true"))

_JOINTS = {Operator.AND: sql.SQL(" AND "), Operator.OR: sql.SQL(" OR ")}


def joined(operator: Operator, conditions: Iterable[Condition]) -> Condition:
    """The conditions as one. No condition at all holds for every row, whatever the operator."""
    parts = list(conditions)
    if not parts:
        return EVERY_ROW
    text = sql.SQL("({})").format(_JOINTS[operator].join(part.text for part in parts))
    return Condition(text, tuple(value for part in parts for value in part.values))


def compare(template: LiteralString, column: sql.Composable, *values: Any) -> Condition:
    """A test of one column: a template with `{}` in the place of the column and one `%s` a value."""
    return Condition(sql.SQL(template).format(column), values)


def exists(template: LiteralString, *conditions: Condition) -> Condition:
    """Whether a row of other tables is there: a template of FROM and WHERE, and what else must hold of that row."""
    inner = joined(Operator.AND, conditions)
    return Condition(sql.SQL("EXISTS (SELECT 1 {} AND {})").format(sql.SQL(template), inner.text), inner.values)


def negated(condition: Condition) -> Condition:
    """Rows for which the condition is false; a condition that is neither (null) is not."""
    return Condition(sql.SQL("(NOT {})").format(condition.text), condition.values)
