"""What may be asked of notification policies."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from domain.block_document import BlockDocument
from domain.commands.command import Command, CommandOnOne, Deleted, Made
from domain.errors import MissingReference
from domain.notification_policy import NotificationPolicy, PolicyCreated, PolicyDeleted, PolicyTerms, PolicyUpdated
from domain.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateNotificationPolicy(Command):
    """Make a policy. Raises MissingReference where its block document does not exist."""

    id: UUID
    terms: PolicyTerms

    def ids(self) -> Iterable[UUID | None]:
        return (self.terms.block_document_id,)

    def decide(self, session: Session) -> Made:
        _require_block(session, self.terms)
        session.record(session.create(NotificationPolicy, self.id), PolicyCreated, terms=self.terms)
        return Made(self.id, created=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateNotificationPolicy(CommandOnOne):
    """Change the terms that are set, and no others. A new url takes the place of a block, and the other way round.

    Raises MissingReference.
    """

    changes: PolicyTerms

    def ids(self) -> Iterable[UUID | None]:
        return (self.id, self.changes.block_document_id)

    def decide(self, session: Session) -> None:
        policy = session.get(NotificationPolicy, self.id)
        _require_block(session, self.changes)
        if self.changes.model_fields_set:
            session.record(policy, PolicyUpdated, changes=self._with_one_target())

    def _with_one_target(self) -> PolicyTerms:
        changes = {field: getattr(self.changes, field) for field in self.changes.model_fields_set}
        if self.changes.url is not None:
            changes["block_document_id"] = None
        elif self.changes.block_document_id is not None:
            changes["url"] = None
        return PolicyTerms(**changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteNotificationPolicy(CommandOnOne):
    """Delete a policy: nothing becomes due by it any more."""

    def decide(self, session: Session) -> Deleted:
        session.record(session.get(NotificationPolicy, self.id), PolicyDeleted)
        return Deleted(finished=True)


def _require_block(session: Session, terms: PolicyTerms) -> None:
    id = terms.block_document_id
    if id is not None and session.find(BlockDocument, id) is None:
        raise MissingReference(BlockDocument.kind, id)
