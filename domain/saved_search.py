"""The SavedSearch aggregate: filters that a person keeps under a name."""

from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from domain.aggregate import Aggregate
from domain.events import Event


class SearchFilter(BaseModel):
    """One line of a search: what must hold of which property of which kind of thing. Source: server 2.7.12."""

    model_config = ConfigDict(frozen=True)

    object: str
    property: str
    type: str
    operation: str
    value: Any = None


class SearchSaved(Event):
    """A search was saved under a name, in the place of the one that had the name before."""

    TOPIC: ClassVar[str] = "SavedSearch.Saved"

    name: str
    filters: list[SearchFilter]


class SearchDeleted(Event):
    TOPIC: ClassVar[str] = "SavedSearch.Deleted"


class SavedSearch(Aggregate):
    """A saved search. Its name is unique among those that were not deleted."""

    __slots__ = ("filters", "name")

    kind = "Saved search"

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.name = ""
        self.filters: list[SearchFilter] = []

    def fold(self, event: Event) -> None:
        match event:
            case SearchSaved():
                self.name = event.name
                self.filters = event.filters
            case SearchDeleted():
                self.deleted = True
            case _:
                super().fold(event)
