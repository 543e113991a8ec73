"""The notifications that are due: queueing them, handing them to who delivers them, and what became of each.

A notification says what the ledger says of a position, so what it says is not kept here: it is read from the events
when it is sent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from eventsourcing.persistence import StoredEvent
from psycopg import AsyncConnection, sql

from projections.columns import AS_TIME
from projections.lists import json_array

POLICY_EVENTS = """
SELECT originator_id, originator_version, topic, state FROM ledger.events
WHERE starts_with(topic, 'NotificationPolicy.') AND position > %s AND position <= %s
    AND position NOT IN (SELECT position FROM telemetry.set_aside WHERE follower = %s)
ORDER BY position
"""

NEXT_POLICY_EVENT = """
SELECT min(position) FROM ledger.events
WHERE starts_with(topic, 'NotificationPolicy.') AND position > %s AND position <= %s
"""

STREAM = """
SELECT originator_id, originator_version, topic, state FROM ledger.events
WHERE originator_id = %s AND originator_version <= %s AND position <= %s ORDER BY originator_version
"""

QUEUE = """
INSERT INTO telemetry.notifications
    (id, policy_id, policy_version, position, flow_run_id, flow_run_version, state_name, status, created,
     next_attempt_at)
VALUES (%(id)s, %(policy_id)s, %(policy_version)s, %(position)s, %(flow_run_id)s, %(flow_run_version)s,
        %(state_name)s, 'queued', %(now)s, %(now)s)
ON CONFLICT (policy_id, position) DO NOTHING
"""

CLAIM = """
WITH RECURSIVE policy(id) AS (
    (SELECT policy_id FROM telemetry.notifications WHERE status = 'queued' ORDER BY policy_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT policy_id FROM telemetry.notifications
        WHERE status = 'queued' AND policy_id > policy.id ORDER BY policy_id LIMIT 1
    )
    FROM policy WHERE policy.id IS NOT NULL
), due AS (
    SELECT found.id FROM policy CROSS JOIN LATERAL (
        SELECT waiting.id, next_attempt_at FROM telemetry.notifications AS waiting
        WHERE waiting.policy_id = policy.id AND status = 'queued' AND next_attempt_at <= %(now)s
        ORDER BY next_attempt_at, position LIMIT %(of_policy)s
    ) AS found
    WHERE policy.id <> ALL(%(busy)s) ORDER BY found.next_attempt_at LIMIT %(limit)s
), claimed AS (
    UPDATE telemetry.notifications AS notification SET status = 'sending', attempts = attempts + 1
    FROM due WHERE notification.id = due.id AND status = 'queued'
    RETURNING notification.id, policy_id, policy_version, position, flow_run_id, flow_run_version, attempts, failures
), noted AS (
    INSERT INTO telemetry.notification_attempts (notification_id, number, started)
    SELECT id, attempts, %(now)s FROM claimed
)
SELECT * FROM claimed ORDER BY position
"""
"""Takes what is due, so much of each policy; from one that has any to the next it is one step in an index."""

FINISH = """
WITH ended AS (
    UPDATE telemetry.notification_attempts
    SET finished = %(at)s, outcome = %(outcome)s, status_code = %(status_code)s, error = %(error)s
    WHERE notification_id = %(id)s AND number = %(number)s
)
UPDATE telemetry.notifications
SET status = %(status)s, next_attempt_at = %(next_attempt_at)s, failures = %(failures)s WHERE id = %(id)s
"""

END_INTERRUPTED = """
WITH ended AS (
    UPDATE telemetry.notification_attempts SET finished = %(now)s, outcome = 'unknown', error = %(error)s
    WHERE finished IS NULL AND notification_id <> ALL(%(under_way)s)
)
UPDATE telemetry.notifications SET status = 'queued', next_attempt_at = %(now)s
WHERE status = 'sending' AND id <> ALL(%(under_way)s)
"""

REDELIVER = """
UPDATE telemetry.notifications SET status = 'queued', next_attempt_at = %s, failures = 0
WHERE id = %s AND status IN ('delivered', 'dead')
"""

STATUS = "SELECT status FROM telemetry.notifications WHERE id = %s"

FORGET = """
DELETE FROM telemetry.notifications WHERE id IN (
    SELECT id FROM telemetry.notifications
    WHERE created < %s AND status IN ('delivered', 'dead') ORDER BY created LIMIT %s
)
"""

INTERRUPTED = "Who sent it could not note how that ended"

IS_KNOWN = """
SELECT EXISTS (SELECT FROM telemetry.notifications WHERE policy_id = %(id)s)
    OR EXISTS (SELECT FROM read.notification_policies WHERE id = %(id)s)
"""

DELIVERIES = json_array(
    sql.SQL(
        'SELECT concat(\'{{"id":"\', notification.id, \'","policy_id":"\', policy_id, \'","position":\', position,'
        ' \',"flow_run_id":"\', flow_run_id, \'","state_name":\', to_json(state_name), \',"status":"\', status,'
        ' \'","created":\', {created}, \',"next_attempt_at":\', {next}, \',"attempt_count":\', attempts,'
        " ',\"attempts\":[', (SELECT string_agg(concat('{{\"number\":', number, ',\"started\":', {started},"
        " ',\"finished\":', {finished}, ',\"outcome\":', coalesce(to_json(outcome)::text, 'null'),"
        " ',\"status_code\":', coalesce(status_code::text, 'null'), ',\"error\":',"
        " coalesce(to_json(error)::text, 'null'), '}}'), ',' ORDER BY number)"
        " FROM telemetry.notification_attempts WHERE notification_id = notification.id), ']}}')"
        " FROM (SELECT * FROM telemetry.notifications WHERE policy_id = %s ORDER BY position DESC LIMIT %s OFFSET %s)"
        " AS notification ORDER BY position DESC"
    ).format(
        created=sql.SQL(AS_TIME).format(column=sql.Identifier("created")),
        next=sql.SQL(AS_TIME).format(column=sql.Identifier("next_attempt_at")),
        started=sql.SQL(AS_TIME).format(column=sql.Identifier("started")),
        finished=sql.SQL(AS_TIME).format(column=sql.Identifier("finished")),
    )
).as_string(None)

LAST_VERSION = 2**31 - 1
LAST_POSITION = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Due:
    """What an event makes due: a notification by a policy, as that was at a version, about a version of a flow run."""

    policy_id: UUID
    policy_version: int
    position: int
    flow_run_id: UUID
    flow_run_version: int
    state_name: str

    @property
    def id(self) -> UUID:
        """The id of the notification: always the same, so that receivers can tell one that comes again."""
        return uuid5(self.policy_id, str(self.position))


@dataclass(frozen=True, slots=True)
class Claimed:
    """A notification that is to be delivered now; this is attempt number `attempt`, behind so many `failures`."""

    id: UUID
    policy_id: UUID
    policy_version: int
    position: int
    flow_run_id: UUID
    flow_run_version: int
    attempt: int
    failures: int


async def read_policy_events(connection: AsyncConnection, after: int, upto: int, follower: str) -> list[StoredEvent]:
    """The events of all policies in a part of the log, in its order, but for those that a follower has set aside."""
    rows = await (await connection.execute(POLICY_EVENTS, [after, upto, follower])).fetchall()
    return [StoredEvent(id, version, topic, state.encode()) for id, version, topic, state in rows]


async def next_policy_event(connection: AsyncConnection, after: int, upto: int) -> int | None:
    """The position of the first event of a policy in a part of the log."""
    row = await (await connection.execute(NEXT_POLICY_EVENT, [after, upto])).fetchone()
    return row[0] if row else None


async def read_stream(
    connection: AsyncConnection, id: UUID, *, version: int = LAST_VERSION, position: int = LAST_POSITION
) -> list[StoredEvent]:
    """The events of one aggregate up to a version and a position."""
    rows = await (await connection.execute(STREAM, [id, version, position])).fetchall()
    return [StoredEvent(id, version, topic, state.encode()) for id, version, topic, state in rows]


async def queue(connection: AsyncConnection, due: Iterable[Due], now: datetime) -> None:
    """Queue notifications; those that were queued for the same event already are left as they are."""
    for each in due:
        values = {field: getattr(each, field) for field in Due.__slots__}
        await connection.execute(QUEUE, {**values, "id": each.id, "now": now})


async def claim(
    connection: AsyncConnection, now: datetime, *, limit: int, of_policy: int, busy: Sequence[UUID]
) -> list[Claimed]:
    """Take what is due for delivery and note an attempt for each: at most so many, of each policy so many.

    Nothing is taken of the policies that are `busy`.
    """
    asked = {"now": now, "limit": limit, "of_policy": of_policy, "busy": list(busy)}
    return [Claimed(*row) for row in await (await connection.execute(CLAIM, asked)).fetchall()]


async def finish(
    connection: AsyncConnection,
    claimed: Claimed,
    *,
    at: datetime,
    status: str,
    outcome: str,
    failures: int,
    next_attempt_at: datetime | None,
    status_code: int | None = None,
    error: str | None = None,
) -> None:
    """Note how an attempt ended, and what is to become of the notification."""
    asked = {
        "id": claimed.id,
        "number": claimed.attempt,
        "at": at,
        "status": status,
        "outcome": outcome,
        "failures": failures,
        "next_attempt_at": next_attempt_at,
        "status_code": status_code,
        "error": error,
    }
    await connection.execute(FINISH, asked)


async def end_interrupted(connection: AsyncConnection, now: datetime, under_way: Iterable[UUID] = ()) -> None:
    """Queue anew what is being sent by nobody any more, that is all but what is `under_way`.

    Whether it arrived nobody knows: who sent it ended before that could be noted.
    """
    await connection.execute(END_INTERRUPTED, {"now": now, "error": INTERRUPTED, "under_way": list(under_way)})


async def redeliver(connection: AsyncConnection, id: UUID, now: datetime) -> str | None:
    """Queue a notification anew that was delivered or given up; its status before that, None where there is none."""
    async with connection.transaction():
        row = await (await connection.execute(STATUS, [id])).fetchone()
        await connection.execute(REDELIVER, [now, id])
        return row[0] if row else None


async def forget(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete notifications from before a time that were delivered or given up, oldest first; how many were deleted."""
    return (await connection.execute(FORGET, [before, limit])).rowcount


async def read_deliveries(connection: AsyncConnection, policy_id: UUID, *, limit: int, offset: int) -> bytes | None:
    """The notifications by a policy, newest first, with their attempts, as a JSON array; None where there was none."""
    known = await (await connection.execute(IS_KNOWN, {"id": policy_id})).fetchone()
    if known != (True,):
        return None
    row = await (await connection.execute(DELIVERIES, [policy_id, limit, offset], binary=True)).fetchone()
    return bytes(row[0]) if row else b"[]"
