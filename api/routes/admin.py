"""The service itself: is it there, which version does it speak, how is it set."""

import json

from pydantic import BaseModel

from api.answer import NO_CONTENT, Answer, answer
from api.call import Call
from api.dialect import version_for
from api.endpoint import Endpoints
from api.errors import Refused
from projections.schema import read_shape, shape
from projections.service_states import read_services

endpoints = Endpoints()

API_VERSION = "0.8.4"
"""The version of the REST dialect that clients 2.7 to 3.9 send and expect."""


class ClearDatabase(BaseModel):
    confirm: bool = False


@endpoints.add("GET", "/health", "Whether the process is alive", answers={200: "true"})
async def health(call: Call) -> Answer:
    return Answer(b"true")


@endpoints.add(
    "GET", "/ready", "Whether requests can be served", answers={200: "They can", 503: "The database says otherwise"}
)
async def ready(call: Call) -> Answer:
    found = await call.services.reads.run(read_shape)
    if found != shape():
        return answer({"message": "The read tables have the shape of another version."}, 503)
    return answer({"message": "OK"})


@endpoints.add("GET", "/hello", "A greeting")
async def hello(call: Call) -> Answer:
    return answer("👋")


@endpoints.add("GET", "/version", "The version of the REST dialect")
async def version(call: Call) -> Answer:
    return answer(API_VERSION)


@endpoints.add("GET", "/admin/version", "The server version that the caller can talk to")
async def server_version(call: Call) -> Answer:
    return answer(version_for(call.user_agent))


@endpoints.add("GET", "/admin/settings", "The settings, secrets blanked out")
async def settings(call: Call) -> Answer:
    return answer(json.loads(call.services.settings.model_dump_json()))


@endpoints.add("GET", "/admin/storage", "Where results are stored by default: nowhere in particular")
async def storage(call: Call) -> Answer:
    return answer({"default_result_storage_block_id": None})


@endpoints.add("GET", "/admin/services", "What runs in the background: where, since when, and what it did last")
async def services(call: Call) -> Answer:
    return Answer(await call.services.reads.run(read_services))


@endpoints.add("GET", "/csrf-token", "CSRF tokens are not in use", answers={422: "They are not in use"})
async def csrf_token(call: Call) -> Answer:
    raise Refused(422, "CSRF protection is disabled.")


@endpoints.add(
    "POST",
    "/admin/database/clear",
    "Delete everything, events included",
    body=ClearDatabase,
    answers={204: "Done", 400: "It was not confirmed", 403: "The setting `allow_clear` is off"},
)
async def clear_database(call: Call, body: ClearDatabase) -> Answer:
    if not call.services.settings.allow_clear:
        raise Refused(403, "Clearing is not allowed: FLOWLEDGER_ALLOW_CLEAR is off.")
    if not body.confirm:
        raise Refused(400, 'Clearing deletes every event; confirm it with {"confirm": true}.')
    await call.services.queue.clear()
    return NO_CONTENT
