"""Automations are not there: lists of them are empty, and making one is refused in one sentence."""

from pydantic import BaseModel

from api.answer import Answer
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused

endpoints = Endpoints()
NOT_THERE = "Automations are not supported by this server."
NONE = {404: "There is none"}


class AnyAutomations(BaseModel):
    """Whatever is asked of automations, none fits."""


@endpoints.add("POST", "/automations/", "Refuse to make an automation", answers={501: "There are none"})
async def create_automation(call: Call) -> Answer:
    raise Refused(501, NOT_THERE)


@endpoints.add("POST", "/automations/filter", "List automations: none", body=AnyAutomations, answers={200: "None"})
async def read_automations(call: Call, body: AnyAutomations) -> Answer:
    return Answer(b"[]")


@endpoints.add("POST", "/automations/count", "Count automations: none", body=AnyAutomations, answers={200: "Zero"})
async def count_automations(call: Call, body: AnyAutomations) -> Answer:
    return Answer(b"0")


@endpoints.add("GET", "/automations/related-to/{resource}", "List automations of a thing: none")
async def read_related_automations(call: Call) -> Answer:
    return Answer(b"[]")


@endpoints.add(
    "DELETE",
    "/automations/owned-by/{resource}",
    "Delete automations of a thing: none",
    answers={202: "There were none"},
)
async def delete_owned_automations(call: Call) -> Answer:
    return Answer(b"null", 202)


@endpoints.add("GET", "/automations/{id}", "Read an automation", answers=NONE)
async def read_automation(call: Call) -> Answer:
    return _unknown(call)


@endpoints.add("PATCH", "/automations/{id}", "Change an automation", answers=NONE)
async def patch_automation(call: Call) -> Answer:
    return _unknown(call)


@endpoints.add("PUT", "/automations/{id}", "Replace an automation", answers=NONE)
async def update_automation(call: Call) -> Answer:
    return _unknown(call)


@endpoints.add("DELETE", "/automations/{id}", "Delete an automation", answers=NONE)
async def delete_automation(call: Call) -> Answer:
    return _unknown(call)


def _unknown(call: Call) -> Answer:
    call.id()
    raise Refused(404, "Automation not found")
