"""Schedules name the times that people expect of them, also where clocks are changed."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.schedules import CronSchedule, IntervalSchedule, RRuleSchedule, Schedule, dates_to_plan

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo")
zones = st.sampled_from(ZONES)
AROUND_CHANGES = (
    datetime(2026, 3, 8, 7, tzinfo=UTC),
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
)
"""When clocks are changed in New York, Berlin and on Lord Howe."""

starts = st.builds(
    lambda change, minutes: change + timedelta(minutes=minutes),
    st.sampled_from(AROUND_CHANGES),
    st.integers(-3000, 3000),
)
anchors = st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
minutes = st.sampled_from(["*", "*/15", "0", "30", "5,35", "10-20/5"])
hours = st.sampled_from(["*", "*/2", "1,2,3", "2", "9", "0"])
days = st.sampled_from(["*", "1", "*/3"])
crons = st.builds(lambda m, h, d, w: f"{m} {h} {d} * {w}", minutes, hours, days, st.sampled_from(["*", "1-5", "0"]))
rrules = st.builds(
    lambda freq, interval, more: f"FREQ={freq};INTERVAL={interval}{more}",
    st.sampled_from(["MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY"]),
    st.integers(1, 5),
    st.sampled_from(["", ";BYHOUR=2", ";BYMINUTE=0,30", ";BYDAY=MO,SU"]),
    # Counted from midnight in threes or fours, hours never come to two: such rules are refused.
).filter(lambda rule: rule not in ("FREQ=HOURLY;INTERVAL=3;BYHOUR=2", "FREQ=HOURLY;INTERVAL=4;BYHOUR=2"))
schedules: st.SearchStrategy[Schedule] = st.one_of(
    st.builds(
        IntervalSchedule,
        interval=st.integers(1, 3 * 86400).map(lambda seconds: timedelta(seconds=seconds)) | st.just(timedelta(days=1)),
        anchor_date=anchors,
        timezone=zones,
    ),
    st.builds(CronSchedule, cron=crons, timezone=zones, day_or=st.booleans()),
    st.builds(RRuleSchedule, rrule=rrules, timezone=zones),
)


def first(schedule: Schedule, start: datetime, number: int = 30) -> list[datetime]:
    return list(islice(schedule.dates(start), number))


def local(dates: list[datetime], zone: str) -> list[str]:
    return [date.astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z") for date in dates]


@given(schedules, starts)
def test_dates_ascend_from_the_start_on(schedule: Schedule, start: datetime) -> None:
    dates = first(schedule, start)
    assert all(earlier < later for earlier, later in pairwise(dates))
    assert all(date >= start and date.utcoffset() == timedelta() for date in dates)


@given(schedules, starts, st.integers(0, 29))
def test_no_date_is_lost_or_made_up_when_it_is_asked_for_later(schedule: Schedule, start: datetime, at: int) -> None:
    dates = first(schedule, start)
    if at < len(dates):
        assert first(schedule, dates[at], len(dates) - at) == dates[at:]
        following = first(schedule, dates[at] + timedelta(microseconds=1), len(dates) - at - 1)
        assert following == dates[at + 1 :]


@given(zones, anchors, starts, st.integers(1, 4))
def test_intervals_of_days_keep_the_local_time(zone: str, anchor: datetime, start: datetime, every: int) -> None:
    """Held against counting days on a calendar, one after the other."""
    schedule = IntervalSchedule(interval=timedelta(days=every), anchor_date=anchor, timezone=zone)
    place = ZoneInfo(zone)
    wall = anchor.astimezone(place).replace(tzinfo=None)
    step = timedelta(days=every if wall < start.replace(tzinfo=None) else -every)
    near = start.replace(tzinfo=None) + (timedelta(days=-10) if step > timedelta() else timedelta(days=10))
    while (wall < near) == (step > timedelta()):
        wall += step
    wall -= 10 * timedelta(days=every)
    walls = [wall + number * timedelta(days=every) for number in range(60)]
    expected = sorted({wall.replace(tzinfo=place).astimezone(UTC) for wall in walls})
    assert first(schedule, start, 5) == [date for date in expected if date >= start][:5]


@given(zones, anchors, starts, st.integers(1, 86399).filter(lambda seconds: 86400 % seconds == 0))
def test_shorter_intervals_keep_the_elapsed_time(zone: str, anchor: datetime, start: datetime, seconds: int) -> None:
    schedule = IntervalSchedule(interval=timedelta(seconds=seconds), anchor_date=anchor, timezone=zone)
    dates = first(schedule, start, 20)
    assert dates[0] - start < timedelta(seconds=seconds)
    assert {later - earlier for earlier, later in pairwise(dates)} == {timedelta(seconds=seconds)}
    assert (dates[0] - anchor) % timedelta(seconds=seconds) == timedelta()


@given(zones, starts, st.sampled_from([0, 2]), st.sampled_from([0, 30]))
def test_what_is_daily_comes_once_a_day(zone: str, start: datetime, hour: int, minute: int) -> None:
    """A cron expression and a recurrence rule agree, and neither leaves out a day nor takes one twice."""
    cron = CronSchedule(cron=f"{minute} {hour} * * *", timezone=zone)
    rule = RRuleSchedule(rrule=f"FREQ=DAILY;BYHOUR={hour};BYMINUTE={minute};BYSECOND=0", timezone=zone)
    dates = first(cron, start, 10)
    assert dates == first(rule, start, 10)
    on = [date.astimezone(ZoneInfo(zone)).date() for date in dates]
    assert on == [on[0] + timedelta(days=number) for number in range(10)]


def test_a_time_that_does_not_exist_is_put_forward_and_one_that_exists_twice_is_taken_once() -> None:
    berlin = "Europe/Berlin"
    daily = CronSchedule(cron="30 2 * * *", timezone=berlin)
    spring, autumn = datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)
    assert local(first(daily, spring, 3), berlin) == ["28 02:30+0100", "29 03:30+0200", "30 02:30+0200"]
    assert local(first(daily, autumn, 3), berlin) == ["24 02:30+0200", "25 02:30+0200", "26 02:30+0100"]
    hourly = CronSchedule(cron="0 * * * *", timezone=berlin)
    change = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)
    assert local(first(hourly, change, 3), berlin) == ["25 02:00+0200", "25 03:00+0100", "25 04:00+0100"]
    odd = CronSchedule(cron="10,35 * * * *", timezone="Australia/Lord_Howe")
    shifted = local(first(odd, datetime(2026, 10, 3, 15, tzinfo=UTC), 4), "Australia/Lord_Howe")
    assert shifted == ["04 01:35+1030", "04 02:35+1100", "04 02:40+1100", "04 03:10+1100"]


def test_days_of_the_month_and_of_the_week_may_both_have_to_fit() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    both = CronSchedule(cron="0 0 13 * 5", day_or=False)
    assert [date.isoformat()[:10] for date in first(both, start, 2)] == ["2026-02-13", "2026-03-13"]
    either = CronSchedule(cron="0 0 13 * 5")
    assert [date.isoformat()[:10] for date in first(either, start, 3)] == ["2026-01-02", "2026-01-09", "2026-01-13"]


def test_a_rule_may_begin_end_and_leave_out_dates() -> None:
    rule = "DTSTART:20260101T090000\nRRULE:FREQ=DAILY;COUNT=4\nEXDATE:20260102T090000"
    dates = first(RRuleSchedule(rrule=rule, timezone="Europe/Berlin"), datetime(2026, 1, 1, tzinfo=UTC))
    assert local(dates, "Europe/Berlin") == ["01 09:00+0100", "03 09:00+0100", "04 09:00+0100"]


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        (IntervalSchedule, {"interval": 0, "anchor_date": "2026-01-01T00:00:00Z"}),
        (IntervalSchedule, {"interval": -1, "anchor_date": "2026-01-01T00:00:00Z"}),
        (IntervalSchedule, {"interval": 1, "anchor_date": "2026-01-01T00:00:00Z", "timezone": "Mars/Olympus"}),
        (CronSchedule, {"cron": "* * *"}),
        (CronSchedule, {"cron": "R * * * *"}),
        (CronSchedule, {"cron": "* * * * *", "timezone": ""}),
        (RRuleSchedule, {"rrule": "FREQ=OFTEN"}),
        (RRuleSchedule, {"rrule": "FREQ=DAILY;INTERVAL=0"}),
        (RRuleSchedule, {"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}),
        (RRuleSchedule, {"rrule": "FREQ=SECONDLY;BYMONTH=13"}),
        (RRuleSchedule, {"rrule": "FREQ=MINUTELY;BYHOUR=24"}),
        (RRuleSchedule, {"rrule": "RDATE:" + ",".join(["20260101T000000"] * 500)}),
    ],
)
def test_nonsense_is_refused(kind: Any, facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kind(**facts)


@given(schedules, starts, st.integers(0, 5), st.integers(0, 40), st.integers(0, 100), st.integers(0, 100))
def test_no_more_is_planned_than_is_asked_for(
    schedule: Schedule, start: datetime, least: int, most: int, hours: int, more: int
) -> None:
    near, far = start + timedelta(hours=hours), start + timedelta(hours=hours + more)
    planned = dates_to_plan(schedule, start, until=far, at_least_until=near, least=least, most=most)
    assert planned == first(schedule, start, len(planned))
    assert len(planned) <= most
    assert all(date <= far for date in planned)
    following = first(schedule, start, len(planned) + 1)[len(planned) :]
    enough = len(planned) >= least and planned != [] and planned[-1] >= near
    assert enough or len(planned) == most or not following or following[0] > far
    assert len(planned) < 2 or len(planned) <= least or planned[-2] < near
