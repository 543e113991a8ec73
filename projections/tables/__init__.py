"""The read tables: for each, the columns that a projector fills and the statements that move rows.

The SQL files beside this one say what the columns and indexes are for; a test holds the two against each other.
"""

from dataclasses import dataclass

from psycopg import sql

READ = "read"
"""The schema of the read tables that are in use; while tables are rebuilt, others like them stand beside it."""


@dataclass(frozen=True)
class Table:
    """A read table: its name in the schema `read`, its key columns, and all its columns with their types."""

    name: str
    key: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    stream: str = "id"
    """The column that holds the id of the stream a row is a function of."""

    def upsert(self, schema: str = READ) -> sql.Composed:
        """Writes rows given as one JSON array of objects, in the place of rows with the same keys."""
        names = [name for name, _ in self.columns]
        return sql.SQL(
            "INSERT INTO {table} ({names}) SELECT {names} FROM json_to_recordset(%s) AS row({typed})"
            " ON CONFLICT ({key}) DO UPDATE SET {changes}"
        ).format(
            table=sql.Identifier(schema, self.name),
            names=sql.SQL(", ").join(map(sql.Identifier, names)),
            typed=_typed(self.columns),
            key=sql.SQL(", ").join(map(sql.Identifier, self.key)),
            changes=sql.SQL(", ").join(
                sql.SQL("{name} = excluded.{name}").format(name=sql.Identifier(name))
                for name in names
                if name not in self.key
            ),
        )

    def delete(self, schema: str = READ) -> sql.Composed:
        """Removes all rows of the streams whose ids are given as an array."""
        return sql.SQL("DELETE FROM {table} WHERE {stream} = ANY(%s)").format(
            table=sql.Identifier(schema, self.name), stream=sql.Identifier(self.stream)
        )

    def drop(self, schema: str = READ) -> sql.Composed:
        """Removes the rows whose keys are given as one JSON array of objects."""
        typed = tuple((name, type) for name, type in self.columns if name in self.key)
        same = [
            sql.SQL("{}.{} = gone.{}").format(sql.Identifier(self.name), sql.Identifier(name), sql.Identifier(name))
            for name, _ in typed
        ]
        return sql.SQL("DELETE FROM {table} USING json_to_recordset(%s) AS gone({typed}) WHERE {same}").format(
            table=sql.Identifier(schema, self.name), typed=_typed(typed), same=sql.SQL(" AND ").join(same)
        )


def _typed(columns: tuple[tuple[str, str], ...]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) + sql.SQL(" ") + sql.SQL(type) for name, type in columns)


_RUN_COLUMNS = (
    ("name", "text"),
    ("tags", "text[]"),
    ("tag_keys", "uuid[]"),
    ("created", "timestamptz"),
    ("state_id", "uuid"),
    ("state_type", "text"),
    ("state_name", "text"),
    ("state_timestamp", "timestamptz"),
    ("start_time", "timestamptz"),
    ("end_time", "timestamptz"),
    ("expected_start_time", "timestamptz"),
    ("next_scheduled_start_time", "timestamptz"),
    ("total_run_time", "double precision"),
)
_DOCUMENT_COLUMNS = (("id", "uuid"), ("doc", "text"))
_STATE_COLUMNS = (
    ("version", "integer"),
    ("id", "uuid"),
    ("name", "text"),
    ("timestamp", "timestamptz"),
    ("doc", "text"),
)

FLOWS = Table(
    "flows",
    ("id",),
    (
        ("id", "uuid"),
        ("name", "text"),
        ("tags", "text[]"),
        ("created", "timestamptz"),
        ("updated", "timestamptz"),
        ("doc", "text"),
    ),
)
DEPLOYMENTS = Table(
    "deployments",
    ("id",),
    (
        ("id", "uuid"),
        ("flow_id", "uuid"),
        ("name", "text"),
        ("tags", "text[]"),
        ("created", "timestamptz"),
        ("updated", "timestamptz"),
        ("paused", "boolean"),
        ("work_queue_name", "text"),
        ("work_queue_id", "uuid"),
        ("concurrency_limit", "integer"),
        ("version", "integer"),
        ("scheduled", "boolean"),
        ("doc", "text"),
    ),
)
FLOW_RUNS = Table(
    "flow_runs",
    ("id",),
    (
        ("id", "uuid"),
        ("flow_id", "uuid"),
        ("parent_task_run_id", "uuid"),
        ("deployment_id", "uuid"),
        ("idempotency_key", "text"),
        ("flow_version", "text"),
        ("work_queue_name", "text"),
        ("work_queue_id", "uuid"),
        ("retries_in_process", "boolean"),
        ("pause_timeout", "timestamptz"),
        ("begin_time", "timestamptz"),
        *_RUN_COLUMNS,
    ),
)
FLOW_RUN_DOCUMENTS = Table("flow_run_documents", ("id",), _DOCUMENT_COLUMNS)
TASK_RUNS = Table(
    "task_runs",
    ("id",),
    (
        ("id", "uuid"),
        ("flow_run_id", "uuid"),
        ("flow_id", "uuid"),
        ("upstream", "uuid[]"),
        ("encapsulating", "uuid[]"),
        ("dependencies", "text"),
        *_RUN_COLUMNS,
    ),
)
TASK_RUN_DOCUMENTS = Table("task_run_documents", ("id",), _DOCUMENT_COLUMNS)
FLOW_RUN_STATES = Table(
    "flow_run_states",
    ("flow_run_id", "version"),
    (("flow_run_id", "uuid"), *_STATE_COLUMNS),
    stream="flow_run_id",
)
FLOW_RUN_INTERVALS = Table(
    "flow_run_intervals",
    ("flow_run_id", "version"),
    (
        ("flow_run_id", "uuid"),
        ("version", "integer"),
        ("began", "timestamptz"),
        ("ended", "timestamptz"),
        ("flow_id", "uuid"),
        ("deployment_id", "uuid"),
        ("state_type", "text"),
        ("state_name", "text"),
        ("terminal", "boolean"),
        ("tag_keys", "uuid[]"),
    ),
    stream="flow_run_id",
)
FLOW_RUN_INPUTS = Table(
    "flow_run_inputs",
    ("flow_run_id", "version"),
    (("flow_run_id", "uuid"), ("version", "integer"), ("key", "text"), ("doc", "text")),
    stream="flow_run_id",
)
TASK_RUN_STATES = Table(
    "task_run_states",
    ("task_run_id", "version"),
    (("task_run_id", "uuid"), *_STATE_COLUMNS),
    stream="task_run_id",
)
CACHED_RESULTS = Table(
    "cached_results",
    ("task_run_id", "version"),
    (("task_run_id", "uuid"), ("version", "integer"), ("cache_key", "text"), ("cached_at", "timestamptz")),
    stream="task_run_id",
)
BACKGROUND_RUNS = Table(
    "background_runs",
    ("task_run_id",),
    (
        ("task_run_id", "uuid"),
        ("task_key", "text"),
        ("scheduled_time", "timestamptz"),
        ("held_until", "timestamptz"),
    ),
    stream="task_run_id",
)
CONCURRENCY_LIMITS = Table(
    "concurrency_limits",
    ("id",),
    (
        ("id", "uuid"),
        ("name", "text"),
        ("slots", "integer"),
        ("active", "boolean"),
        ("created", "timestamptz"),
        ("updated", "timestamptz"),
        ("slot_decay_per_second", "double precision"),
        ("level", "double precision"),
        ("level_at", "timestamptz"),
        ("denied_slots", "bigint"),
        ("mean_occupancy", "double precision"),
    ),
)
CONCURRENCY_SLOTS = Table(
    "concurrency_slots",
    ("limit_id", "holding"),
    (
        ("limit_id", "uuid"),
        ("holding", "uuid"),
        ("slots", "integer"),
        ("since", "timestamptz"),
        ("expires_at", "timestamptz"),
        ("leased", "boolean"),
        ("holder_type", "text"),
        ("holder_id", "uuid"),
        ("actor", "text"),
    ),
    stream="limit_id",
)
SNAPSHOTS = Table("snapshots", ("id",), (("id", "uuid"), ("version", "integer"), ("topic", "text"), ("doc", "text")))
WORK_POOLS = Table(
    "work_pools",
    ("id",),
    (
        ("id", "uuid"),
        ("name", "text"),
        ("type", "text"),
        ("is_paused", "boolean"),
        ("concurrency_limit", "integer"),
        ("created", "timestamptz"),
        ("updated", "timestamptz"),
        ("doc", "text"),
    ),
)
WORK_QUEUES = Table(
    "work_queues",
    ("id",),
    (
        ("id", "uuid"),
        ("work_pool_id", "uuid"),
        ("name", "text"),
        ("priority", "integer"),
        ("is_paused", "boolean"),
        ("concurrency_limit", "integer"),
        ("created", "timestamptz"),
        ("updated", "timestamptz"),
        ("doc", "text"),
    ),
)
VARIABLES = Table(
    "variables",
    ("id",),
    (
        ("id", "uuid"),
        ("name", "text"),
        ("value_text", "text"),
        ("tags", "text[]"),
        ("created", "timestamptz"),
        ("updated", "timestamptz"),
        ("doc", "text"),
    ),
)
SAVED_SEARCHES = Table("saved_searches", ("id",), (("id", "uuid"), ("name", "text"), ("doc", "text")))
BLOCK_TYPES = Table("block_types", ("id",), (("id", "uuid"), ("name", "text"), ("slug", "text"), ("doc", "text")))
BLOCK_SCHEMAS = Table(
    "block_schemas",
    ("id",),
    (
        ("id", "uuid"),
        ("block_type_id", "uuid"),
        ("checksum", "text"),
        ("version", "text"),
        ("capabilities", "text[]"),
        ("created", "timestamptz"),
        ("doc", "text"),
    ),
)
BLOCK_DOCUMENTS = Table(
    "block_documents",
    ("id",),
    (
        ("id", "uuid"),
        ("version", "integer"),
        ("block_type_id", "uuid"),
        ("block_schema_id", "uuid"),
        ("name", "text"),
        ("is_anonymous", "boolean"),
        ("created", "timestamptz"),
        ("updated", "timestamptz"),
        ("sealed", "text"),
        ("refers_to", "text"),
    ),
)
NOTIFICATION_POLICIES = Table(
    "notification_policies",
    ("id",),
    (
        ("id", "uuid"),
        ("is_active", "boolean"),
        ("block_document_id", "uuid"),
        ("sealed_url", "text"),
        ("signing_secret", "text"),
        ("doc", "text"),
    ),
)
TABLES = (
    FLOWS,
    DEPLOYMENTS,
    FLOW_RUNS,
    FLOW_RUN_DOCUMENTS,
    FLOW_RUN_STATES,
    FLOW_RUN_INTERVALS,
    FLOW_RUN_INPUTS,
    TASK_RUNS,
    TASK_RUN_DOCUMENTS,
    TASK_RUN_STATES,
    CACHED_RESULTS,
    BACKGROUND_RUNS,
    CONCURRENCY_LIMITS,
    CONCURRENCY_SLOTS,
    SNAPSHOTS,
    WORK_POOLS,
    WORK_QUEUES,
    VARIABLES,
    SAVED_SEARCHES,
    BLOCK_TYPES,
    BLOCK_SCHEMAS,
    BLOCK_DOCUMENTS,
    NOTIFICATION_POLICIES,
)
