"""Schedules: at which times a deployment is to be run. Pure calculation; no date depends on when it is asked for.

Dates are in UTC. Where the clocks of a schedule's zone are changed, a local time that does not exist stands for what
the clock shows instead (03:30 for 02:30), and one that exists twice for the first of the two. Source: server 3.9.1.
"""

import heapq
from calendar import monthrange
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, takewhile
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from croniter import CroniterBadDateError, croniter
from dateutil.rrule import DAILY, HOURLY, MINUTELY, SECONDLY, WEEKLY, rrule, rruleset, rrulestr
from pydantic import AfterValidator, BaseModel, ConfigDict, field_serializer, field_validator

from domain.times import Time

LONGEST_RRULE = 6500
"""Characters of a recurrence rule. Source: server 3.9.1."""

FIRST_DATE = datetime(2020, 1, 1)
"""Where a recurrence rule begins that does not say so itself, in local time. Source: server 3.9.1."""

DAY = timedelta(days=1)
CHANGE = timedelta(hours=3)
"""More than clocks are put forward in any zone by a change to summer time."""

LONGEST_DAY = {month: monthrange(2024, month)[1] for month in range(1, 13)}
"""How many days the months have at most."""

STEPS = {
    SECONDLY: timedelta(seconds=1),
    MINUTELY: timedelta(minutes=1),
    HOURLY: timedelta(hours=1),
    DAILY: DAY,
    WEEKLY: timedelta(weeks=1),
}
"""How far apart two dates of a rule are that recurs evenly, at an interval of one."""


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _known_zone(name: str | None) -> str | None:
    if name is not None and name not in _zones():
        raise ValueError(f'Invalid timezone: "{name}" (specify in IANA tzdata format, for example, America/New_York)')
    return name


Zone = Annotated[str | None, AfterValidator(_known_zone)]
NamedZone = Annotated[Zone, AfterValidator(lambda name: name or "UTC")]
"""A zone that is never null: a null is taken for UTC."""


class IntervalSchedule(BaseModel):
    """Every so many seconds, counted from an anchor in both directions.

    An interval of whole days keeps the local time of the anchor, any other one the time that has elapsed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    interval: timedelta
    anchor_date: Time
    timezone: NamedZone = "UTC"

    @field_validator("interval")
    @classmethod
    def _is_positive(cls, interval: timedelta) -> timedelta:
        if interval <= timedelta():
            raise ValueError("interval must be positive")
        return interval

    @field_serializer("interval")
    def _in_seconds(self, interval: timedelta) -> float:
        return interval.total_seconds()

    def dates(self, start: datetime) -> Iterator[datetime]:
        """The dates from a time on, in order, without end."""
        if self.interval % DAY:
            return _counted(self.anchor_date, self.interval, start)
        zone = ZoneInfo(self.timezone or "UTC")
        first = _wall(self.anchor_date, zone)
        walls = _counted(first, self.interval, _earlier(_wall(start, zone), DAY))
        return _in_utc(walls, zone, start)


class CronSchedule(BaseModel):
    """When the fields of a cron expression fit local time.

    `day_or` says whether one of the fields for days is enough (as in cron) or both must fit (as in fcron).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: str
    timezone: Zone = None
    day_or: bool = True

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, cron: str) -> str:
        if not croniter.is_valid(cron):
            raise ValueError(f'Invalid cron string: "{cron}"')
        if any(field.casefold() in ("r", "h") for field in cron.split()):
            raise ValueError(f'Random and Hashed expressions are unsupported, received: "{cron}"')
        return cron

    def dates(self, start: datetime) -> Iterator[datetime]:
        """The dates from a time on, in order; none once nothing fits for decades."""
        zone = ZoneInfo(self.timezone or "UTC")
        return _in_utc(self._walls(_before_change(start, zone)), zone, start)

    def _walls(self, start: datetime) -> Iterator[datetime]:
        cron = croniter(self.cron, _earlier(start, timedelta(microseconds=1)), day_or=self.day_or)
        while True:
            try:
                yield cron.get_next(datetime)
            except (CroniterBadDateError, OverflowError):
                return


class RRuleSchedule(BaseModel):
    """What a recurrence rule of iCalendar (RFC 5545) says, in local time; zones within the rule are not looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rrule: str
    timezone: NamedZone = "UTC"

    @field_validator("rrule")
    @classmethod
    def _is_rule(cls, text: str) -> str:
        if len(text) > LONGEST_RRULE:
            raise ValueError(f'Invalid RRule string "{text[:40]}..."\nMax length is {LONGEST_RRULE}, got {len(text)}')
        try:
            rules = _rules(_parsed(text))
        except Exception as error:
            # What the parser raises for nonsense is a ValueError most of the time, but not always.
            raise ValueError(f'Invalid RRule string "{text}": {error}') from None
        if any(rule._interval < 1 for rule in rules):
            raise ValueError(f'Invalid RRule string "{text}": the interval must be positive')
        if any(map(_is_never, rules)):
            raise ValueError(f'Invalid RRule string "{text}": there is no such date')
        return text

    def dates(self, start: datetime) -> Iterator[datetime]:
        """The dates from a time on, in order."""
        zone = ZoneInfo(self.timezone or "UTC")
        first = _before_change(start, zone)
        rule = _parsed(self.rrule)
        if isinstance(rule, rrule):
            rule = _begun_later(rule, first)
        return _in_utc(rule.xafter(first, inc=True), zone, start)


Schedule = IntervalSchedule | CronSchedule | RRuleSchedule


def dates_to_plan(
    schedule: Schedule, start: datetime, *, until: datetime, at_least_until: datetime, least: int, most: int
) -> list[datetime]:
    """The dates from `start` on to plan runs for: so many as reach `at_least_until` and are `least`, then no more.

    Never more than `most`, and none after `until`.
    """
    planned: list[datetime] = []
    for date in islice(takewhile(lambda date: date <= until, schedule.dates(start)), most):
        planned.append(date)
        if len(planned) >= least and date >= at_least_until:
            break
    return planned


def _counted(first: datetime, step: timedelta, start: datetime) -> Iterator[datetime]:
    """The times that are whole steps away from the first, from `start` on, as far as the calendar goes."""
    steps = -((first - start) // step)
    while True:
        try:
            yield first + steps * step
        except OverflowError:
            return
        steps += 1


def _in_utc(walls: Iterable[datetime], zone: ZoneInfo, start: datetime) -> Iterator[datetime]:
    """Ascending local times as times in UTC from `start` on, ascending and each once."""
    shifted: list[datetime] = []
    last: datetime | None = None
    for wall in walls:
        try:
            time = wall.replace(tzinfo=zone).astimezone(UTC)
        except OverflowError:
            return
        if _wall(time, zone) != wall:
            # It does not exist, and stands for a later time, before which others may come.
            heapq.heappush(shifted, time)
            continue
        due = [heapq.heappop(shifted) for _ in range(len(shifted)) if shifted[0] <= time]
        for date in (*due, time):
            if date >= start and (last is None or date > last):
                yield date
                last = date
    yield from sorted({date for date in shifted if date >= start and (last is None or date > last)})


def _wall(time: datetime, zone: ZoneInfo) -> datetime:
    return time.astimezone(zone).replace(tzinfo=None)


def _before_change(start: datetime, zone: ZoneInfo) -> datetime:
    """The local time to begin at, so that what was put forward to `start` or later by a change is not missed."""
    now, before = start.astimezone(zone), _earlier(start, CHANGE).astimezone(zone)
    forward = (now.utcoffset() or timedelta()) - (before.utcoffset() or timedelta())
    return _earlier(now.replace(tzinfo=None), max(forward, timedelta()))


def _earlier(time: datetime, by: timedelta) -> datetime:
    return time - min(by, time - datetime.min.replace(tzinfo=time.tzinfo))


@lru_cache(maxsize=1024)
def _parsed(text: str) -> rrule | rruleset:
    return rrulestr(text, dtstart=FIRST_DATE, ignoretz=True)


def _rules(parsed: Any) -> list[Any]:
    """The rules that a set is made of, or the rule itself; the library has no public way to ask for them."""
    return [parsed] if isinstance(parsed, rrule) else [*parsed._rrule, *parsed._exrule]


def _is_never(rule: Any) -> bool:
    """Whether a rule names only days or times that no calendar has: it would be gone through up to the year 9999."""
    months = [month for month in rule._bymonth or range(1, 13) if month in LONGEST_DAY]
    days = [abs(day) for day in (*(rule._bymonthday or ()), *(rule._bynmonthday or ()))]
    if not months or (days and not any(1 <= day <= LONGEST_DAY[month] for month in months for day in days)):
        return True
    parts = ((rule._byhour, 24), (rule._byminute, 60), (rule._bysecond, 60))
    return any(part and not any(0 <= value < end for value in part) for part, end in parts)


def _begun_later(rule: Any, start: datetime) -> Any:
    """The same rule, begun whole steps later but not after `start`, so that dates of long ago are not gone through.

    Only a rule that recurs evenly and does not count its dates is the same then.
    """
    if rule._count is not None or rule._freq not in STEPS or rule._dtstart >= start:
        return rule
    step = STEPS[rule._freq] * rule._interval
    return rule.replace(dtstart=rule._dtstart + (start - rule._dtstart) // step * step)
