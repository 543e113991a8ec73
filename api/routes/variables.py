"""Variables: JSON values under names, made, read, listed, changed, deleted."""

import re
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import to_json

from api.answer import NO_CONTENT, Answer
from api.bodies import Body
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused
from api.routes.answers import made
from api.routes.listing import page_of
from domain.commands.variables import CreateVariable, DeleteVariable, UpdateVariable
from domain.errors import NameTaken
from domain.ids import new_id
from domain.variable import VariableFacts
from projections import kept
from projections.filters.variables import VariableFilter
from projections.lists import Page
from projections.sorting import VariableSort

endpoints = Endpoints()
NAME = re.compile(r"[a-z0-9_-]*")
LONGEST_NAME = 255
LONGEST_VALUE = 5000
NONE = "There is none"
TAKEN = "Another variable has that name"
UNKNOWN = "Variable not found."


def _named(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError("Variable name must only contain lowercase letters, numbers, and dashes or underscores.")
    return name


def _short(value: Any) -> Any:
    if len(to_json(value).decode()) > LONGEST_VALUE:
        raise ValueError(f"Variable value must be less than {LONGEST_VALUE} characters")
    return value


VariableName = Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(_named)]
VariableValue = Annotated[str | int | bool | float | dict[str, Any] | list[Any] | None, AfterValidator(_short)]


class VariableCreate(Body):
    name: VariableName
    value: VariableValue
    tags: list[str] = Field(default_factory=list)


class VariableUpdate(Body):
    """Null leaves name and tags as they are; a null value is a value."""

    name: VariableName | None = None
    value: VariableValue = None
    tags: list[str] | None = None

    def changes(self) -> VariableFacts:
        given = {field: getattr(self, field) for field in self.model_fields_set}
        return VariableFacts(
            **{field: value for field, value in given.items() if field == "value" or value is not None}
        )


class FilterVariables(BaseModel):
    variables: VariableFilter | None = None
    sort: VariableSort | None = None
    limit: int | None = None
    offset: int = Field(default=0, ge=0)


class CountVariables(BaseModel):
    variables: VariableFilter | None = None


@endpoints.add(
    "POST", "/variables/", "Make a variable", body=VariableCreate, answers={201: "The new variable", 409: TAKEN}
)
async def create_variable(call: Call, body: VariableCreate) -> Answer:
    facts = VariableFacts(name=body.name, value=body.value, tags=body.tags)
    try:
        return made(await call.execute(CreateVariable(caller=call.caller, id=new_id(), facts=facts)))
    except NameTaken as error:
        raise _taken(error) from None


@endpoints.add("GET", "/variables/{id}", "Read a variable", answers={200: "The variable", 404: NONE})
async def read_variable(call: Call) -> Answer:
    return _found(await call.services.reads.run(kept.read_variable, call.id()))


@endpoints.add("GET", "/variables/name/{name}", "Read a variable by its name", answers={200: "It", 404: NONE})
async def read_variable_by_name(call: Call) -> Answer:
    return _found(await call.services.reads.run(kept.read_variable, call.text("name")))


@endpoints.add("POST", "/variables/filter", "List variables", body=FilterVariables, answers={200: "The variables"})
async def read_variables(call: Call, body: FilterVariables) -> Answer:
    page = Page(page_of(call, body.limit), body.offset)
    return Answer(await call.services.reads.run(kept.read_variables, body.variables, body.sort, page))


@endpoints.add("POST", "/variables/count", "Count variables", body=CountVariables, answers={200: "Their number"})
async def count_variables(call: Call, body: CountVariables) -> Answer:
    return Answer(b"%d" % await call.services.reads.run(kept.count_variables, body.variables))


@endpoints.add(
    "PATCH",
    "/variables/{id}",
    "Change what the body names of a variable",
    body=VariableUpdate,
    answers={204: "Done", 404: NONE, 409: TAKEN},
)
async def update_variable(call: Call, body: VariableUpdate) -> Answer:
    return await _update(call, call.id(), body)


@endpoints.add(
    "PATCH",
    "/variables/name/{name}",
    "Change what the body names of a variable",
    body=VariableUpdate,
    answers={204: "Done", 404: NONE, 409: TAKEN},
)
async def update_variable_by_name(call: Call, body: VariableUpdate) -> Answer:
    return await _update(call, call.text("name"), body)


@endpoints.add("DELETE", "/variables/{id}", "Delete a variable", answers={204: "Done", 404: NONE})
async def delete_variable(call: Call) -> Answer:
    await call.execute(DeleteVariable(caller=call.caller, variable=call.id()))
    return NO_CONTENT


@endpoints.add("DELETE", "/variables/name/{name}", "Delete a variable by its name", answers={204: "Done", 404: NONE})
async def delete_variable_by_name(call: Call) -> Answer:
    await call.execute(DeleteVariable(caller=call.caller, variable=call.text("name")))
    return NO_CONTENT


async def _update(call: Call, variable: UUID | str, body: VariableUpdate) -> Answer:
    try:
        await call.execute(UpdateVariable(caller=call.caller, variable=variable, changes=body.changes()))
    except NameTaken as error:
        raise _taken(error) from None
    return NO_CONTENT


def _found(document: bytes | None) -> Answer:
    if document is None:
        raise Refused(404, UNKNOWN)
    return Answer(document)


def _taken(error: NameTaken) -> Refused:
    return Refused(409, f"A variable with the name '{error.name}' already exists.")
