"""Log lines: kept as they were sent, found by run, level, time and text."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from domain.ids import new_id
from projections.filters import LogFilter
from projections.logs import LogCreate, ids_for, read_logs, write_logs
from projections.sorting import LogSort
from tests.projections.seeding import NOON, Books, at

RUN, OTHER_RUN, TASK = new_id(), new_id(), new_id()
EVERY_LINE = ["Hello Big World", "100% done_x", "of a task", "goodbye"]


@pytest.fixture
def books(conninfo: str) -> Iterator[Books]:
    with Books(conninfo) as books:
        yield books


@pytest.fixture
def filled(books: Books) -> Books:
    write(
        books,
        line("Hello Big World", at(0), level=20, name="logger.one", flow_run_id=RUN),
        line("100% done_x", at(1), level=30, name="other", flow_run_id=RUN),
        line("of a task", at(2), level=10, flow_run_id=RUN, task_run_id=TASK),
        line("goodbye", at(3), level=40, flow_run_id=OTHER_RUN),
    )
    return books


def line(
    message: str,
    timestamp: datetime | str = NOON,
    *,
    level: int = 20,
    name: str = "n",
    flow_run_id: UUID | None = None,
    task_run_id: UUID | None = None,
) -> LogCreate:
    sent = {"name": name, "level": level, "message": message, "timestamp": timestamp}
    return LogCreate.model_validate(sent | {"flow_run_id": flow_run_id, "task_run_id": task_run_id})


def write(books: Books, *lines: LogCreate) -> None:
    books.ask(write_logs, lines, ids_for(lines))


def lines_of(books: Books, filter: dict[str, Any] | None = None, **asked: Any) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = json.loads(
        books.ask(read_logs, None if filter is None else LogFilter.model_validate(filter), **asked)
    )
    return lines


def messages(books: Books, filter: dict[str, Any] | None = None, **asked: Any) -> list[str]:
    return [line["message"] for line in lines_of(books, filter, **asked)]


def check(books: Books, cases: list[tuple[dict[str, Any], list[str]]]) -> None:
    assert [(filter, messages(books, filter)) for filter, _ in cases] == cases


def test_a_line_is_read_as_it_was_written_with_an_id_and_the_time_of_its_arrival(books: Books) -> None:
    write(books, line('ü "q" \\ \n 🌊', at(0.25), level=-5, name="a.b", flow_run_id=RUN, task_run_id=TASK))
    (found,) = lines_of(books)
    assert list(found) == [
        "id",
        "created",
        "updated",
        "name",
        "level",
        "message",
        "timestamp",
        "flow_run_id",
        "task_run_id",
    ]
    id, created, updated = UUID(found.pop("id")), found.pop("created"), found.pop("updated")
    assert id.version == 7
    assert created == updated
    assert abs(datetime.fromisoformat(created) - datetime.now(UTC)) < timedelta(minutes=1)
    assert found == {
        "name": "a.b",
        "level": -5,
        "message": 'ü "q" \\ \n 🌊',
        "timestamp": "2026-05-04T12:00:00.250000Z",
        "flow_run_id": str(RUN),
        "task_run_id": str(TASK),
    }


def test_a_line_may_belong_to_no_run(books: Books) -> None:
    write(books, line("alone"))
    (found,) = lines_of(books)
    assert (found["flow_run_id"], found["task_run_id"]) == (None, None)


def test_times_are_kept_in_utc_whatever_offset_they_come_with(books: Books) -> None:
    write(books, line("east", "2026-01-01T02:00:00.000001+02:00"), line("naive", "2026-01-01T00:00:00"))
    assert [line["timestamp"] for line in lines_of(books, sort=LogSort.TIMESTAMP_DESC)] == [
        "2026-01-01T00:00:00.000001Z",
        "2026-01-01T00:00:00.000000Z",
    ]


def test_no_lines_at_all_are_nothing(books: Books) -> None:
    write(books)
    assert books.ask(read_logs) == b"[]"


def test_lines_are_sorted_by_time_and_those_of_one_call_with_the_same_time_stay_in_order(books: Books) -> None:
    later, earlier = [[f"{when} {number}" for number in range(100)] for when in ("later", "earlier")]
    turns = [(line(after, at(2)), line(before, at(1))) for after, before in zip(later, earlier, strict=True)]
    write(books, *(one for turn in turns for one in turn))
    assert messages(books) == earlier + later
    assert messages(books, sort=LogSort.TIMESTAMP_ASC) == earlier + later
    assert messages(books, sort=LogSort.TIMESTAMP_DESC) == [*reversed(later), *reversed(earlier)]


def test_lines_of_several_calls_with_the_same_time_are_in_order_of_their_ids(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    low, middle, high = sorted(new_id() for _ in range(3))
    for id, message in ((high, "c"), (low, "a"), (middle, "b")):
        monkeypatch.setattr("projections.logs.new_id", lambda id=id: id)
        write(books, line(message))
    assert messages(books) == ["a", "b", "c"]
    assert messages(books, sort=LogSort.TIMESTAMP_DESC) == ["c", "b", "a"]


def test_a_list_of_lines_has_a_limit_and_an_offset(filled: Books) -> None:
    assert messages(filled, limit=2) == EVERY_LINE[:2]
    assert messages(filled, limit=2, offset=1) == EVERY_LINE[1:3]
    assert messages(filled, offset=4) == []


def test_lines_by_run(filled: Books) -> None:
    check(
        filled,
        [
            ({}, EVERY_LINE),
            ({"flow_run_id": {"any_": [str(RUN)]}}, EVERY_LINE[:3]),
            ({"flow_run_id": {"any_": [str(OTHER_RUN), str(RUN)]}}, EVERY_LINE),
            ({"flow_run_id": {"any_": []}}, []),
            ({"task_run_id": {"any_": [str(TASK)]}}, ["of a task"]),
            ({"task_run_id": {"any_": [str(RUN)]}}, []),
            ({"task_run_id": {"is_null_": False}}, ["of a task"]),
            ({"flow_run_id": {"any_": [str(RUN)]}, "task_run_id": {"is_null_": True}}, EVERY_LINE[:2]),
        ],
    )


def test_lines_by_level_and_time(filled: Books) -> None:
    check(
        filled,
        [
            ({"level": {"ge_": 20, "le_": 30}}, EVERY_LINE[:2]),
            ({"level": {"ge_": 10**20}}, []),
            ({"timestamp": {"after_": at(1), "before_": at(2)}}, EVERY_LINE[1:3]),
            ({"timestamp": {"after_": at(3.5)}}, []),
        ],
    )


def test_the_fields_of_a_filter_are_joined_by_its_operator(filled: Books) -> None:
    filter = {"level": {"ge_": 40}, "task_run_id": {"is_null_": False}}
    check(
        filled,
        [
            ({"operator": "and_", **filter}, []),
            ({"operator": "or_", **filter}, ["of a task", "goodbye"]),
        ],
    )


TEXT_SEARCHES = [
    ("hello", EVERY_LINE[:1]),
    ("world hello", EVERY_LINE[:1]),
    ("hello task", [EVERY_LINE[0], EVERY_LINE[2]]),
    ('"big world"', EVERY_LINE[:1]),
    ('"world big"', []),
    ('"BIG world', EVERY_LINE[:1]),
    ("one", EVERY_LINE[:2]),
    ("other", EVERY_LINE[1:2]),
    ("%", EVERY_LINE[1:2]),
    ("e_x", EVERY_LINE[1:2]),
    ("-hello", EVERY_LINE[1:]),
    ("!hello !goodbye", EVERY_LINE[1:3]),
    ('-"big world" -task', [EVERY_LINE[1], EVERY_LINE[3]]),
    ("o -hello", EVERY_LINE[1:]),
    ("+o +d", [EVERY_LINE[0], EVERY_LINE[1], EVERY_LINE[3]]),
    ("+big +task", []),
    ("+hello task", []),
    ("+hello world", EVERY_LINE[:1]),
    ("-", EVERY_LINE),
    ('""', EVERY_LINE),
    ("", EVERY_LINE),
]


def test_lines_by_text(filled: Books) -> None:
    found = [(query, messages(filled, {"text": {"query": query}})) for query, _ in TEXT_SEARCHES]
    assert found == TEXT_SEARCHES


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": 2**31},
        {"level": "loud"},
        {"timestamp": "9999-12-31T23:59:59-14:00"},
        {"message": None},
        {"flow_run_id": "no uuid"},
        {"extra": 1},
    ],
)
def test_a_line_that_cannot_be_kept_is_refused(wrong: dict[str, Any]) -> None:
    sent: dict[str, Any] = {"name": "n", "level": 20, "message": "m", "timestamp": "2026-01-01T00:00:00Z"}
    assert LogCreate.model_validate(sent).message == "m"
    with pytest.raises(ValidationError) as refusal:
        LogCreate.model_validate(sent | wrong)
    assert [error["loc"] for error in refusal.value.errors()] == [(next(iter(wrong)),)]
