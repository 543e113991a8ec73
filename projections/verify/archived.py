"""The check of what is left of events that are in archives: an event in the log says of each where it is."""

from collections.abc import Iterator
from uuid import UUID

from projections.verify.findings import MOST_KEPT, Check, Finding, Found, Part
from projections.verify.scene import Scene

ARCHIVED = Check(
    "archived", "events in archives", "Of each event in an archive its leaf is left, and what says that it is there."
)

_STREAMS = """
WITH leaves AS (
    SELECT originator_id, count(*) AS number, bool_and(originator_version = place) AS in_order,
           min(position) AS first, max(position) AS last,
           min(archive_id::text) AS archive_id, count(DISTINCT archive_id) AS archives
    FROM (
        SELECT *, row_number() OVER (PARTITION BY originator_id ORDER BY position) AS place FROM ledger.archived
    ) AS leaf GROUP BY originator_id
), away AS (
    SELECT originator_id, originator_version - 1 AS number, position,
           substring(state FROM '"archive_id":"([0-9a-f-]{36})"') AS archive_id
    FROM (
        SELECT DISTINCT ON (originator_id) originator_id, originator_version, position, topic, state
        FROM ledger.events
        WHERE topic IN ('FlowRun.Archived', 'TaskRun.Archived', 'FlowRun.Restored', 'TaskRun.Restored')
        ORDER BY originator_id, originator_version DESC
    ) AS last
    WHERE topic IN ('FlowRun.Archived', 'TaskRun.Archived')
)
SELECT originator_id, convert_to(away.archive_id, 'UTF8'), away.number, away.position,
       coalesce(leaves.number, 0), leaves.first, leaves.last
FROM leaves FULL JOIN away USING (originator_id)
WHERE (leaves.number, in_order, leaves.archive_id, archives)
        IS DISTINCT FROM (away.number, true, away.archive_id, 1)
    OR leaves.last > away.position
ORDER BY originator_id
LIMIT %s
"""

_UNKNOWN = """
SELECT archive_id, min(position), max(position), count(*) FROM ledger.archived
WHERE NOT EXISTS (SELECT FROM ledger.archives WHERE archives.id = archive_id) GROUP BY archive_id ORDER BY 1
"""


def check_archived(scene: Scene) -> Iterator[Part]:
    """What is found of leaves that do not belong to what says where their events are."""
    found = Found()
    counted = scene.connection.execute("SELECT count(*) FROM ledger.archived").fetchone()
    found.looked_at = counted[0] if counted else 0
    for id, archive, away, position, number, first, last in scene.connection.execute(_STREAMS, [MOST_KEPT]):
        found.add(_finding(id, archive, away, position, number, first, last))
    for archive_id, first, last, number in scene.connection.execute(_UNKNOWN):
        sentence = f"{number:,} events are in an archive {archive_id}, of which the ledger knows nothing."
        found.add(Finding(sentence, first, last))
    yield {ARCHIVED.name: found}


def _finding(
    id: UUID, archive: bytes | None, away: int | None, position: int | None, number: int, first: int, last: int
) -> Finding:
    """What is the matter with the `number` leaves of a stream, of which `away` events are said to be in an archive."""
    if away is None:
        sentence = f"Of {number:,} events of {id} only leaves are left, but no event says in which archive they are."
        return Finding(sentence, first, last, id)
    where = "an archive" if archive is None else f"the archive {archive.decode()}"
    sentence = f"The event at position {position} says that {away:,} events of {id} are in {where}"
    if number != away:
        sentence = f"{sentence}, but of {number:,} a leaf is left."
    else:
        sentence = f"{sentence}, but the leaves that are left are not of those."
    return Finding(sentence, position, position, id)
