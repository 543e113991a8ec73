"""Experiments with transitions that were recorded from real servers, read from `tests/data/transitions`.

A file holds one version's: first a line with how to make the world that its experiments share, then one experiment a
line. An experiment is a list of steps:

- `post` or `patch`: a path, the `body` sent there, and the name `as` which the id in the answer is known later on;
- `force`: the path to which the state in `body` is proposed by force, and accepted;
- `propose`: the path to which `body` is sent, and in `recorded` what the real server made of it: the run `before`, the
  `answer` and the run `after`. What was null, false or empty is left out.

Symbols in paths, bodies and recorded texts are `{run}` (the id known as that), `{now-60s}` (a time), `{id:1}` (a new
id) and `{word:1}` (a new word that nothing else has). Recorded times and ids are `<datetime>` and `<uuid>`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "data" / "transitions"
VERSIONS = ("2.7.12", "2.20.25", "3.9.1")

Step = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """What was done with some runs of its own, and what came of it."""

    version: str
    name: str
    steps: list[Step]

    def __str__(self) -> str:
        return f"{self.version}-{self.name}"

    @property
    def entries(self) -> list[int]:
        """The numbers of its proposals among all that were recorded of the version."""
        return [step["recorded"]["entry"] for step in self.steps if "recorded" in step]


def read_experiments() -> Iterator[Experiment]:
    """The experiments of all versions, in the order of their recording."""
    for version in VERSIONS:
        for experiment in _lines(version)[1:]:
            yield Experiment(version, experiment["id"], experiment["steps"])


def read_world(version: str) -> dict[str, list[Step]]:
    """The steps that make what the experiments of a version share, by the name it is known as."""
    world: dict[str, list[Step]] = _lines(version)[0]["world"]
    return world


@dataclass(frozen=True)
class Defects:
    """The recorded entries that are not followed: the reason, by version and number of the entry."""

    reasons: dict[tuple[str, int], str]

    def of(self, experiment: Experiment) -> dict[int, str]:
        """The reasons that concern an experiment, by the number of the entry."""
        found = {entry: self.reasons.get((experiment.version, entry)) for entry in experiment.entries}
        return {entry: reason for entry, reason in found.items() if reason is not None}


def read_defects() -> Defects:
    """The entries that are believed to be defects of the server they were recorded from."""
    listed = json.loads((FOLDER / "defects.json").read_text())
    return Defects({(defect["version"], defect["entry"]): defect["reason"] for defect in listed})


@cache
def _lines(version: str) -> list[Any]:
    return [json.loads(line) for line in (FOLDER / f"{version}.jsonl").read_text().splitlines()]
