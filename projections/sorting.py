"""The orders in which lists can be asked for. Names are those of server 3.9.1.

Rows that are equal in the order asked for are in the same order of their ids, which tell when they were made. A time
that is not known counts as later than all others, as on that server: the latest end first means those without first.
"""

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
    TIMESTAMP_ASC = "TIMESTAMP_ASC"
    TIMESTAMP_DESC = "TIMESTAMP_DESC"


Sort = FlowSort | DeploymentSort | FlowRunSort | TaskRunSort | LogSort


_ORDERS: dict[str, sql.Composable] = {
    "ID_DESC": sql.SQL("id DESC"),
    "CREATED_DESC": sql.SQL("created DESC, id DESC"),
    "UPDATED_DESC": sql.SQL("updated DESC, id DESC"),
    "NAME_ASC": sql.SQL("name, id"),
    "NAME_DESC": sql.SQL("name DESC, id DESC"),
    "START_TIME_ASC": sql.SQL("coalesce(start_time, expected_start_time), id"),
    "START_TIME_DESC": sql.SQL("coalesce(start_time, expected_start_time) DESC, id DESC"),
    "EXPECTED_START_TIME_ASC": sql.SQL("expected_start_time, id"),
    "EXPECTED_START_TIME_DESC": sql.SQL("expected_start_time DESC, id DESC"),
    "NEXT_SCHEDULED_START_TIME_ASC": sql.SQL("next_scheduled_start_time, id"),
    "END_TIME_DESC": sql.SQL("end_time DESC, id DESC"),
    "DURATION_ASC": sql.SQL("{}, id").format(ESTIMATED_RUN_TIME),
    "DURATION_DESC": sql.SQL("{} DESC, id DESC").format(ESTIMATED_RUN_TIME),
    "TIMESTAMP_ASC": sql.SQL("timestamp, id"),
    "TIMESTAMP_DESC": sql.SQL("timestamp DESC, id DESC"),
}


def order_by(sort: Sort) -> sql.Composable:
    """What stands behind ORDER BY."""
    return _ORDERS[sort]
