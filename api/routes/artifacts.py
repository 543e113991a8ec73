"""Artifacts: what runs put up for people to see; each by itself, and the newest of each key."""

from pydantic import Field

from api.answer import NO_CONTENT, Answer
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused
from api.late_payload import erased_among, kept_artifact
from api.routes.listing import RunFilters, page_of
from domain.ids import new_id
from projections import artifacts
from projections.artifacts import ArtifactCreate, ArtifactUpdate
from projections.filters.artifacts import ArtifactFilter, LatestArtifactFilter
from projections.lists import Page
from projections.sorting import ArtifactSort

endpoints = Endpoints()
UNKNOWN = "Artifact not found."
NONE = "There is none"


class CountArtifacts(RunFilters):
    artifacts: ArtifactFilter | None = None


class FilterArtifacts(CountArtifacts):
    sort: ArtifactSort | None = None
    limit: int | None = None
    offset: int = Field(default=0, ge=0)


class CountLatestArtifacts(RunFilters):
    artifacts: LatestArtifactFilter | None = None


class FilterLatestArtifacts(CountLatestArtifacts):
    sort: ArtifactSort | None = None
    limit: int | None = None
    offset: int = Field(default=0, ge=0)


@endpoints.add("POST", "/artifacts/", "Put up an artifact", body=ArtifactCreate, answers={201: "The new artifact"})
async def create_artifact(call: Call, body: ArtifactCreate) -> Answer:
    kept = await kept_artifact(call.services.keys, body)
    document = await call.services.reads.run(artifacts.write_artifact, kept, new_id(), new_id())
    return Answer(document, 201)


@endpoints.add("GET", "/artifacts/{id}", "Read an artifact", answers={200: "The artifact", 404: NONE})
async def read_artifact(call: Call) -> Answer:
    return _found(await call.services.reads.run(artifacts.read_artifact, call.id()))


@endpoints.add("GET", "/artifacts/{key}/latest", "Read the newest artifact of a key", answers={200: "It", 404: NONE})
async def read_latest_artifact(call: Call) -> Answer:
    return _found(await call.services.reads.run(artifacts.read_latest_artifact, call.text("key")))


@endpoints.add("POST", "/artifacts/filter", "List artifacts", body=FilterArtifacts, answers={200: "The artifacts"})
async def read_artifacts(call: Call, body: FilterArtifacts) -> Answer:
    where = artifacts.artifacts_where(body.artifacts, **body.filters())
    page = Page(page_of(call, body.limit), body.offset)
    return Answer(await call.services.reads.run(artifacts.read_artifacts, artifacts.ARTIFACTS, where, body.sort, page))


@endpoints.add("POST", "/artifacts/count", "Count artifacts", body=CountArtifacts, answers={200: "Their number"})
async def count_artifacts(call: Call, body: CountArtifacts) -> Answer:
    where = artifacts.artifacts_where(body.artifacts, **body.filters())
    return Answer(b"%d" % await call.services.reads.run(artifacts.count_artifacts, artifacts.ARTIFACTS, where))


@endpoints.add(
    "POST",
    "/artifacts/latest/filter",
    "List the newest artifact of each key",
    body=FilterLatestArtifacts,
    answers={200: "The keys, each with its newest artifact"},
)
async def read_latest_artifacts(call: Call, body: FilterLatestArtifacts) -> Answer:
    where = artifacts.latest_where(body.artifacts, **body.filters())
    page = Page(page_of(call, body.limit), body.offset)
    source = artifacts.LATEST_ARTIFACTS
    return Answer(await call.services.reads.run(artifacts.read_artifacts, source, where, body.sort, page))


@endpoints.add(
    "POST", "/artifacts/latest/count", "Count keys", body=CountLatestArtifacts, answers={200: "Their number"}
)
async def count_latest_artifacts(call: Call, body: CountLatestArtifacts) -> Answer:
    where = artifacts.latest_where(body.artifacts, **body.filters())
    number = await call.services.reads.run(artifacts.count_artifacts, artifacts.LATEST_ARTIFACTS, where)
    return Answer(b"%d" % number)


@endpoints.add(
    "PATCH",
    "/artifacts/{id}",
    "Change what the body names of an artifact",
    body=ArtifactUpdate,
    answers={204: "Done", 404: NONE},
)
async def update_artifact(call: Call, body: ArtifactUpdate) -> Answer:
    runs = await call.services.reads.run(artifacts.runs_of_artifact, call.id()) if call.services.keys else ()
    if await erased_among(call.services.keys, runs):
        return NO_CONTENT
    if not await call.services.reads.run(artifacts.update_artifact, call.id(), body):
        raise Refused(404, UNKNOWN)
    return NO_CONTENT


@endpoints.add("DELETE", "/artifacts/{id}", "Delete an artifact", answers={204: "Done", 404: NONE})
async def delete_artifact(call: Call) -> Answer:
    if not await call.services.reads.run(artifacts.delete_artifact, call.id()):
        raise Refused(404, UNKNOWN)
    return NO_CONTENT


def _found(document: bytes | None) -> Answer:
    if document is None:
        raise Refused(404, UNKNOWN)
    return Answer(document)
