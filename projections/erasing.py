"""Erasing what people put into a run, step by step; each step may be done again, so a crash at any point does no harm.

The ledger says first that the payload was erased, which redacts documents and rows and keeps later payload out; then
telemetry and kept answers lose theirs, and last the key is destroyed, without which nobody reads what events, archives
and backups of them hold. Rows that were redacted leave dead ones behind, which are cleared away in the end.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

from psycopg import Connection, sql

from domain.answers import KEPT
from domain.commands.command import Caller, Command, Erased, Made, OrchestrationResult
from domain.commands.erasure import ErasePayload, EraseTaskRuns
from domain.errors import BeganInPlain
from domain.ledger import Ledger
from domain.payloads import without_payload
from projections.client_events import PLAIN_LABELS
from projections.kin import task_runs_of
from projections.payload_keys.store import KeyStore

T = TypeVar("T")

AT_ONCE = 500
"""How many task runs or rows one transaction is about: others wait for the ledger lock meanwhile."""

TOUCHED = (
    *("read.flow_runs", "read.flow_run_documents", "read.flow_run_states", "read.flow_run_inputs"),
    *("read.task_runs", "read.task_run_documents", "read.task_run_states", "read.cached_results"),
    *("telemetry.logs", "telemetry.artifacts", "telemetry.client_events", "ledger.answers"),
)
"""The tables in which rows with payload were replaced or deleted."""

OF_RUNS = "flow_run_id = %(run)s OR task_run_id = ANY(%(runs)s)"
LOGS = f"SELECT id FROM telemetry.logs WHERE ({OF_RUNS}) AND (message <> '' OR sealed_under IS NOT NULL)"  # noqa: S608
REDACT_LOGS = "UPDATE telemetry.logs SET message = '', sealed_under = NULL WHERE id = ANY(%s)"
ARTIFACTS = f"""
SELECT id FROM telemetry.artifacts
WHERE ({OF_RUNS}) AND NOT (data IS NULL AND description IS NULL AND metadata_ IS NULL)
"""  # noqa: S608
REDACT_ARTIFACTS = """
UPDATE telemetry.artifacts SET data = NULL, description = NULL, metadata_ = NULL WHERE id = ANY(%s)
"""
EVENTS = "SELECT id FROM telemetry.client_events WHERE resource_id = ANY(%(things)s) OR related_ids && %(things)s"
REDACT_EVENTS = """
UPDATE telemetry.client_events SET payload = '{}',
    resource = (SELECT json_object_agg(key, value) FROM json_each(resource) WHERE key = ANY(%(labels)s)),
    related = (
        SELECT coalesce(json_agg((SELECT json_object_agg(key, value) FROM json_each(one) WHERE key = ANY(%(labels)s))
            ORDER BY place), '[]')
        FROM json_array_elements(related) WITH ORDINALITY AS thing(one, place)
    )
WHERE id = ANY(%(ids)s)
"""
ANSWERS = "SELECT key, answer FROM ledger.answers WHERE position(%s IN answer) > 0"
REDACT_ANSWER = "UPDATE ledger.answers SET answer = %s WHERE key = %s"

Report = Callable[[str, int], None]
"""Is told what was erased, and of how many things."""


def silently(step: str, number: int) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class Eraser:
    """What erases runs: commands to a `ledger`, statements on a `connection` in autocommit, and the store of `keys`."""

    ledger: Ledger
    connection: Connection
    keys: KeyStore
    caller: Caller
    report: Report = silently

    def erase(self, id: UUID) -> None:
        """Erase a run and its task runs; subflows have keys of their own and stay. It may be done again.

        Raises NotFound, BeganInPlain, SharesKey and NotEnded, and then nothing was erased; and StoreUnavailable.
        """
        erased = self._ask(ErasePayload(caller=self.caller, id=id))
        if not isinstance(erased, Erased):
            raise TypeError("An erasure is answered with the key to destroy")
        key = self.keys.look_up([erased.payload_key])
        if not key:
            # Of a run in an archive nothing else is known here.
            raise BeganInPlain("Run", id)
        task_runs = task_runs_of(self.connection, id)
        for some in _pieces(task_runs):
            self._ask(EraseTaskRuns(caller=self.caller, flow_run_id=id, task_runs=tuple(some)))
        self.report("runs in the ledger and its tables", 1 + len(task_runs))
        of_runs = {"run": id, "runs": [id, *task_runs]}
        self.report("log lines", self._redact(LOGS, of_runs, REDACT_LOGS))
        self.report("artifacts", self._redact(ARTIFACTS, of_runs, REDACT_ARTIFACTS))
        self.report("events of clients", self._redact_events(id, task_runs))
        self.report("kept answers", self._redact_answers(id))
        self.keys.destroy(erased.payload_key)
        self.report("key", sum(value is not None for value in key.values()))

    def clear_away(self) -> None:
        """Clear away the rows that were replaced, as far as nobody may still be reading them."""
        for name in TOUCHED:
            self.connection.execute(sql.SQL("VACUUM {}").format(sql.Identifier(*name.split("."))))

    def _ask(self, command: Command) -> object:
        outcome = self.ledger.execute(lambda: [command])[0]
        if outcome.error is not None:
            raise outcome.error
        return outcome.answer

    def _redact(self, find: str, of_runs: dict[str, object], redact: str) -> int:
        found = [row[0] for row in self.connection.execute(find.encode(), of_runs)]
        for some in _pieces(found):
            self.connection.execute(redact.encode(), [some])
        return len(found)

    def _redact_events(self, id: UUID, task_runs: list[UUID]) -> int:
        things = [f"prefect.flow-run.{id}", *(f"prefect.task-run.{run}" for run in [id, *task_runs])]
        number = 0
        for some in _pieces(things):
            found = [row[0] for row in self.connection.execute(EVENTS, {"things": some})]
            for ids in _pieces(found):
                self.connection.execute(REDACT_EVENTS, {"labels": list(PLAIN_LABELS), "ids": ids})
            number += len(found)
        return number

    def _redact_answers(self, id: UUID) -> int:
        """Kept answers name the run they are of. One to a creation is made anew when it is asked for again."""
        found = self.connection.execute(ANSWERS, [str(id)]).fetchall()
        for key, answer in found:
            kept = KEPT.validate_json(answer)
            if isinstance(kept, Made):
                kept = replace(kept, document=b"")
            elif isinstance(kept, OrchestrationResult) and kept.state is not None:
                details = {**kept.details, "reason": ""} if "reason" in kept.details else kept.details
                kept = replace(kept, state=without_payload(kept.state), details=details)
            self.connection.execute(REDACT_ANSWER, [KEPT.dump_json(kept).decode(), key])
        return len(found)


def _pieces(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    return (ids[first : first + AT_ONCE] for first in range(0, len(ids), AT_ONCE))
