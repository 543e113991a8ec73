"""Counters of runs: how a transaction changes them, how they are added up, and how they are made anew.

A run counts by what stands in its row of a read table, so a change of rows is a difference: the new row counts once,
the row it replaces is taken back. All sums are exact numbers, so that what is taken back is what was put in.

A transaction adds rows that say what it changed in the narrowest buckets, for every row that it writes costs it time;
they are added up into buckets of every width in the background. Until then readers sum them as well.
"""

from psycopg import AsyncConnection, Connection, sql

from domain.states import TERMINAL, StateType
from projections.tables import READ

WIDTHS = (60, 900, 86_400)
"""The lengths of buckets in seconds; each is a multiple of those before it."""

CHANGES = 0
"""What stands for the width in rows that say what changed in buckets of the narrowest, and are not added up yet."""

ANY_RUN = "00000000-0000-0000-0000-000000000000"
"""The key of the dimension `all`."""

FOLD_LOCK = 0x464C4F57434F554E
"""The advisory lock under which counters are added up ("FLOWCOUN" in ASCII): one process at a time is enough."""

CHANGES_PER_FOLD = 50_000
"""How many rows of changes one transaction adds up."""

_COLUMNS = (
    "id",
    "state_type",
    "state_name",
    "state_timestamp",
    "start_time",
    "expected_start_time",
    "total_run_time",
)
_DIMENSIONS = {
    "flow_runs": ("flow_id", "deployment_id", "tag_keys"),
    "task_runs": (),
}
COUNTED = tuple(_DIMENSIONS)
"""The read tables whose rows are counted."""

_KEYS = {
    "flow_runs": sql.SQL(
        "SELECT 'all', {all}::uuid UNION ALL SELECT 'flow', change.flow_id"
        " UNION ALL SELECT 'deployment', change.deployment_id WHERE change.deployment_id IS NOT NULL"
        " UNION ALL SELECT 'tag', tag FROM unnest(change.tag_keys) AS tag"
    ).format(all=sql.Literal(ANY_RUN)),
    "task_runs": sql.SQL("SELECT 'all', {}::uuid").format(sql.Literal(ANY_RUN)),
}

_MEASURES = sql.SQL(
    "round({row}.total_run_time::numeric, 6) AS run_time,"
    " CASE WHEN {row}.state_type = {running} THEN extract(epoch FROM {row}.state_timestamp) ELSE 0 END"
    " AS running_since,"
    " CASE WHEN {row}.start_time > {row}.expected_start_time"
    " THEN extract(epoch FROM {row}.start_time - {row}.expected_start_time) ELSE 0 END AS late,"
    " CASE WHEN {waits} THEN 1 ELSE 0 END AS waiting,"
    " CASE WHEN {waits} THEN extract(epoch FROM {row}.expected_start_time) ELSE 0 END AS waiting_since"
)
_WAITS = (
    "({row}.start_time IS NULL AND {row}.expected_start_time IS NOT NULL"
    " AND ({row}.state_type IS NULL OR {row}.state_type NOT IN ({ended})))"
)

_INSERT = (
    "INSERT INTO {counts} (kind, dimension, key, width, bucket, state_type, state_name,"
    " runs, run_time, running_since, late, waiting, waiting_since) "
)

# OFFSET keeps measures from being computed once for each key.
_NARROW = (
    "SELECT dimension, key, bucket, state_type, state_name, sum(sign) AS runs, sum(sign * run_time) AS run_time,"
    " sum(sign * running_since) AS running_since, sum(sign * late) AS late, sum(sign * waiting) AS waiting,"
    " sum(sign * waiting_since) AS waiting_since"
    " FROM (SELECT change.*, {measures}, coalesce(date_bin(make_interval(secs => {narrowest}),"
    " change.expected_start_time, '1970-01-01 00:00:00Z'), '-infinity') AS bucket FROM ({changes}) AS change OFFSET 0)"
    " AS change CROSS JOIN LATERAL ({keys}) AS counted(dimension, key)"
    " GROUP BY dimension, key, bucket, state_type, state_name"
)

_CHANGED = (
    "SELECT {kind}::text, dimension, key, {width}, bucket, state_type, state_name,"
    " runs, run_time, running_since, late, waiting, waiting_since FROM ({narrow}) AS narrow"
    " WHERE (runs, run_time, running_since, late, waiting, waiting_since) <> (0, 0, 0, 0, 0, 0)"
)

_WIDENED = (
    "SELECT dimension, key, date_bin(make_interval(secs => {width}), bucket, '1970-01-01 00:00:00Z') AS bucket,"
    " state_type, state_name, sum(runs) AS runs, sum(run_time) AS run_time, sum(running_since) AS running_since,"
    " sum(late) AS late, sum(waiting) AS waiting, sum(waiting_since) AS waiting_since"
    " FROM {narrower} GROUP BY 1, 2, 3, 4, 5"
)

_OF_EVERY_WIDTH = (
    "SELECT kind, dimension, key, wide.width,"
    " date_bin(make_interval(secs => wide.width), bucket, '1970-01-01 00:00:00Z') AS bucket, state_type, state_name,"
    " runs, run_time, running_since, late, waiting, waiting_since"
    " FROM {changed} AS changed CROSS JOIN unnest({widths}) AS wide(width) WHERE changed.width = {changes}"
)

_SUMMED = (
    "SELECT kind, dimension, key, width, bucket, state_type, state_name, sum(runs) AS runs, sum(run_time) AS run_time,"
    " sum(running_since) AS running_since, sum(late) AS late, sum(waiting) AS waiting,"
    " sum(waiting_since) AS waiting_since FROM ({settled} UNION ALL {changed}) AS counts"
    " GROUP BY kind, dimension, key, width, bucket, state_type, state_name"
    " HAVING (sum(runs), sum(run_time), sum(running_since), sum(late), sum(waiting), sum(waiting_since))"
    " <> (0, 0, 0, 0, 0, 0)"
)

_SETTLED = (
    "SELECT kind, dimension, key, width, bucket, state_type, state_name,"
    " runs, run_time, running_since, late, waiting, waiting_since FROM {counts} WHERE width <> {changes}"
)

# Rows are looked up one by one: joined, changes were all read again for each of them, for PostgreSQL believed in none.
_FOLD = """
WITH changed AS (
    DELETE FROM {counts} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {counts} WHERE width = {changes} LIMIT {most}))
    RETURNING *
), spread AS ({spread}), replaced AS (
    DELETE FROM {counts} WHERE ctid = ANY (ARRAY(
        SELECT same.ctid
        FROM (SELECT DISTINCT kind, dimension, key, width, bucket FROM spread) AS wanted
        CROSS JOIN LATERAL (
            SELECT ctid FROM {counts} AS counts
            WHERE (counts.width, counts.kind, counts.dimension, counts.key, counts.bucket)
                = (wanted.width, wanted.kind, wanted.dimension, wanted.key, wanted.bucket)
            OFFSET 0
        ) AS same
    ))
    RETURNING *
)
"""


def returning(table: str) -> sql.Composable:
    """What a statement that writes rows of a counted table gives back of them."""
    return sql.SQL(" RETURNING {}").format(_listed(table, sql.SQL(table)))


def changed_by(table: str, written: sql.Composable, schema: str = READ) -> sql.Composed:
    """Counts rows of a table that this very statement writes, and takes back those that they replace.

    `written` names the part of the statement that writes. What it replaces is what the statement saw at its beginning.
    """
    now = sql.SQL("SELECT 1 AS sign, {columns} FROM {written}").format(columns=_listed(table, written), written=written)
    # One look-up by key for each row, whatever PostgreSQL believes of the size of the table.
    before = sql.SQL(
        "SELECT -1, {columns} FROM {written} AS new"
        " CROSS JOIN LATERAL (SELECT * FROM {rows} AS same WHERE same.id = new.id LIMIT 1) AS old"
    ).format(columns=_listed(table, sql.SQL("old")), written=written, rows=sql.Identifier(schema, table))
    return _insert(schema) + _changed(table, sql.SQL("{} UNION ALL {}").format(now, before))


def removed_from(table: str, schema: str = READ) -> sql.Composed:
    """The statement that takes back rows of a table, given their ids as an array, before they are deleted."""
    before = sql.SQL("SELECT -1 AS sign, {columns} FROM {rows} WHERE id = ANY(%s)").format(
        columns=_listed(table, sql.SQL(table)), rows=sql.Identifier(schema, table)
    )
    return _insert(schema) + _changed(table, before)


def recount(connection: Connection, schema: str = READ) -> None:
    """Make the counters anew from the rows that are there, in the caller's transaction; nothing may write meanwhile."""
    connection.execute(sql.SQL("DELETE FROM {}").format(_counts(schema)))
    connection.execute(_insert(schema) + recounted(schema))


def recounted(schema: str = READ) -> sql.Composed:
    """The statement that selects what the counters should be by the rows that are there."""
    return sql.SQL(" UNION ALL ").join(sql.SQL("({})").format(_recounted(table, schema)) for table in COUNTED)


def summed(schema: str = READ) -> sql.Composed:
    """The statement that selects what the counters add up to, whether or not that was done already."""
    counts = _counts(schema)
    settled = sql.SQL(_SETTLED).format(counts=counts, changes=sql.Literal(CHANGES))
    return sql.SQL(_SUMMED).format(settled=settled, changed=_of_every_width(counts))


async def fold(connection: AsyncConnection, most: int = CHANGES_PER_FOLD) -> None:
    """Add up what changed, so many rows of it at most, unless another process is at it."""
    async with connection.transaction():
        cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [FOLD_LOCK])
        if await cursor.fetchone() == (True,):
            await connection.execute(_folding(most))


def _counts(schema: str) -> sql.Composable:
    return sql.Identifier(schema, "run_counts")


def _insert(schema: str) -> sql.Composed:
    return sql.SQL(_INSERT).format(counts=_counts(schema))


def _measures(row: str) -> sql.Composed:
    """What a row of that name adds to each sum."""
    name = sql.SQL(row)
    ended = sql.SQL(", ").join(sql.Literal(type.value) for type in sorted(TERMINAL))
    waits = sql.SQL(_WAITS).format(row=name, ended=ended)
    return _MEASURES.format(row=name, waits=waits, running=sql.Literal(StateType.RUNNING.value))


def kind_of(table: str) -> str:
    """How the runs of a read table are called among the counters."""
    return table.removesuffix("s")


def _listed(table: str, source: sql.Composable) -> sql.Composed:
    names = (*_COLUMNS, *_DIMENSIONS[table])
    return sql.SQL(", ").join(sql.SQL("{}.{}").format(source, sql.Identifier(name)) for name in names)


def _changed(table: str, changes: sql.Composable) -> sql.Composed:
    return sql.SQL(_CHANGED).format(
        kind=sql.Literal(kind_of(table)), width=sql.Literal(CHANGES), narrow=_narrow(table, changes)
    )


def _recounted(table: str, schema: str) -> sql.Composed:
    """Each width is added up of the one before."""
    rows = sql.SQL("SELECT 1 AS sign, {columns} FROM {rows}").format(
        columns=_listed(table, sql.SQL(table)), rows=sql.Identifier(schema, table)
    )
    names = [sql.Identifier(f"every_{width}") for width in WIDTHS]
    made_of = [_narrow(table, rows)]
    for narrower, width in zip(names, WIDTHS[1:], strict=False):
        made_of.append(sql.SQL(_WIDENED).format(width=sql.Literal(width), narrower=narrower))
    parts = map(sql.SQL("{} AS MATERIALIZED ({})").format, names, made_of)
    selected = [
        sql.SQL(
            "SELECT {kind}::text AS kind, dimension, key, {width} AS width, bucket, state_type, state_name,"
            " runs, run_time, running_since, late, waiting, waiting_since FROM {name}"
        ).format(kind=sql.Literal(kind_of(table)), width=sql.Literal(width), name=name)
        for width, name in zip(WIDTHS, names, strict=True)
    ]
    return sql.SQL("WITH {} {}").format(sql.SQL(", ").join(parts), sql.SQL(" UNION ALL ").join(selected))


def _narrow(table: str, changes: sql.Composable) -> sql.Composed:
    """What changes of rows add up to in the narrowest buckets."""
    return sql.SQL(_NARROW).format(
        keys=_KEYS[table], measures=_measures("change"), narrowest=sql.Literal(WIDTHS[0]), changes=changes
    )


def _of_every_width(changed: sql.Composable) -> sql.Composed:
    """What rows of changes add to buckets of every width."""
    return sql.SQL(_OF_EVERY_WIDTH).format(
        changed=changed, widths=sql.Literal(list(WIDTHS)), changes=sql.Literal(CHANGES)
    )


def _folding(most: int) -> sql.Composed:
    names = {"counts": _counts(READ), "changes": sql.Literal(CHANGES), "most": sql.Literal(most)}
    spread = _of_every_width(sql.Identifier("changed"))
    added = sql.SQL(_SUMMED).format(settled=sql.SQL("TABLE replaced"), changed=sql.SQL("TABLE spread"))
    return sql.SQL(_FOLD).format(spread=spread, **names) + _insert(READ) + added
