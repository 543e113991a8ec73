"""Recorded experiments done again on a running server, and how what happens differs from what was recorded."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any
from uuid import uuid4

from tests.support.experiments import Experiment, Step, read_world
from tests.support.server_process import PATIENCE, ServerProcess

SYMBOL = re.compile(r"\{((?:now|id:|word:)?[a-z0-9+-]+)\}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|\+00:00)")
UUID_TEXT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

OWN_BOOKKEEPING = ("start_time", "end_time")
"""What is kept as server 3.9.1 keeps it for every dialect."""

NOT_RECORDED = {"message", "data", "state_details"}
"""What was not recorded of the answers to malformed and incomplete requests, nor was the run read there."""

TOLERANCE = 2
"""Seconds by which a delay may differ from the recorded one, for it counts from the clock."""


class NotPrepared(AssertionError):
    """What comes before a recorded proposal was not possible."""


class Replay:
    """A client of one version on one connection, which does the experiments of that version.

    What these share is made when it is first needed.
    """

    def __init__(self, server: ServerProcess, version: str) -> None:
        self._connection = HTTPConnection(*server.address, timeout=PATIENCE)
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"prefect/{version} (API 0.8.4)",
            "X-PREFECT-API-VERSION": "0.8.4",
        }
        self._ignored = OWN_BOOKKEEPING if version.startswith("2.") else ()
        self._world = read_world(version)
        self._shared: dict[str, str] = {}

    def close(self) -> None:
        self._connection.close()

    def differences(self, experiment: Experiment) -> dict[int, list[str]]:
        """How each proposal differs from its record, by the number of the entry; nothing for one that does not.

        Raises NotPrepared.
        """
        names: dict[str, str] = {}
        return {step["recorded"]["entry"]: found for step, found in self._do(experiment.steps, names) if found}

    def _do(self, steps: list[Step], names: dict[str, str]) -> Iterator[tuple[Step, list[str]]]:
        """Take the steps one by one; give those that propose something, with the differences found."""
        for step in steps:
            if "propose" in step:
                yield step, self._propose(step, names)
            elif "force" in step:
                self._force(step, names)
            else:
                self._prepare(step, names)

    def _prepare(self, step: Step, names: dict[str, str]) -> None:
        method = "post" if "post" in step else "patch"
        status, text = self._ask(method.upper(), step[method], step["body"], names)
        if status not in (200, 201, 204):
            raise NotPrepared(f"{method.upper()} {step[method]} was answered {status}: {text}")
        if "as" in step:
            names[step["as"]] = json.loads(text)["id"]

    def _force(self, step: Step, names: dict[str, str]) -> None:
        status, text = self._ask("POST", step["force"], step["body"], names)
        answer, wanted = json.loads(text), step["body"]["state"]
        forced = status == 201 and answer["status"] == "ACCEPT"
        if not forced or (answer["state"]["type"], answer["state"]["name"]) != (wanted["type"], wanted["name"]):
            raise NotPrepared(f"{wanted['name']} by force was answered {status}: {text}")

    def _propose(self, step: Step, names: dict[str, str]) -> list[str]:
        """How the run before, the answer and the run after differ from what was recorded."""
        recorded = step["recorded"]
        path = step["propose"].removesuffix("/set_state")
        before = self._read(path, names) if "before" in recorded else None
        status, text = self._ask("POST", step["propose"], step["body"], names)
        answer = _answer(status, _symbolic(text, names))
        if before is None:
            parts = {"answer": {field: answer[field] for field in answer.keys() - NOT_RECORDED}}
        else:
            after = self._read(path, names)
            changed = before["state"]["id"] != after["state"]["id"]
            parts = {
                "before": _before(_symbolic(json.dumps(before), names)),
                "answer": answer,
                "after": _after(after, changed, is_flow_run=path.startswith("/flow_runs/")),
            }
        found = [text for part, happened in parts.items() for text in _differences(recorded[part], happened, part)]
        return [text for text in found if text.partition(":")[0].removeprefix("after.") not in self._ignored]

    def _read(self, path: str, names: dict[str, str]) -> Any:
        status, text = self._ask("GET", path, None, names)
        if status != 200:
            raise NotPrepared(f"GET {path} was answered {status}: {text}")
        return json.loads(text)

    def _ask(self, method: str, path: str, body: Any, names: dict[str, str]) -> tuple[int, str]:
        """Status and text of the answer to a request in which symbols stand."""
        content = None if body is None else self._filled(json.dumps(body), names).encode()
        filled = self._filled(path, names)
        self._connection.request(method, f"/api{filled}", content, self._headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read().decode()

    def _filled(self, text: str, names: dict[str, str]) -> str:
        """A text with what its symbols stand for; new ids and words, and what is shared, are made at first use."""

        def meaning(match: re.Match[str]) -> str:
            symbol = match[1]
            if symbol.startswith("now"):
                return (datetime.now(UTC) + timedelta(seconds=int(symbol[3:-1]))).isoformat().replace("+00:00", "Z")
            if symbol in self._world:
                return self._of_the_world(symbol)
            if symbol not in names:
                names[symbol] = uuid4().hex if symbol.startswith("word:") else str(uuid4())
            return names[symbol]

        return SYMBOL.sub(meaning, text)

    def _of_the_world(self, name: str) -> str:
        if name not in self._shared:
            first, *others = self._world[name]
            made: dict[str, str] = {}
            self._prepare(first, made)
            self._shared[name] = made[name]
            list(self._do(others, made))
        return self._shared[name]


def _symbolic(text: str, names: dict[str, str]) -> Any:
    """An answer's content with what no two answers have in common replaced, as in the recordings."""
    for symbol, meaning in names.items():
        if symbol.startswith("word:"):
            text = text.replace(meaning, f"{{{symbol}}}")
    return json.loads(UUID_TEXT.sub("<uuid>", TIME.sub("<datetime>", text)))


def _told(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that say something, as they are recorded."""
    return {name: fact for name, fact in facts.items() if fact is not None and fact is not False and fact != {}}


def _details(state: dict[str, Any]) -> dict[str, Any]:
    own = ("flow_run_id", "task_run_id")
    return {name: value for name, value in state["state_details"].items() if value and name not in own}


def _before(run: dict[str, Any]) -> dict[str, Any]:
    state = run["state"]
    facts = {field: state[field] for field in ("type", "name", "data")}
    return _told({**facts, "state_details": _details(state), "run_count": run["run_count"]})


def _answer(status: int, answer: dict[str, Any]) -> dict[str, Any]:
    state = answer.get("state")
    if state is None:
        return {"http_status": status, "details": _shape(answer) if status == 422 else answer}
    facts = {field: state[field] for field in ("type", "name", "message", "data")}
    verdict = {"http_status": status, "status": answer["status"], "details": answer["details"]}
    return _told({**facts, **verdict, "state_details": _details(state)})


def _after(run: dict[str, Any], changed: bool, is_flow_run: bool) -> dict[str, Any]:
    times = ("start_time", "end_time", "next_scheduled_start_time", "expected_start_time")
    facts = {
        "type": run["state"]["type"],
        "name": run["state"]["name"],
        "run_count": run["run_count"],
        **{field: run[field] is not None for field in times},
        "state_changed": changed,
        "flow_run_run_count": run.get("flow_run_run_count"),
    }
    if is_flow_run:
        policy = run["empirical_policy"]
        kept = {field: policy[field] for field in ("resuming", "retry_type", "retries", "retry_delay")}
        facts["empirical_policy"] = _told({**kept, "n_pause_keys": len(policy["pause_keys"] or [])})
    return _told(facts)


def _shape(refusal: dict[str, Any]) -> dict[str, Any]:
    """What counts of the body by which an invalid request is refused: where it is wrong, but not in which words."""
    shapes = [
        {"loc": wrong["loc"], "fields": sorted(wrong.keys() - {"ctx"})} for wrong in refusal.get("exception_detail", [])
    ]
    return {**refusal, "exception_detail": shapes}


def _differences(recorded: Any, happened: Any, where: str) -> Iterator[str]:
    """Where what happened is not what was recorded, and how."""
    if isinstance(recorded, dict) and isinstance(happened, dict):
        if recorded.get("http_status") == 422 and "details" in recorded:
            recorded = {**recorded, "details": _shape(recorded["details"])}
        for field in sorted(recorded.keys() | happened.keys()):
            yield from _differences(recorded.get(field), happened.get(field), f"{where}.{field}")
    elif where.endswith(".delay_seconds"):
        if not _is_delay(recorded, happened):
            yield f"{where}: is {happened!r}, was {recorded!r}"
    elif recorded != happened:
        yield f"{where}: is {happened!r}, was {recorded!r}"


def _is_delay(recorded: Any, happened: Any) -> bool:
    """Whether a delay is as long as recorded: `random` is any, `~3600` what is left of an hour."""
    if type(happened) is not int:
        return False
    if recorded == "random":
        return happened >= 0
    if recorded == "~3600":
        return 3590 <= happened <= 3601
    return isinstance(recorded, int) and abs(happened - recorded) <= TOLERANCE
