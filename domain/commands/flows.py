"""What may be asked of flows."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from domain import keys
from domain.commands.command import Command, CommandOnOne, Deleted, Made
from domain.flow import Flow, FlowCreated, FlowDeleted, FlowUpdated, Labels
from domain.keys import Key
from domain.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateFlow(Command):
    """Make a flow of that name, or find the one there is."""

    id: UUID
    name: str
    tags: list[str]
    labels: Labels

    def natural_keys(self) -> Iterable[Key]:
        return (keys.flow_name(self.name),)

    def decide(self, session: Session) -> Made:
        key = keys.flow_name(self.name)
        existing = session.id_of(key)
        if existing is not None:
            return Made(existing, created=False)
        flow = session.create(Flow, self.id)
        session.claim(key, flow.id)
        session.record(flow, FlowCreated, name=self.name, tags=self.tags, labels=self.labels)
        return Made(flow.id, created=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFlow(CommandOnOne):
    """Give a flow other tags; without tags nothing is meant and nothing happens."""

    tags: list[str] | None

    def decide(self, session: Session) -> None:
        flow = session.get(Flow, self.id)
        if self.tags is not None:
            session.record(flow, FlowUpdated, tags=self.tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteFlow(CommandOnOne):
    """Delete a flow; its name is free again. Its runs and deployments are for the caller to delete."""

    def decide(self, session: Session) -> Deleted:
        flow = session.get(Flow, self.id)
        session.release(keys.flow_name(flow.name))
        session.record(flow, FlowDeleted)
        return Deleted(finished=True)
