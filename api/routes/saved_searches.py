"""Saved searches: filters that people keep under names."""

from pydantic import BaseModel, Field

from api.answer import NO_CONTENT, Answer
from api.bodies import Body
from api.call import Call
from api.endpoint import Endpoints
from api.routes.answers import found, made
from api.routes.listing import page_of
from domain.commands.saved_searches import DeleteSavedSearch, SaveSearch
from domain.ids import new_id
from domain.saved_search import SavedSearch, SearchFilter
from projections import kept

endpoints = Endpoints()
NONE = "There is none"


class SearchBody(Body):
    name: str
    filters: list[SearchFilter] = Field(default_factory=list)


class FilterSearches(BaseModel):
    limit: int | None = None
    offset: int = Field(default=0, ge=0)


@endpoints.add(
    "PUT",
    "/saved_searches/",
    "Save a search under a name, in the place of the one there is",
    body=SearchBody,
    answers={201: "The new search", 200: "The search that was there, changed"},
)
async def save_search(call: Call, body: SearchBody) -> Answer:
    return made(await call.execute(SaveSearch(caller=call.caller, id=new_id(), name=body.name, filters=body.filters)))


@endpoints.add("GET", "/saved_searches/{id}", "Read a saved search", answers={200: "The search", 404: NONE})
async def read_saved_search(call: Call) -> Answer:
    return found(await call.services.reads.run(kept.read_saved_search, call.id()), SavedSearch.kind)


@endpoints.add("POST", "/saved_searches/filter", "List saved searches", body=FilterSearches, answers={200: "They"})
async def read_saved_searches(call: Call, body: FilterSearches) -> Answer:
    limit = page_of(call, body.limit)
    return Answer(await call.services.reads.run(kept.read_saved_searches, limit=limit, offset=body.offset))


@endpoints.add("DELETE", "/saved_searches/{id}", "Delete a saved search", answers={204: "Done", 404: NONE})
async def delete_saved_search(call: Call) -> Answer:
    await call.execute(DeleteSavedSearch(caller=call.caller, id=call.id()))
    return NO_CONTENT
