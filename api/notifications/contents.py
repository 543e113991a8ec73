"""What a notification says and where it goes: read from the events when it is sent, by what they said at its position.

Where it goes is what the policy, or its block document, says by now: one that was corrected is not called in vain.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from api.block_documents import Shown
from api.block_secrets import Sealer
from domain import notification_message
from domain.events import EventMapper
from domain.flow import Flow
from domain.flow_run import FlowRun
from domain.notification_message import filled_in
from domain.notification_policy import NotificationPolicy
from projections import blocks, notifications
from projections.documents import as_json
from projections.notifications import LAST_POSITION, LAST_VERSION, Claimed

NO_URL = "Notifications go to the url of a block, and this block has none."


class Undeliverable(Exception):
    """A notification that can no longer be sent, in one sentence."""


class NoBlock(Undeliverable):
    """The block document that says where notifications go does not exist."""

    def __init__(self) -> None:
        super().__init__("The block that says where notifications go is not there.")


@dataclass(frozen=True, slots=True)
class Contents:
    """A notification as it is sent: to which url, signed with what, and the fields of its body."""

    url: str
    signing_secret: str
    subject: str
    message: str
    fields: Mapping[str, Any]

    def body(self) -> bytes:
        """What our webhook sends."""
        return as_json({**self.fields, "message": self.message})


async def read_contents(
    connection: AsyncConnection, claimed: Claimed, sealer: Sealer, ui_url: str | None, mapper: EventMapper
) -> Contents:
    """What a notification says, by events that `mapper` reads, and where it goes. Raises Undeliverable and WrongKey."""
    policy = await _policy(connection, claimed.policy_id)
    then = await _policy(connection, claimed.policy_id, claimed.policy_version)
    run = await _fold(connection, FlowRun, claimed.flow_run_id, version=claimed.flow_run_version, mapper=mapper)
    if run is None or run.state is None:
        raise Undeliverable("The events of the run are no longer in the ledger.")
    flow = await _fold(connection, Flow, run.flow_id, position=claimed.position)
    state = run.state
    url = await _url(connection, policy, sealer)
    where = f"{(ui_url or '').rstrip('/')}/flow-runs/flow-run/{run.id}"
    values = {
        "flow_run_notification_policy_id": str(policy.id),
        "flow_id": str(run.flow_id),
        "flow_name": flow.name if flow else "",
        "flow_run_url": where,
        "flow_run_id": str(run.id),
        "flow_run_name": run.name,
        "flow_run_parameters": as_json(run.parameters).decode(),
        "flow_run_state_type": state.type.value,
        "flow_run_state_name": state.name,
        "flow_run_state_timestamp": state.timestamp.isoformat(),
        "flow_run_state_message": state.message or "",
    }
    fields = {
        "notification_id": claimed.id,
        "policy_id": policy.id,
        "position": claimed.position,
        "flow_run_id": run.id,
        "flow_run_name": run.name,
        "flow_id": run.flow_id,
        "flow_name": values["flow_name"],
        "tags": run.tags,
        "state": {
            "type": state.type.value,
            "name": state.name,
            "message": state.message,
            "timestamp": state.timestamp,
        },
    }
    secret = sealer.open(policy.terms.signing_secret)["signing_secret"]
    template = then.terms.message_template or notification_message.DEFAULT
    subject = filled_in(notification_message.SUBJECT, values)
    return Contents(url, secret, subject, filled_in(template, values), fields)


async def read_block_url(connection: AsyncConnection, id: UUID, sealer: Sealer) -> str:
    """The url that a block document holds. Raises NoBlock, Undeliverable where it has none, and WrongKey."""
    known = await blocks.read_block_documents_by_id(connection, [id])
    if id not in known:
        raise NoBlock
    url = Shown(known, sealer, with_secrets=True).document(known[id])["data"].get("url")
    if not isinstance(url, str) or not url:
        raise Undeliverable(NO_URL)
    return url


async def _url(connection: AsyncConnection, policy: NotificationPolicy, sealer: Sealer) -> str:
    terms = policy.terms
    if terms.url is not None:
        url: str = sealer.open(terms.url.sealed)["url"]
        return url
    if terms.block_document_id is None:
        raise Undeliverable("The policy does not say where notifications go.")
    return await read_block_url(connection, terms.block_document_id, sealer)


async def _policy(connection: AsyncConnection, id: UUID, version: int = LAST_VERSION) -> NotificationPolicy:
    policy: NotificationPolicy | None = await _fold(connection, NotificationPolicy, id, version=version)
    if policy is None:
        raise Undeliverable("The events of the policy are no longer in the ledger.")
    return policy


async def _fold(
    connection: AsyncConnection,
    kind: type[Any],
    id: UUID,
    *,
    version: int = LAST_VERSION,
    position: int = LAST_POSITION,
    mapper: EventMapper | None = None,
) -> Any:
    """The aggregate as of a version and a position; None where it has no events."""
    stream = await notifications.read_stream(connection, id, version=version, position=position)
    if not stream:
        return None
    # Opening a payload may take a look at keys that are elsewhere; requests are served meanwhile.
    return await asyncio.to_thread(kind.replay, id, map((mapper or EventMapper()).to_domain_event, stream))
