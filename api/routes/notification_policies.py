"""Notification policies: who is told when flow runs enter states, and what became of each notification."""

import secrets
from collections.abc import Set
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field, field_validator, model_validator

from api.answer import NO_CONTENT, Answer, answer
from api.block_secrets import WrongKey
from api.bodies import Body
from api.call import Call
from api.endpoint import Endpoints
from api.errors import Refused
from api.notifications import others
from api.notifications.contents import NoBlock, Undeliverable, read_block_url
from api.notifications.targets import UnusableTarget, check_target, shown
from api.routes.answers import found
from api.routes.listing import page_of
from domain.commands.command import Made
from domain.commands.notification_policies import (
    CreateNotificationPolicy,
    DeleteNotificationPolicy,
    UpdateNotificationPolicy,
)
from domain.ids import new_id
from domain.notification_message import check_template
from domain.notification_policy import NotificationPolicy, PolicyTerms, SealedUrl
from projections import notification_policies, notifications
from projections.documents import as_json

endpoints = Endpoints()
NONE = "There is none"
ONE_TARGET = "Exactly one of block_document_id and url says where notifications go"
NO_BLOCK = "The block document does not exist"
PLAIN = frozenset({"is_active", "state_names", "tags", "message_template"})
"""The terms that are kept as they are given."""

SECRET_BYTES = 32
LONGEST_SECRET = 1000


class PolicyUpdate(Body):
    """`url` and `signing_secret` are kept as they are where they are not named."""

    is_active: bool = True
    state_names: list[str] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    message_template: str | None = None
    block_document_id: UUID | None = None
    url: str | None = None
    signing_secret: str | None = Field(default=None, min_length=1, max_length=LONGEST_SECRET)

    @field_validator("message_template")
    @classmethod
    def _can_be_filled_in(cls, template: str | None) -> str | None:
        if template is not None:
            check_template(template)
        return template

    @model_validator(mode="after")
    def _one_target(self) -> "PolicyUpdate":
        given = {"block_document_id", "url"} & self.model_fields_set
        if given and (self.block_document_id is None) == (self.url is None):
            raise ValueError(ONE_TARGET)
        return self


class PolicyCreate(PolicyUpdate):
    """Exactly one of `block_document_id` and `url` is there. Without a `signing_secret` one is made."""

    @model_validator(mode="after")
    def _has_a_target(self) -> "PolicyCreate":
        if self.block_document_id is None and self.url is None:
            raise ValueError(ONE_TARGET)
        return self


class IsActive(BaseModel):
    eq_: bool | None = None


class PolicyFilter(BaseModel):
    is_active: IsActive | None = None


class FilterPolicies(BaseModel):
    flow_run_notification_policy_filter: PolicyFilter | None = None
    limit: int | None = None
    offset: int = Field(default=0, ge=0)


@endpoints.add(
    "POST",
    "/flow_run_notification_policies/",
    "Make a notification policy",
    body=PolicyCreate,
    answers={201: "The new policy, and this once the secret that its deliveries are signed with", 409: NO_BLOCK},
)
async def create_notification_policy(call: Call, body: PolicyCreate) -> Answer:
    terms = await _changes(call, body, PLAIN)
    terms["signing_secret"] = await _sealed_secret(call, body.signing_secret or secrets.token_urlsafe(SECRET_BYTES))
    result = await call.execute(CreateNotificationPolicy(caller=call.caller, id=new_id(), terms=PolicyTerms(**terms)))
    if not isinstance(result, Made):
        raise TypeError("A creation is answered by what was made")
    # Of a request that came again the answer has the secret that was kept, not the one that was made for it now.
    kept = await call.services.reads.run(notification_policies.read_signing_secret, result.id)
    secret = None if kept is None else (await call.services.sealing.sealer()).open(kept)["signing_secret"]
    document = await call.services.reads.run(notification_policies.read_policy, result.id, whole=_needs_block_id(call))
    if document is None:
        document = result.document
    return Answer(document[:-1] + b',"signing_secret":' + as_json(secret) + b"}", 201)


@endpoints.add(
    "GET",
    "/flow_run_notification_policies/{id}",
    "Read a notification policy",
    answers={200: "The policy", 404: NONE},
)
async def read_notification_policy(call: Call) -> Answer:
    document = await call.services.reads.run(notification_policies.read_policy, call.id(), whole=_needs_block_id(call))
    return found(document, NotificationPolicy.kind)


@endpoints.add(
    "POST",
    "/flow_run_notification_policies/filter",
    "List notification policies",
    body=FilterPolicies,
    answers={200: "They"},
)
async def read_notification_policies(call: Call, body: FilterPolicies) -> Answer:
    asked = body.flow_run_notification_policy_filter
    is_active = asked.is_active.eq_ if asked and asked.is_active else None
    documents = await call.services.reads.run(
        notification_policies.read_policies,
        is_active,
        whole=_needs_block_id(call),
        limit=page_of(call, body.limit),
        offset=body.offset,
    )
    return Answer(documents)


@endpoints.add(
    "PATCH",
    "/flow_run_notification_policies/{id}",
    "Change what the body names of a notification policy",
    body=PolicyUpdate,
    answers={204: "Done", 404: NONE, 409: NO_BLOCK},
)
async def update_notification_policy(call: Call, body: PolicyUpdate) -> Answer:
    changes = await _changes(call, body, PLAIN & body.model_fields_set)
    if body.signing_secret is not None:
        changes["signing_secret"] = await _sealed_secret(call, body.signing_secret)
    await call.execute(UpdateNotificationPolicy(caller=call.caller, id=call.id(), changes=PolicyTerms(**changes)))
    return NO_CONTENT


@endpoints.add(
    "DELETE",
    "/flow_run_notification_policies/{id}",
    "Delete a notification policy; what is due by it already is still delivered",
    answers={204: "Done", 404: NONE},
)
async def delete_notification_policy(call: Call) -> Answer:
    await call.execute(DeleteNotificationPolicy(caller=call.caller, id=call.id()))
    return NO_CONTENT


@endpoints.add(
    "GET",
    "/flow_run_notification_policies/{id}/deliveries",
    "List the notifications by a policy, newest first, with every attempt to deliver each",
    answers={200: "The notifications", 404: NONE},
    options=("limit", "offset"),
)
async def read_deliveries(call: Call) -> Answer:
    limit, offset = call.query_number("limit"), call.query_number("offset")
    documents = await call.services.reads.run(
        notifications.read_deliveries, call.id(), limit=page_of(call, limit), offset=offset or 0
    )
    return found(documents, NotificationPolicy.kind)


@endpoints.add(
    "POST",
    "/flow_run_notification_policies/deliveries/{id}/redeliver",
    "Deliver a notification once more that was delivered or given up",
    answers={202: "It is queued", 404: NONE, 409: "It is queued or under way already"},
)
async def redeliver(call: Call) -> Answer:
    before = await call.services.reads.run(notifications.redeliver, call.id(), datetime.now(UTC))
    if before is None:
        raise Refused(404, "Notification not found")
    if before not in ("delivered", "dead"):
        raise Refused(409, f"The notification is {before} already.")
    call.services.herald.tell()
    return answer({"id": call.id(), "status": "queued"}, 202)


async def _changes(call: Call, body: PolicyUpdate, fields: Set[str]) -> dict[str, Any]:
    """The terms that a body names, the url sealed. Raises Refused (422) for one that notifications cannot go to."""
    changes = {field: getattr(body, field) for field in fields}
    sealer = await call.services.sealing.sealer()
    if body.url is not None:
        changes["url"] = SealedUrl(sealed=sealer.seal({"url": body.url}), shown=await _checked(call, body.url))
    if body.block_document_id is not None:
        changes["block_document_id"] = body.block_document_id
        try:
            await _checked(call, await call.services.reads.run(read_block_url, body.block_document_id, sealer))
        except NoBlock:
            # Whether there is one is decided by the ledger.
            return changes
        except (Undeliverable, WrongKey) as error:
            raise Refused(422, str(error)) from None
    return changes


async def _checked(call: Call, url: str) -> str:
    """As much of a url as may be shown."""
    allow_private = call.services.settings.notifications_allow_private_targets
    try:
        target = await check_target(url, allow_private=allow_private)
        if not target.is_webhook:
            await others.check(target, allow_private=allow_private)
    except UnusableTarget as error:
        raise Refused(422, str(error)) from None
    return shown(target)


async def _sealed_secret(call: Call, secret: str) -> str:
    return (await call.services.sealing.sealer()).seal({"signing_secret": secret})


def _needs_block_id(call: Call) -> bool:
    """Whether the caller cannot read a policy without the id of a block: clients before 3.x know no other."""
    return call.dialect in ("orion", "prefect-2")
