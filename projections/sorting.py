"""The orders in which lists can be asked for. Names are those of server 3.9.1.

Rows that are equal in the order asked for are in the same order of their ids, which tell when they were made. A time
that is not known counts as later than all others, as on that server: the latest end first means those without first.
"""

from dataclasses import dataclass
from enum import StrEnum

from psycopg import sql

from projections.estimates import ESTIMATED_RUN_TIME


class FlowSort(StrEnum):
    CREATED_DESC = "CREATED_DESC"
    UPDATED_DESC = "UPDATED_DESC"
    NAME_ASC = "NAME_ASC"
    NAME_DESC = "NAME_DESC"


class DeploymentSort(StrEnum):
    CREATED_DESC = "CREATED_DESC"
    UPDATED_DESC = "UPDATED_DESC"
    NAME_ASC = "NAME_ASC"
    NAME_DESC = "NAME_DESC"


class FlowRunSort(StrEnum):
    """START_TIME is the time a run started, or is expected to start where it has not."""

    ID_DESC = "ID_DESC"
    START_TIME_ASC = "START_TIME_ASC"
    START_TIME_DESC = "START_TIME_DESC"
    EXPECTED_START_TIME_ASC = "EXPECTED_START_TIME_ASC"
    EXPECTED_START_TIME_DESC = "EXPECTED_START_TIME_DESC"
    NAME_ASC = "NAME_ASC"
    NAME_DESC = "NAME_DESC"
    NEXT_SCHEDULED_START_TIME_ASC = "NEXT_SCHEDULED_START_TIME_ASC"
    END_TIME_DESC = "END_TIME_DESC"


class TaskRunSort(StrEnum):
    """DURATION is the time a run has been in RUNNING so far."""

    ID_DESC = "ID_DESC"
    EXPECTED_START_TIME_ASC = "EXPECTED_START_TIME_ASC"
    EXPECTED_START_TIME_DESC = "EXPECTED_START_TIME_DESC"
    NAME_ASC = "NAME_ASC"
    NAME_DESC = "NAME_DESC"
    NEXT_SCHEDULED_START_TIME_ASC = "NEXT_SCHEDULED_START_TIME_ASC"
    END_TIME_DESC = "END_TIME_DESC"
    DURATION_DESC = "DURATION_DESC"
    DURATION_ASC = "DURATION_ASC"


class LogSort(StrEnum):
    """Those by level and by run are of server 2.7.12."""

    TIMESTAMP_ASC = "TIMESTAMP_ASC"
    TIMESTAMP_DESC = "TIMESTAMP_DESC"
    LEVEL_ASC = "LEVEL_ASC"
    LEVEL_DESC = "LEVEL_DESC"
    FLOW_RUN_ID_ASC = "FLOW_RUN_ID_ASC"
    FLOW_RUN_ID_DESC = "FLOW_RUN_ID_DESC"
    TASK_RUN_ID_ASC = "TASK_RUN_ID_ASC"
    TASK_RUN_ID_DESC = "TASK_RUN_ID_DESC"


class VariableSort(StrEnum):
    CREATED_DESC = "CREATED_DESC"
    UPDATED_DESC = "UPDATED_DESC"
    NAME_DESC = "NAME_DESC"
    NAME_ASC = "NAME_ASC"


class ArtifactSort(StrEnum):
    CREATED_DESC = "CREATED_DESC"
    UPDATED_DESC = "UPDATED_DESC"
    ID_DESC = "ID_DESC"
    KEY_DESC = "KEY_DESC"
    KEY_ASC = "KEY_ASC"


class BlockDocumentSort(StrEnum):
    NAME_DESC = "NAME_DESC"
    NAME_ASC = "NAME_ASC"
    BLOCK_TYPE_AND_NAME_ASC = "BLOCK_TYPE_AND_NAME_ASC"


Sort = FlowSort | DeploymentSort | FlowRunSort | TaskRunSort | LogSort | VariableSort | ArtifactSort | BlockDocumentSort


@dataclass(frozen=True)
class Order:
    """An order of rows: by `key`, an expression of that `type` of SQL, then by id, both in the same direction.

    No key means by id alone. `moves` says that the key moves with the clock.
    """

    key: sql.Composable | None
    type: str = "timestamptz"
    descending: bool = True
    moves: bool = False

    @property
    def clause(self) -> sql.Composable:
        """What stands behind ORDER BY."""
        direction = sql.SQL(" DESC" if self.descending else "")
        keys = [sql.SQL("id")] if self.key is None else [self.key, sql.SQL("id")]
        return sql.SQL(", ").join(key + direction for key in keys)


def _by(column: str, type: str = "timestamptz", *, descending: bool = True) -> Order:
    return Order(sql.Identifier(column), type, descending)


_ORDERS: dict[str, Order] = {
    "ID_DESC": Order(None),
    "CREATED_DESC": _by("created"),
    "UPDATED_DESC": _by("updated"),
    "NAME_ASC": _by("name", "text", descending=False),
    "NAME_DESC": _by("name", "text"),
    "START_TIME_ASC": _by("begin_time", descending=False),
    "START_TIME_DESC": _by("begin_time"),
    "EXPECTED_START_TIME_ASC": _by("expected_start_time", descending=False),
    "EXPECTED_START_TIME_DESC": _by("expected_start_time"),
    "NEXT_SCHEDULED_START_TIME_ASC": _by("next_scheduled_start_time", descending=False),
    "END_TIME_DESC": _by("end_time"),
    "DURATION_ASC": Order(ESTIMATED_RUN_TIME, "double precision", descending=False, moves=True),
    "DURATION_DESC": Order(ESTIMATED_RUN_TIME, "double precision", moves=True),
    "TIMESTAMP_ASC": _by("timestamp", descending=False),
    "TIMESTAMP_DESC": _by("timestamp"),
    "LEVEL_ASC": _by("level", "integer", descending=False),
    "LEVEL_DESC": _by("level", "integer"),
    "FLOW_RUN_ID_ASC": _by("flow_run_id", "uuid", descending=False),
    "FLOW_RUN_ID_DESC": _by("flow_run_id", "uuid"),
    "TASK_RUN_ID_ASC": _by("task_run_id", "uuid", descending=False),
    "TASK_RUN_ID_DESC": _by("task_run_id", "uuid"),
    "KEY_ASC": _by("key", "text", descending=False),
    "KEY_DESC": _by("key", "text"),
    "BLOCK_TYPE_AND_NAME_ASC": Order(
        sql.SQL(
            "(SELECT ARRAY[kind.name, block_documents.name] FROM read.block_types AS kind"
            " WHERE kind.id = block_documents.block_type_id)"
        ),
        "text[]",
        descending=False,
    ),
}


def order_of(sort: Sort) -> Order:
    """The order that a name stands for."""
    return _ORDERS[sort]
