"""The filter of events, and the conditions in SQL that it stands for in each source of the feed.

An empty list asks for nothing, unlike elsewhere in the dialect, but for one of values of a label, which no label has.
Labels are compared by patterns: `*` stands for any text, `?` for one character, and a `!` before a pattern for those
that it does not fit; a resource without the label fits neither. Source: filters of server 3.9.1.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from psycopg import sql
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from domain.times import Time
from projections.filters.condition import Condition, Operator, compare, joined, negated
from projections.filters.criteria import partial_match
from projections.filters.logs import LONGEST_QUERY, TERM

OLDEST = timedelta(days=180)
"""How far back events are looked for where a filter does not say. Source: server 3.9.1."""

RESOURCE_ID = "prefect.resource.id"
ROLE = "prefect.resource.role"
NOTHING = Condition(sql.SQL("false"))
PATTERN = str.maketrans({"*": "%", "?": "_", "\\": "\\\\", "%": "\\%", "_": "\\_"})

Labels = dict[str, str | list[str]]


class EventOrder(StrEnum):
    """In which order of time events are listed."""

    ASC = "ASC"
    DESC = "DESC"


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _long_ago() -> datetime:
    return _utc_now().replace(hour=0, minute=0, second=0, microsecond=0) - OLDEST


def _listed(value: Any) -> Any:
    return value if value is None or isinstance(value, list) else [value]


class Part(BaseModel):
    """One part of a filter of events."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Occurred(Part):
    """Between which times events occurred, both included."""

    since: Time = Field(default_factory=_long_ago)
    until: Time = Field(default_factory=_utc_now)


class EventName(Part):
    prefix: list[str] | None = None
    exclude_prefix: list[str] | None = None
    name: list[str] | None = None
    exclude_name: list[str] | None = None


class AnyResource(Part):
    """Which resources are meant: with one of these ids, with ids that begin like this, with these labels."""

    id: list[str] | None = None
    id_prefix: list[str] | None = None
    labels: Labels | None = None


class Resource(AnyResource):
    """`distinct` asks for one event of each resource, the first in the order of the list."""

    distinct: bool = False


class Related(Part):
    id: list[str] | None = None
    role: list[str] | None = None
    resources_in_roles: list[tuple[str, str]] | None = None
    labels: Labels | None = None


class EventId(Part):
    id: list[UUID] | None = None


class EventText(Part):
    """Words to look for anywhere in an event, as in the filter of log lines."""

    query: str = Field(max_length=LONGEST_QUERY)


class EventFilter(Part):
    """Which events are meant. Fields and their meaning are those of server 3.9.1."""

    occurred: Occurred = Field(default_factory=Occurred)
    event: EventName | None = None
    resource: Resource | None = None
    related: Annotated[list[Related] | None, BeforeValidator(_listed)] = None
    any_resource: Annotated[list[AnyResource] | None, BeforeValidator(_listed)] = None
    id: EventId = Field(default_factory=EventId)
    text: EventText | None = None
    order: EventOrder = EventOrder.DESC

    @property
    def distinct(self) -> bool:
        return self.resource is not None and self.resource.distinct


class EventSource(ABC):
    """A source of the feed, as filters see it: in which SQL each field of its events is found.

    `occurred` and `id` are columns, `resource` and `related` are JSON; `text` is all that words are looked for in.
    """

    occurred: sql.Composable
    id: sql.Composable
    resource: sql.Composable
    related: sql.Composable

    @property
    @abstractmethod
    def text(self) -> sql.Composable: ...

    @abstractmethod
    def named(self, name: str) -> Condition:
        """Events of one name."""

    @abstractmethod
    def name_begins(self, prefix: str) -> Condition:
        """Events whose name begins like this."""

    @abstractmethod
    def of_resource(self, id: str) -> Condition:
        """Events of the resource of that id."""

    @abstractmethod
    def resource_begins(self, prefix: str) -> Condition:
        """Events of resources whose id begins like this."""

    @abstractmethod
    def with_related(self, id: str) -> Condition:
        """Events with a related resource of that id, whatever its role."""


def event_conditions(filter: EventFilter, source: EventSource) -> Condition:
    """The filter as a condition on the rows of one source."""
    return joined(Operator.AND, _conditions(filter, source))


def _conditions(filter: EventFilter, source: EventSource) -> Iterator[Condition]:
    yield compare("{} >= %s", source.occurred, filter.occurred.since)
    yield compare("{} <= %s", source.occurred, filter.occurred.until)
    if filter.event is not None:
        yield from _names(filter.event, source)
    if filter.resource is not None:
        yield from _resource(filter.resource, source)
    for related in filter.related or ():
        yield from _related(related, source)
    for any_resource in filter.any_resource or ():
        yield from _any_resource(any_resource, source)
    if filter.id.id:
        yield compare("{} = ANY(%s)", source.id, filter.id.id)
    if filter.text is not None:
        yield from _text(filter.text, source)


def _names(names: EventName, source: EventSource) -> Iterator[Condition]:
    if names.prefix:
        yield _one_of(map(source.name_begins, names.prefix))
    if names.name:
        yield _one_of(map(source.named, names.name))
    yield from (negated(source.name_begins(prefix)) for prefix in names.exclude_prefix or ())
    yield from (negated(source.named(name)) for name in names.exclude_name or ())


def _resource(resource: Resource, source: EventSource) -> Iterator[Condition]:
    if resource.id:
        yield _one_of(map(source.of_resource, resource.id))
    if resource.id_prefix:
        yield _one_of(map(source.resource_begins, resource.id_prefix))
    if resource.labels:
        ids = _plain(resource.labels.get(RESOURCE_ID))
        if ids:
            # The same as the labels ask for, in a way that an index answers.
            yield _one_of(map(source.of_resource, ids))
        yield joined(Operator.AND, _labels(resource.labels, source.resource))


def _related(related: Related, source: EventSource) -> Iterator[Condition]:
    ids = (
        related.id
        or [id for id, _ in related.resources_in_roles or ()]
        or _plain((related.labels or {}).get(RESOURCE_ID))
    )
    if ids:
        yield _one_of(map(source.with_related, ids))
    fits = list(_labels_of_related(related))
    if fits:
        yield _among(source.related, fits)


def _labels_of_related(related: Related) -> Iterator[Condition]:
    candidate = sql.SQL("candidate")
    if related.id:
        yield compare("{} ->> 'prefect.resource.id' = ANY(%s)", candidate, related.id)
    if related.role:
        yield compare("{} ->> 'prefect.resource.role' = ANY(%s)", candidate, related.role)
    if related.resources_in_roles:
        yield _one_of(
            Condition(
                sql.SQL("(candidate ->> 'prefect.resource.id' = %s AND candidate ->> 'prefect.resource.role' = %s)"),
                (id, role),
            )
            for id, role in related.resources_in_roles
        )
    if related.labels:
        yield joined(Operator.AND, _labels(related.labels, candidate))


def _any_resource(wanted: AnyResource, source: EventSource) -> Iterator[Condition]:
    ids = wanted.id or _plain((wanted.labels or {}).get(RESOURCE_ID))
    if ids:
        yield _one_of([*map(source.of_resource, ids), *map(source.with_related, ids)])
    candidate = sql.SQL("candidate")
    fits: list[Condition] = []
    if wanted.id:
        fits.append(compare("{} ->> 'prefect.resource.id' = ANY(%s)", candidate, wanted.id))
    if wanted.id_prefix:
        fits.append(
            _one_of(compare("starts_with({} ->> 'prefect.resource.id', %s)", candidate, p) for p in wanted.id_prefix)
        )
    if wanted.labels:
        fits.append(joined(Operator.AND, _labels(wanted.labels, candidate)))
    if fits and (wanted.id_prefix or wanted.labels):
        everything = sql.SQL("json_build_array({}) ").format(source.resource)
        yield joined(Operator.OR, [_among(everything, fits), _among(source.related, fits)])


def _among(array: sql.Composable, fits: Sequence[Condition]) -> Condition:
    """Whether some element of a JSON array fits."""
    inner = joined(Operator.AND, fits)
    text = sql.SQL("EXISTS (SELECT 1 FROM json_array_elements({}) AS among(candidate) WHERE {})")
    return Condition(text.format(array, inner.text), inner.values)


def _labels(labels: Labels, resource: sql.Composable) -> Iterator[Condition]:
    for label, wanted in labels.items():
        patterns = [wanted] if isinstance(wanted, str) else wanted
        yield _one_of(_fits(resource, label, pattern) for pattern in patterns)


def _fits(resource: sql.Composable, label: str, pattern: str) -> Condition:
    operator = "NOT LIKE" if pattern.startswith("!") else "LIKE"
    text = sql.SQL("({} ->> %s) " + operator + " %s").format(resource)
    return Condition(text, (label, pattern.removeprefix("!").translate(PATTERN)))


def _plain(wanted: str | list[str] | None) -> list[str]:
    """The values of a label where all are plain texts, without any pattern; else none."""
    values = [wanted] if isinstance(wanted, str) else wanted or []
    return [] if any(set(value) & set("*?") or value.startswith("!") for value in values) else values


def _text(text: EventText, source: EventSource) -> Iterator[Condition]:
    plain: list[Condition] = []
    for sign, quoted, word in TERM.findall(text.query):
        if not (quoted or word):
            continue
        found = compare("{} ILIKE %s", source.text, partial_match(quoted or word))
        match sign:
            case "+":
                yield found
            case "-" | "!":
                yield negated(found)
            case _:
                plain.append(found)
    yield joined(Operator.OR, plain)


def _one_of(conditions: Iterable[Condition]) -> Condition:
    """One of the conditions holds; none at all never does."""
    parts = list(conditions)
    return joined(Operator.OR, parts) if parts else NOTHING
