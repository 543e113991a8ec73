"""Filters of events mean in SQL what they mean in plain Python, for events of runs and those of clients alike."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.embedded_postgres import EmbeddedPostgres
from domain.ids import new_id
from domain.states import State, StateType
from projections.client_events import ClientEvent, write_client_events
from projections.event_counts import Countable, TimeUnit, TooManyStretches, count_events_by
from projections.feed import count_events, read_events
from projections.filters.events import EventFilter
from tests.projections.event_model import expected
from tests.projections.seeding import NOON, Books, at, copy_of

ALWAYS = {"since": at(-1000).isoformat(), "until": at(1000).isoformat()}


@pytest.fixture(scope="module")
def books(postgres: EmbeddedPostgres, template_database: str) -> Iterator[Books]:
    """Two flows with runs and task runs, some of which clients reported, and events that clients sent."""
    with copy_of(template_database, postgres.conninfo) as conninfo, Books(conninfo) as books:
        for number, flow in enumerate((books.flow("etl", "nightly"), books.flow("a%b_c"))):
            run = books.flow_run(flow, f"run-{number}", "red", f"tag-{number}")
            books.now += timedelta(seconds=5)
            books.set_flow_run(run, "RUNNING")
            task = books.task_run(run, f"task-{number}", "blue")
            books.set_task_run(task, "RUNNING")
            reported = books.report(run, f"reported-{number}")
            late = State(id=new_id(), type=StateType.COMPLETED, name="Completed", timestamp=at(2), message="late")
            books.report(run, f"reported-{number}", state=late, id=reported)
            books.now += timedelta(seconds=5)
            books.set_flow_run(run, "PAUSED", "Suspended", pause_reschedule=True)
        books.ask(write_client_events, [sent(n) for n in range(6)])
        yield books


def sent(number: int) -> ClientEvent:
    return ClientEvent(
        id=new_id(),
        occurred=at(number % 4),
        event=f"my.{'thing' if number % 2 else 'other_thing'}.happened",
        resource={"prefect.resource.id": f"my.thing.{number % 3}", "prefect.resource.name": "Thing", "size": "1%"},
        related=[{"prefect.resource.id": f"my.owner.{number}", "prefect.resource.role": "owner"}] if number else [],
        payload={"n": number, "word": "Grüße"},
    )


def read(books: Books, asked: dict[str, Any], limit: int = 1000, **more: Any) -> list[dict[str, Any]]:
    found = books.ask(read_events, EventFilter.model_validate({"occurred": ALWAYS} | asked), limit, **more)
    return [json.loads(one.document) for one in found]


@pytest.fixture(scope="module")
def events(books: Books) -> list[dict[str, Any]]:
    return read(books, {})


def texts(events: list[dict[str, Any]]) -> dict[str, list[str]]:
    """What filters may name of the events there are: by the field of the filter."""
    related = [labels for event in events for labels in event["related"]]
    resources = [event["resource"] for event in events]
    return {
        "name": sorted({event["event"] for event in events} | {"prefect.flow-run.Nothing", "x"}),
        "prefix": ["prefect.", "prefect.flow-run.R", "prefect.task-run.", "my.", "my.o", "p", "", "zzz"],
        "id": sorted({labels["prefect.resource.id"] for labels in [*related, *resources]} | {"prefect.flow.x"}),
        "id_prefix": ["prefect.flow-run.", "prefect.", "my.thing", "prefect.tag.re", "", "nothing"],
        "role": sorted({labels["prefect.resource.role"] for labels in related} | {"nobody"}),
    }


PATTERNS = st.sampled_from(
    ["*", "run-?", "!run-0", "a%b_c", "a*c", "Thing", "1%", "1?", "!1", "RUNNING", "!*", "?????"]
)
LABEL_NAMES = st.sampled_from(
    ["prefect.resource.name", "prefect.state-type", "prefect.run-count", "size", "prefect.resource.role", "nothing"]
)


def several(values: list[str]) -> st.SearchStrategy[Any]:
    return st.none() | st.lists(st.sampled_from(values), max_size=3)


def filters(events: list[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    known = texts(events)
    labels = st.none() | st.dictionaries(LABEL_NAMES, PATTERNS | st.lists(PATTERNS, max_size=2), max_size=2)
    ids = st.none() | st.dictionaries(st.just("prefect.resource.id"), st.sampled_from(known["id"]), min_size=1)
    any_resource = st.fixed_dictionaries(
        {"id": several(known["id"]), "id_prefix": several(known["id_prefix"]), "labels": labels | ids}
    )
    in_roles = st.none() | st.lists(
        st.tuples(st.sampled_from(known["id"]), st.sampled_from(known["role"])).map(list), max_size=2
    )
    related = st.fixed_dictionaries(
        {"id": several(known["id"]), "role": several(known["role"]), "resources_in_roles": in_roles}
    ) | st.fixed_dictionaries({"labels": labels | ids})
    rarely = st.none() | st.none()
    return st.fixed_dictionaries(
        {
            "occurred": st.tuples(st.integers(-1, 12), st.integers(-1, 30)).map(
                lambda ends: {"since": at(ends[0]).isoformat(), "until": at(ends[1]).isoformat()}
            )
            | st.just(ALWAYS),
            "event": rarely
            | st.fixed_dictionaries(
                {
                    "name": several(known["name"]),
                    "prefix": several(known["prefix"]),
                    "exclude_name": several(known["name"]),
                    "exclude_prefix": several(["prefect.flow-run.R", "my.", "zzz"]),
                }
            ),
            "resource": rarely | st.builds(lambda one, d: {**one, "distinct": d}, any_resource, st.booleans()),
            "related": rarely | related | st.lists(related, max_size=2),
            "any_resource": rarely | any_resource | st.lists(any_resource, max_size=2),
            "id": st.just({"id": []})
            | st.lists(st.sampled_from([e["id"] for e in events])).map(lambda ids: {"id": ids}),
            "text": rarely
            | st.lists(st.sampled_from(["running", "+run", "-my", "!late", "grüße", "a%b", "x"]), min_size=1).map(
                lambda words: {"query": " ".join(words)}
            ),
            "order": st.sampled_from(["ASC", "DESC"]),
        }
    )


@settings(deadline=None)
@given(data=st.data())
def test_a_filter_means_what_the_model_says(books: Books, events: list[dict[str, Any]], data: st.DataObject) -> None:
    asked = data.draw(filters(events))
    wanted = [event["id"] for event in expected(events, asked)]
    assert [event["id"] for event in read(books, asked)] == wanted
    assert books.ask(count_events, EventFilter.model_validate(asked)) == len(wanted)


@settings(deadline=None)
@given(limit=st.integers(1, 9), distinct=st.booleans(), order=st.sampled_from(["ASC", "DESC"]))
def test_pages_behind_one_another_hold_every_event_once(
    books: Books, events: list[dict[str, Any]], limit: int, distinct: bool, order: str
) -> None:
    asked = {"occurred": ALWAYS, "order": order, "resource": {"distinct": distinct}}
    found: list[dict[str, Any]] = []
    while page := read(books, asked, limit, after=place_of(found[-1]) if found else None):
        found += page
    assert found == expected(events, asked)


def place_of(event: dict[str, Any]) -> tuple[Any, UUID]:
    filter = EventFilter.model_validate({"occurred": {"since": event["occurred"]}})
    return filter.occurred.since, UUID(event["id"])


def counted(books: Books, countable: Countable, unit: TimeUnit, interval: float = 1, **asked: Any) -> Any:
    filter = EventFilter.model_validate({"occurred": {"since": at(0), "until": at(59)}} | asked)
    return books.ask(count_events_by, filter, countable, unit, interval, at(3600))


def test_events_are_counted_by_name_and_by_resource(books: Books, events: list[dict[str, Any]]) -> None:
    by_name = counted(books, Countable.EVENT, TimeUnit.DAY)
    names = [event["event"] for event in events]
    assert {one["value"]: one["count"] for one in by_name} == {name: names.count(name) for name in names}
    assert [one["count"] for one in by_name] == sorted((one["count"] for one in by_name), reverse=True)
    things = counted(books, Countable.RESOURCE, TimeUnit.DAY, resource={"id": ["my.thing.0"]})
    (thing,) = things
    assert (thing["value"], thing["label"], thing["count"]) == ("my.thing.0", "Thing", 2)


def test_stretches_of_time_are_counted_with_those_in_which_nothing_happened(
    books: Books, events: list[dict[str, Any]]
) -> None:
    minute = counted(books, Countable.TIME, TimeUnit.SECOND, 10)
    assert len(minute) == 6
    assert [one["value"] for one in minute] == ["0", "1", "2", "3", "4", "5"]
    assert minute[0]["start_time"] == NOON
    assert minute[0]["end_time"] == at(10) - timedelta(microseconds=1)
    assert sum(one["count"] for one in minute) == len(events)
    assert minute[-1]["count"] == 0
    (day,) = counted(books, Countable.DAY, TimeUnit.DAY)
    assert day["count"] == len(events)


def test_stretches_in_the_future_are_not_counted(books: Books) -> None:
    filter = EventFilter.model_validate({"occurred": {"since": at(0), "until": at(86400)}})
    hours = books.ask(count_events_by, filter, Countable.TIME, TimeUnit.HOUR, 1, at(90))
    assert [one["start_time"] for one in hours] == [NOON]


def test_too_many_stretches_are_refused(books: Books) -> None:
    with pytest.raises(TooManyStretches, match="6000 buckets"):
        counted(books, Countable.EVENT, TimeUnit.SECOND, 0.01, occurred={"since": at(0), "until": at(60)})
