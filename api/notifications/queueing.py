"""The follower that queues notifications: one for every state that a flow run was set to and a policy wants to know of.

It goes by what the log says up to that event alone: by the policies as they stood then, and by the tags of the run.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from psycopg import AsyncConnection

from domain.events import Event, EventMapper
from domain.flow_run import FlowRun, FlowRunStateSet
from domain.notification_policy import POLICY_TOPICS, NotificationPolicy
from domain.payloads import ErasedKeys
from projections import notifications
from projections.followers import Entry, Window
from projections.notifications import Due

NAME = "notifications"

WIDTH = 4000
"""How many positions are looked at in one transaction."""


class Queueing:
    """Keeps the policies in memory as they stood at a position, and goes on from there. `told` is called when something
    may have been queued."""

    name = NAME

    def __init__(self, queued: Callable[[], None]) -> None:
        self._queued = queued
        # None of what it goes by is payload.
        self._mapper = EventMapper(ErasedKeys())
        self._policies: dict[UUID, NotificationPolicy] = {}
        self._as_of: int | None = None
        self._queued_any = False

    async def look_ahead(self, connection: AsyncConnection, after: int, head: int) -> Window:
        """The next part of the log, up to the next event of a policy. Where none speaks, nothing else is wanted."""
        await self._go_to(connection, after)
        turn = await notifications.next_policy_event(connection, after, head)
        speaking = [policy for policy in self._policies.values() if policy.speaks]
        if not speaking:
            return Window(head, head) if turn is None else Window(turn - 1, turn, tuple(POLICY_TOPICS))
        names: set[str] | None = set()
        for policy in speaking:
            names = None if names is None or not policy.terms.state_names else names | set(policy.terms.state_names)
        upto = min(after + WIDTH, head if turn is None else turn)
        topics = (*POLICY_TOPICS, FlowRunStateSet.TOPIC)
        by_state = (FlowRunStateSet.TOPIC,)
        return Window(after, upto, topics, by_state, None if names is None else tuple(names))

    async def take(self, connection: AsyncConnection, entry: Entry, now: datetime) -> None:
        """Queue what one event makes due, or take in that a policy has changed."""
        event = self._mapper.to_domain_event(entry.stored)
        if isinstance(event, FlowRunStateSet):
            due = await self._made_due(connection, event, entry.position)
            await notifications.queue(connection, due, now)
            self._queued_any = self._queued_any or bool(due)
        else:
            self._fold(event)

    def forget(self) -> None:
        self._policies.clear()
        self._as_of = None
        self._queued_any = False

    def told(self) -> None:
        if self._queued_any:
            self._queued()
        self._queued_any = False

    async def _made_due(self, connection: AsyncConnection, event: FlowRunStateSet, position: int) -> list[Due]:
        id, version, name = event.originator_id, event.originator_version, event.state.name
        wanting = [policy for policy in self._policies.values() if policy.speaks and policy.terms.names(name)]
        if any(policy.terms.tags for policy in wanting):
            stream = await notifications.read_stream(connection, id, version=version)
            tags = FlowRun.replay(id, map(self._mapper.to_domain_event, stream)).tags
            wanting = [policy for policy in wanting if policy.terms.covers(tags)]
        return [Due(policy.id, policy.version, position, id, version, name) for policy in wanting]

    async def _go_to(self, connection: AsyncConnection, position: int) -> None:
        """Have the policies as of a position; what was taken since the last window is folded already."""
        if self._as_of is None or self._as_of > position:
            self._policies.clear()
            self._as_of = 0
            for stored in await notifications.read_policy_events(connection, 0, position, self.name):
                self._fold_stored(stored)
        self._as_of = position

    def _fold_stored(self, stored: StoredEvent) -> None:
        self._fold(self._mapper.to_domain_event(stored))

    def _fold(self, event: Event) -> None:
        """Take in an event of a policy, also one behind another that was set aside."""
        id = event.originator_id
        policy = self._policies.setdefault(id, NotificationPolicy(id))
        policy.fold(event)
        policy.version = event.originator_version
        if policy.deleted:
            del self._policies[id]
