"""Answers that are kept, so that a request that is sent again is answered as it was at first."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from domain.commands.command import Answer, Command, Deleted, Made, Once, OrchestrationResult, Slots
from domain.errors import KeyReused

KEPT: TypeAdapter[Any] = TypeAdapter(Made | OrchestrationResult | Slots | Deleted | None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one command: its answer, or the error that says why nothing happened."""

    command: Command
    answer: Answer = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The answer, as JSON, to the request that was made under a key."""

    once: Once
    answer: bytes


class Answers:
    """The kept answers that one batch of commands looks at, and those that it adds.

    `read` gives what the store has under keys.
    """

    def __init__(self, read: Callable[[Iterable[str]], Mapping[str, KeptAnswer]]) -> None:
        self._read = read
        self._known: Mapping[str, KeptAnswer] = {}
        self._decided: dict[str, tuple[Once, int]] = {}
        self._again: dict[int, int] = {}

    def load(self, commands: Iterable[Command]) -> None:
        """Look up, in one go, what is kept for these commands."""
        keys = [command.once.key for command in commands if command.once is not None]
        if keys:
            self._known = self._read(keys)

    def given(self, command: Command, place: int) -> Outcome | None:
        """The answer that the command was given before, also within this batch; `place` is its own in the batch."""
        once = command.once
        if once is None:
            return None
        if once.key in self._decided:
            before, first = self._decided[once.key]
            if before.request == once.request:
                self._again[place] = first
            return Outcome(command) if before.request == once.request else Outcome(command, error=KeyReused(once.key))
        kept = self._known.get(once.key)
        if kept is None:
            return None
        if kept.once.request != once.request:
            return Outcome(command, error=KeyReused(once.key))
        return Outcome(command, KEPT.validate_json(kept.answer))

    def take_note(self, command: Command, place: int) -> None:
        """The command had an effect, and is to be answered so again."""
        if command.once is not None:
            self._decided[command.once.key] = command.once, place

    def repeated(self, outcomes: list[Outcome]) -> list[Outcome]:
        """The outcomes, those of requests that came twice in this batch with the answers of the first."""
        for place, first in self._again.items():
            outcomes[place] = replace(outcomes[first], command=outcomes[place].command)
        return outcomes

    def to_keep(self, outcomes: list[Outcome]) -> list[KeptAnswer]:
        """The answers to keep of this batch."""
        return [KeptAnswer(once, KEPT.dump_json(outcomes[place].answer)) for once, place in self._decided.values()]
