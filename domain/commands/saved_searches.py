"""What may be asked of saved searches."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from domain import keys
from domain.commands.command import Command, CommandOnOne, Deleted, Made
from domain.keys import Key
from domain.saved_search import SavedSearch, SearchDeleted, SearchFilter, SearchSaved
from domain.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveSearch(Command):
    """Save a search under a name; one that is there under it is replaced."""

    id: UUID
    name: str
    filters: list[SearchFilter]

    def natural_keys(self) -> Iterable[Key]:
        return (keys.saved_search_name(self.name),)

    def decide(self, session: Session) -> Made:
        key = keys.saved_search_name(self.name)
        existing = session.find(SavedSearch, session.id_of(key))
        search = existing or session.create(SavedSearch, self.id)
        if existing is None:
            session.claim(key, search.id)
        session.record(search, SearchSaved, name=self.name, filters=self.filters)
        return Made(search.id, created=existing is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSavedSearch(CommandOnOne):
    """Delete a saved search; its name is free again."""

    def decide(self, session: Session) -> Deleted:
        search = session.get(SavedSearch, self.id)
        session.release(keys.saved_search_name(search.name))
        session.record(search, SearchDeleted)
        return Deleted(finished=True)
