"""Which process does the rounds of a service, and what became of the last one. It is telemetry: no rule looks at it."""

from datetime import datetime

from psycopg import AsyncConnection, sql

from projections.columns import AS_TIME
from projections.lists import json_array

SERVICE_LOCKS = 0x464C4F57
"""The first half of the advisory locks of services ("FLOW" in ASCII); the second is a hash of the service's name."""

HOLD = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"

HELD = sql.SQL(
    "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2"
    " AND classid::bigint = {lock} AND objid::bigint = (hashtext({name})::bigint & 4294967295)"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)
IS_HELD = sql.SQL("SELECT {}").format(HELD.format(lock=SERVICE_LOCKS, name=sql.Placeholder())).as_string(None)

KEEP = """
INSERT INTO telemetry.services AS service
    (name, process, last_started, last_success, last_failure, last_error, did, lag_seconds)
VALUES (%(name)s, %(process)s, %(started)s, %(success)s, %(failure)s, %(error)s, %(did)s, %(lag)s)
ON CONFLICT (name) DO UPDATE SET
    process = excluded.process,
    last_started = excluded.last_started,
    last_success = coalesce(excluded.last_success, service.last_success),
    last_failure = coalesce(excluded.last_failure, service.last_failure),
    last_error = coalesce(excluded.last_error, service.last_error),
    did = coalesce(excluded.did, service.did),
    lag_seconds = excluded.lag_seconds
"""

FOLLOWING = sql.SQL(
    "SELECT json_build_object('position', follower.position, 'behind', greatest(head.position - follower.position, 0),"
    " 'behind_seconds', greatest(coalesce((SELECT extract(epoch FROM now() - seal.recorded_at)"
    " FROM ledger.seals AS seal WHERE seal.last_position > follower.position"
    " ORDER BY seal.last_position LIMIT 1), 0), 0),"
    " 'attempts', follower.attempts, 'last_error', follower.last_error,"
    " 'set_aside', (SELECT count(*) FROM telemetry.set_aside AS aside WHERE aside.follower = follower.name),"
    " 'last_set_aside', (SELECT coalesce(json_agg(json_build_object('position', position, 'error', error,"
    " 'times', times, 'first_tried', first_tried, 'last_tried', last_tried) ORDER BY position DESC), '[]'::json)"
    " FROM (SELECT * FROM telemetry.set_aside AS aside WHERE aside.follower = follower.name"
    " ORDER BY position DESC LIMIT 20) AS aside))::text FROM telemetry.followers AS follower,"
    " LATERAL (SELECT coalesce((SELECT max(last_position) FROM ledger.seals), 0)) AS head(position)"
    " WHERE follower.name = service.name"
)
"""How far a service that follows the log has come, how far it is behind, and what it went past; null for the others."""

NOTIFICATIONS = """
SELECT (SELECT count(*) FROM telemetry.notifications WHERE status = 'queued'),
       (SELECT count(*) FROM telemetry.notifications WHERE status = 'sending'),
       (SELECT count(*) FROM telemetry.notifications WHERE status = 'dead')
"""

READ = json_array(
    sql.SQL(
        "SELECT concat('{{\"name\":', to_json(name), ',\"process\":', to_json(process),"
        " ',\"active\":', to_json({held}), ',\"last_started\":', {started},"
        " ',\"last_success\":', {success}, ',\"last_failure\":', {failure},"
        " ',\"last_error\":', coalesce(to_json(last_error)::text, 'null'), ',\"did\":',"
        " coalesce(to_json(did)::text, 'null'), ',\"lag_seconds\":', to_json(lag_seconds),"
        " ',\"follower\":', coalesce(({following}), 'null'), '}}')"
        " FROM telemetry.services AS service ORDER BY name"
    ).format(
        following=FOLLOWING,
        held=HELD.format(lock=SERVICE_LOCKS, name=sql.Identifier("service", "name")),
        started=sql.SQL(AS_TIME).format(column=sql.Identifier("last_started")),
        success=sql.SQL(AS_TIME).format(column=sql.Identifier("last_success")),
        failure=sql.SQL(AS_TIME).format(column=sql.Identifier("last_failure")),
    )
).as_string(None)


async def hold(connection: AsyncConnection, name: str) -> bool:
    """Take the lock of a service for as long as this connection lives; whether it was free."""
    row = await (await connection.execute(HOLD, [SERVICE_LOCKS, name])).fetchone()
    return row == (True,)


async def is_held(connection: AsyncConnection, name: str) -> bool:
    """Whether some connection holds the lock of a service."""
    row = await (await connection.execute(IS_HELD.encode(), [name])).fetchone()
    return row == (True,)


async def keep(
    connection: AsyncConnection,
    *,
    name: str,
    process: str,
    started: datetime,
    ended: datetime,
    lag_seconds: float,
    did: str | None,
    error: str | None,
) -> None:
    """Keep what became of a round: what it did, or the error that it ended with, which stays until the next one."""
    values = {
        "name": name,
        "process": process,
        "started": started,
        "success": ended if error is None else None,
        "failure": None if error is None else ended,
        "error": error,
        "did": did,
        "lag": lag_seconds,
    }
    await connection.execute(KEEP, values)


async def read_services(connection: AsyncConnection) -> bytes:
    """What is known of each service, as a JSON array. `active` says whether any process does its rounds by now,
    `lag_seconds` how late the last of them began.
    """
    row = await (await connection.execute(READ, binary=True)).fetchone()
    return bytes(row[0]) if row else b"[]"


async def count_notifications(connection: AsyncConnection) -> dict[str, int]:
    """How many notifications are queued, being sent and given up."""
    row = await (await connection.execute(NOTIFICATIONS)).fetchone()
    return dict(zip(("queued", "sending", "dead"), row or (0, 0, 0), strict=True))
