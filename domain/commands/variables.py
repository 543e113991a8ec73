"""What may be asked of variables."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from domain import keys
from domain.commands.command import Command, Deleted, Made
from domain.errors import NameTaken, NoSuchVariable
from domain.keys import Key
from domain.session import Session
from domain.variable import Variable, VariableCreated, VariableDeleted, VariableFacts, VariableUpdated


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVariable(Command):
    """Make a variable. Raises NameTaken."""

    id: UUID
    facts: VariableFacts

    def natural_keys(self) -> Iterable[Key]:
        return (keys.variable_name(self.facts.name),)

    def decide(self, session: Session) -> Made:
        _claim(session, self.facts.name, self.id)
        session.record(session.create(Variable, self.id), VariableCreated, facts=self.facts)
        return Made(self.id, created=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOnVariable(Command):
    """What is asked of one variable, by its id or its name. Raises NoSuchVariable."""

    variable: UUID | str

    def ids(self) -> Iterable[UUID | None]:
        return (self.variable,) if isinstance(self.variable, UUID) else ()

    def natural_keys(self) -> Iterable[Key]:
        return () if isinstance(self.variable, UUID) else (keys.variable_name(self.variable),)

    def find(self, session: Session) -> Variable:
        named = self.variable
        id = named if isinstance(named, UUID) else session.id_of(keys.variable_name(named))
        found = session.find(Variable, id)
        if found is None:
            raise NoSuchVariable(named)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateVariable(CommandOnVariable):
    """Change the facts that are set, and no others. Raises NameTaken."""

    changes: VariableFacts

    def decide(self, session: Session) -> None:
        variable = self.find(session)
        if "name" in self.changes.model_fields_set and self.changes.name != variable.facts.name:
            _claim(session, self.changes.name, variable.id)
            session.release(keys.variable_name(variable.facts.name))
        if self.changes.model_fields_set:
            session.record(variable, VariableUpdated, changes=self.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteVariable(CommandOnVariable):
    """Delete a variable; its name is free again."""

    def decide(self, session: Session) -> Deleted:
        variable = self.find(session)
        session.release(keys.variable_name(variable.facts.name))
        session.record(variable, VariableDeleted)
        return Deleted(finished=True)


def _claim(session: Session, name: str, id: UUID) -> None:
    key = keys.variable_name(name)
    if session.id_of(key) is not None:
        raise NameTaken(Variable.kind, name)
    session.claim(key, id)
