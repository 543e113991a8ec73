"""The filter of log lines."""

import re
from collections.abc import Iterator
from typing import ClassVar

from psycopg import sql
from pydantic import Field

from projections.filters.condition import Condition, Operator, joined, negated
from projections.filters.criteria import AnyId, Criteria, Entity, TimeRange, partial_match

LONGEST_QUERY = 200

TERM = re.compile(r'([-!+]?)(?:"([^"]*)"?|([^\s"]*))')
"""A word, or words in quotes (the last quote may be missing), perhaps after a sign; or nothing, which is skipped."""


class TaskRunOfLog(AnyId):
    """Of which task runs, or of none: what the flow itself says."""

    is_null_: bool | None = None


class Level(Criteria):
    """From which level to which, both included."""

    ge_: int | None = None
    le_: int | None = None


class TextSearch(Criteria):
    """Words to look for in the message and in the logger's name, in any case and anywhere in a word.

    One of the plain words must be there, each word after a `+`, and none after a `-` or `!`; quoted words are one word.
    Source: answers of server 3.8.8.
    """

    query: str = Field(max_length=LONGEST_QUERY)

    def conditions(self, table: str, column: str) -> Iterator[Condition]:
        plain: list[Condition] = []
        for sign, quoted, word in TERM.findall(self.query):
            if not (quoted or word):
                continue
            found = _contains(table, quoted or word)
            match sign:
                case "+":
                    yield found
                case "-" | "!":
                    yield negated(found)
                case _:
                    plain.append(found)
        yield joined(Operator.OR, plain)


def _contains(table: str, text: str) -> Condition:
    message, name = sql.Identifier(table, "message"), sql.Identifier(table, "name")
    pattern = partial_match(text)
    return Condition(sql.SQL("({} ILIKE %s OR {} ILIKE %s)").format(message, name), (pattern, pattern))


class LogFilter(Entity):
    """Which log lines are meant. Fields and their meaning are those of server 3.9.1."""

    TABLE: ClassVar[str] = "logs"

    level: Level | None = None
    timestamp: TimeRange | None = None
    flow_run_id: AnyId | None = None
    task_run_id: TaskRunOfLog | None = None
    text: TextSearch | None = None
