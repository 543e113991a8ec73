"""The Variable aggregate: a JSON value under a name, which flows read when they run."""

from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from domain.aggregate import Aggregate
from domain.events import Event


class VariableFacts(BaseModel):
    """What can be changed of a variable; null is a value, not an absence."""

    model_config = ConfigDict(frozen=True)

    name: str = ""
    value: Any = None
    tags: list[str] = Field(default_factory=list)


class VariableCreated(Event):
    TOPIC: ClassVar[str] = "Variable.Created"

    facts: VariableFacts

    @field_serializer("facts")
    def _all(self, facts: VariableFacts) -> dict[str, Any]:
        return facts.model_dump(mode="json")


class VariableUpdated(Event):
    """A caller changed those facts that are set in `changes`."""

    TOPIC: ClassVar[str] = "Variable.Updated"

    changes: VariableFacts

    @field_serializer("changes")
    def _only_what_was_set(self, changes: VariableFacts) -> dict[str, Any]:
        return changes.model_dump(mode="json", exclude_unset=True)


class VariableDeleted(Event):
    TOPIC: ClassVar[str] = "Variable.Deleted"


class Variable(Aggregate):
    """A variable. Its name is unique among the variables that were not deleted."""

    __slots__ = ("facts",)

    kind = "Variable"

    def __init__(self, id: UUID) -> None:
        super().__init__(id)
        self.facts = VariableFacts()

    def fold(self, event: Event) -> None:
        match event:
            case VariableCreated():
                self.facts = event.facts
            case VariableUpdated():
                changed = {field: getattr(event.changes, field) for field in event.changes.model_fields_set}
                self.facts = self.facts.model_copy(update=changed)
            case VariableDeleted():
                self.deleted = True
            case _:
                super().fold(event)
