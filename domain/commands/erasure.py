"""What may be asked about what people put into runs: that nobody can read it any more.

The ledger says first that it was erased, so that from then on nothing is kept of it; then its key is destroyed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from domain.commands.command import Command, CommandOnOne, Erased
from domain.errors import BeganInPlain, NotEnded, NotFound, SharesKey
from domain.flow_run import FlowRun, FlowRunPayloadErased
from domain.run import Run
from domain.session import Session
from domain.task_run import TaskRun, TaskRunPayloadErased


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasePayload(CommandOnOne):
    """Say of a run with a key of its own that its payload was erased, once; its task runs are asked for by themselves.

    Of one that was deleted or archived nothing more is said. Raises NotFound, BeganInPlain, SharesKey and NotEnded.
    """

    def decide(self, session: Session) -> Erased:
        run = session.peek(self.id)
        if not isinstance(run, Run):
            raise NotFound("Run", self.id)
        if run.archive_id is not None:
            # What it was like is in the archive; its key, if it has one, bears its id.
            return Erased(run.id)
        if run.payload_key is None:
            raise BeganInPlain(run.kind, run.id)
        if isinstance(run, TaskRun) and run.flow_run_id is not None:
            raise SharesKey(run.id, run.flow_run_id)
        if not run.deleted and not run.is_erased:
            if run.state is None or not run.state.is_terminal:
                raise NotEnded(run.kind, run.id)
            session.record(run, FlowRunPayloadErased if isinstance(run, FlowRun) else TaskRunPayloadErased)
        return Erased(run.payload_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseTaskRuns(Command):
    """Say of task runs of a flow run that their payload was erased with that of the flow run, of each once."""

    flow_run_id: UUID
    task_runs: tuple[UUID, ...]

    def ids(self) -> Iterable[UUID | None]:
        return self.task_runs

    def decide(self, session: Session) -> None:
        for id in self.task_runs:
            run = session.find(TaskRun, id)
            if run is not None and run.flow_run_id == self.flow_run_id and not run.is_erased:
                session.record(run, TaskRunPayloadErased)
