"""How the life of a run is told: to people as tables, to programs as JSON."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from domain.events import Event
from domain.states import State
from domain.transitions import Origin, Transition
from projections.audit import event_fields
from projections.documents import as_json
from scripts.replaying.life import Again, Life, Step

NARROW, NARROW_TO_CHECK = 110, 150
"""Characters below which proposals and reasons are put into fewer columns: else some would not be seen at all."""

COLOURS = {"ACCEPT": "green", "REJECT": "yellow", "WAIT": "cyan", "ABORT": "red"}
NOTHING = "-"
ERASED = "(erased)"
COMMON = frozenset(Event.model_fields)
LONGEST_FACTS = 120


def life_as_json(life: Life) -> bytes:
    """All that is known of a life, as JSON."""
    run = life.run
    return as_json(
        {
            "id": run.id,
            "kind": run.kind,
            "name": run.name,
            "deleted": run.deleted,
            "events": [_step_fields(step) for step in life.steps],
            "durations": [asdict(stay) for stay in life.stays],
            "run": from_json(life.document),
            "differing": life.differing,
        }
    )


def _step_fields(step: Step) -> dict[str, Any]:
    state, again = step.recorded.state, step.again
    decided: dict[str, Any] = {}
    if again is not None:
        today = None if again.today is None else asdict(again.today)
        decided = {"decided_again": {"differs": again.differs, "today": today, "unknown": again.unknown}}
    return {**event_fields(step.recorded), "after_seconds": step.after, "state_after": state, **decided}


def print_life(console: Console, life: Life, *, checked: bool) -> None:
    """Print a life as a person reads it."""
    narrow = console.width < (NARROW_TO_CHECK if checked else NARROW)
    parts = [_heading(life), _steps(life, checked, narrow=narrow), _stays(life), _standing(life)]
    if checked:
        parts.append(_check_summary(life))
    for part in parts:
        console.print(part)
        console.print()


def _heading(life: Life) -> Text:
    text = Text(f"{life.run.kind} {life.run.name}", "bold")
    text.append(f"  {life.run.id}", "not bold dim")
    return text.append(f"  {ERASED}", "bold red") if life.run.is_erased else text


def _steps(life: Life, checked: bool, *, narrow: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("after", justify="right", no_wrap=True)
    if narrow:
        table.add_column("what happened", overflow="fold", ratio=3)
        table.add_column("why, and who", overflow="fold", ratio=3)
    else:
        for name in ("from", "to", "proposed", "verdict"):
            table.add_column(name, overflow="fold", min_width=8)
        table.add_column("rule and reason", overflow="fold", ratio=3, min_width=20)
        table.add_column("who", overflow="fold", ratio=1, min_width=12)
    if checked:
        table.add_column("today", overflow="fold", min_width=8)
    day = None
    for step in life.steps:
        at = step.event.recorded_at.astimezone(UTC)
        if at.date() != day:
            day = at.date()
            table.add_row(Text(f"{day}", "dim"))
        cells = _narrow_cells(step) if narrow else _wide_cells(step)
        today = [_today(step.again)] if checked else []
        table.add_row(f"{at:%H:%M:%S}.{at.microsecond // 1000:03}", _seconds(step.after), *cells, *today)
    return table


def _wide_cells(step: Step) -> list[RenderableType]:
    transition = step.recorded.transition
    if transition is None:
        return [Text(_state(step.recorded.state), "dim"), Text(_title(step)), "", "", Text(_facts(step)), _who(step)]
    proposed = transition.proposed if _is_news(transition) else None
    return [
        Text(_state(transition.before), "dim"),
        Text(_state(transition.state), "bold" if transition.state else ""),
        Text(_state(proposed) if proposed else ""),
        _verdict(transition),
        _why(step, transition),
        _who(step),
    ]


def _narrow_cells(step: Step) -> list[RenderableType]:
    transition = step.recorded.transition
    if transition is None:
        return [Text(_title(step)), Group(*_lines(Text(_facts(step)), _who(step)))]
    moved = Text(_state(transition.before), "dim")
    if transition.state is not None:
        moved.append(" -> ").append(_state(transition.state), "not dim bold")
    if _is_news(transition):
        moved.append(f" (proposed: {_state(transition.proposed)})", "not dim")
    return [Group(moved, _verdict(transition)), Group(*_lines(_why(step, transition), _who(step)))]


def _lines(*texts: Text) -> Iterator[Text]:
    return (text for text in texts if text.plain)


def _is_news(transition: Transition) -> bool:
    """Whether what was proposed is not what was set."""
    proposed, state = transition.proposed, transition.state
    return proposed is not None and (state is None or (proposed.type, proposed.name) != (state.type, state.name))


def _state(state: State | None) -> str:
    if state is None:
        return NOTHING
    usual = state.name.casefold() == state.type.value.casefold()
    return state.name if usual else f"{state.name} ({state.type.value.lower()})"


def _title(step: Step) -> str:
    """What an event that is no transition is called: the word behind the dot, in plain writing."""
    name = step.recorded.topic.rpartition(".")[2]
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()


def _facts(step: Step) -> str:
    """The facts of an event that are its own, in short. Those of a creation are told by what follows."""
    if step.event.originator_version == 1:
        return ""
    facts = step.event.model_dump(mode="json", exclude_none=True, exclude=set(COMMON))
    text = ", ".join(f"{name}={value}" for name, value in facts.get("changes", facts).items())
    return text if len(text) <= LONGEST_FACTS else f"{text[: LONGEST_FACTS - 3]}..."


def _verdict(transition: Transition) -> Text:
    verdict = transition.verdict
    if verdict is None:
        return Text(f"{transition.origin}", "dim")
    text = Text(verdict, COLOURS.get(verdict, ""))
    if transition.delay_seconds is not None:
        text.append(f" {_seconds(transition.delay_seconds)}")
    return text


def _why(step: Step, transition: Transition) -> Text:
    text = Text()
    if transition.rule is not None:
        text.append(transition.rule, "bold").append(f"\n{transition.reason or ERASED}")
    elif transition.state is not None and transition.state.message:
        text.append(transition.state.message, "italic")
    if transition.force:
        text.append("" if not text.plain else " ").append("(by force)", "magenta")
    recorded = step.recorded
    if recorded.repeats:
        again = "once more" if recorded.repeats == 1 else f"{recorded.repeats} times more"
        last = "" if recorded.last_repeat is None else f", last at {_time(recorded.last_repeat)}"
        text.append(f" ({again}{last})", "dim")
    return text


def _who(step: Step) -> Text:
    transition = step.recorded.transition
    text = Text(step.event.actor, "dim")
    if transition is not None and transition.origin is Origin.PROPOSED and transition.dialect:
        text.append(f" [{transition.dialect}]")
    return text


def _today(again: Again | None) -> Text:
    if again is None:
        return Text(NOTHING, "dim")
    if again.unknown is not None:
        return Text(f"cannot be decided again: {again.unknown}", "yellow")
    if not again.differs or again.today is None:
        return Text("the same", "green")
    today = again.today
    text = Text(today.verdict, "bold red")
    if today.rule is not None:
        text.append(f" by {today.rule}")
    if today.state_name is not None:
        text.append(f": {today.state_name}")
    return text


def _stays(life: Life) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("state", overflow="fold")
    table.add_column("times", justify="right")
    table.add_column("in all", justify="right")
    for stay in life.stays:
        told = _seconds(stay.seconds) + (" so far" if stay.goes_on else "") if stay.seconds else NOTHING
        table.add_row(stay.state, f"{stay.times}", told)
    return table


def _standing(life: Life) -> Text:
    """The run as it stands, in one line."""
    run = life.run
    counts = f"{run.run_count} {'attempt' if run.run_count == 1 else 'attempts'}"
    ran = f", ran for {_seconds(run.total_run_time)}" if run.total_run_time else ""
    tags = f", tags {', '.join(run.tags)}" if run.tags else ""
    text = Text(f"As of version {run.version}: ").append(_state(run.state), "bold").append(f", {counts}{ran}{tags}")
    return text.append("; deleted", "bold red") if run.deleted else text


def _check_summary(life: Life) -> Text:
    decided = [step.again for step in life.steps if step.again is not None]
    if not decided:
        return Text("There is no proposal to decide again.")
    unknown = sum(again.unknown is not None for again in decided)
    told = f"{len(decided)} {'proposal' if len(decided) == 1 else 'proposals'} decided again: "
    told += f"{len(decided) - unknown - life.differing} as then, {life.differing} otherwise"
    told += f", {unknown} cannot be told" if unknown else ""
    return Text(f"{told}.", "bold red" if life.differing else "")


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _seconds(seconds: float | None) -> str:
    """A duration with about three digits, in the unit that fits."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
