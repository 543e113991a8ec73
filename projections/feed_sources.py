"""Where the events of the feed come from: the states that runs entered, and the events that clients sent of themselves.

Each source knows in which SQL the fields of its events are found, and by which condition that an index answers the
events of a name, of a resource or with a related resource are. Shapes are those that server 3.9.1 sends: recorded
frames of `events/in` and `events/out`.
"""

from abc import abstractmethod
from typing import ClassVar, LiteralString
from uuid import UUID

from psycopg import sql

from domain.task_run import ReportedCounters
from projections.filters.condition import Condition, compare
from projections.filters.events import NOTHING, EventSource

FLOW_RUN, TASK_RUN = "prefect.flow-run.", "prefect.task-run."
FLOW, DEPLOYMENT, TAG = "prefect.flow.", "prefect.deployment.", "prefect.tag."

TIME: LiteralString = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
EVERYTHING = Condition(sql.SQL("true"))


class Source(EventSource):
    """A source of the feed: `rows` is what stands behind FROM, `since` what a reader of new events goes by.

    `event`, `resource_id` and `label` are texts: the name, the resource's id, and what the resource is called.
    """

    rows: sql.Composable
    label: sql.Composable
    payload: sql.Composable
    follows: sql.Composable
    received: sql.Composable

    @property
    @abstractmethod
    def event(self) -> sql.Composable: ...

    @property
    @abstractmethod
    def resource_id(self) -> sql.Composable: ...

    @property
    def text(self) -> sql.Composable:
        parts = self.event, self.resource, self.related, self.payload
        return sql.SQL("concat_ws(' ', {})").format(sql.SQL(", ").join(parts))

    @property
    def document(self) -> sql.Composable:
        """The event by which the API shows it, as text."""
        return sql.SQL(
            "json_build_object('occurred', {occurred}, 'event', {event}, 'resource', {resource}, 'related', {related},"
            " 'payload', {payload}, 'id', {id}, 'follows', {follows}, 'received', {received})::text"
        ).format(
            occurred=sql.SQL(TIME).format(self.occurred),
            event=self.event,
            resource=self.resource,
            related=self.related,
            payload=self.payload,
            id=self.id,
            follows=self.follows,
            received=self.received,
        )


class RunStates(Source):
    """The states that runs of one kind entered. `begins` is what names of events and ids of resources begin with."""

    occurred = sql.SQL("state.timestamp")
    id = sql.SQL("state.id")
    label = sql.SQL("run.name")
    received = sql.SQL("coalesce(entry.state::json ->> 'recorded_at', {})").format(
        sql.SQL(TIME).format(sql.SQL("state.timestamp"))
    )
    begins: LiteralString
    run_id: sql.Composable
    related_columns: ClassVar[dict[str, LiteralString]]
    tags: sql.Composable

    @property
    def event(self) -> sql.Composable:
        return sql.SQL("({} || state.name)").format(self.begins)

    @property
    def resource_id(self) -> sql.Composable:
        return sql.SQL("({} || {})").format(self.begins, self.run_id)

    def named(self, name: str) -> Condition:
        if not name.startswith(self.begins):
            return NOTHING
        return compare("{} = %s", sql.SQL("state.name"), name.removeprefix(self.begins))

    def name_begins(self, prefix: str) -> Condition:
        if self.begins.startswith(prefix):
            return EVERYTHING
        if not prefix.startswith(self.begins):
            return NOTHING
        return compare("starts_with({}, %s)", sql.SQL("state.name"), prefix.removeprefix(self.begins))

    def of_resource(self, id: str) -> Condition:
        run = _id_behind(self.begins, id)
        return NOTHING if run is None else compare("{} = %s", self.run_id, run)

    def resource_begins(self, prefix: str) -> Condition:
        if self.begins.startswith(prefix):
            return EVERYTHING
        if not prefix.startswith(self.begins):
            return NOTHING
        return compare("starts_with({}::text, %s)", self.run_id, prefix.removeprefix(self.begins))

    def with_related(self, id: str) -> Condition:
        if id.startswith(TAG):
            return Condition(sql.SQL("%s = ANY({})").format(self.tags), (id.removeprefix(TAG),))
        for begins, column in self.related_columns.items():
            related = _id_behind(begins, id)
            if related is not None:
                return compare("{} = %s", sql.SQL(column), related)
        return NOTHING


def _id_behind(begins: str, id: str) -> UUID | None:
    """The id of a thing from that of its resource, where it is spelled as we spell ids."""
    text = id.removeprefix(begins)
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if id == f"{begins}{found}" else None


def _counted(table: LiteralString, column: LiteralString) -> sql.Composable:
    """How often a run had begun to run by a state; one that goes on after a pause goes on with the same attempt."""
    return sql.SQL(
        "(SELECT count(*)::text FROM (SELECT earlier.doc::json ->> 'type' AS type, lag(earlier.doc::json ->> 'type')"
        " OVER (ORDER BY earlier.version) AS before FROM {table} AS earlier WHERE earlier.{column} = state.{column}"
        " AND earlier.version <= state.version AND earlier.doc::json ->> 'type' NOT IN ('SCHEDULED', 'PENDING'))"
        " AS entered WHERE type = 'RUNNING' AND before IS DISTINCT FROM 'PAUSED')"
    ).format(table=sql.SQL(table), column=sql.SQL(column))


def _before(table: LiteralString, column: LiteralString, what: LiteralString) -> sql.Composable:
    """Something of the state that a run was in before."""
    return sql.SQL(
        "(SELECT {what} FROM {table} AS previous WHERE previous.{column} = state.{column}"
        " AND previous.version < state.version ORDER BY previous.version DESC LIMIT 1)"
    ).format(table=sql.SQL(table), column=sql.SQL(column), what=sql.SQL(what))


def _resource(
    begins: LiteralString, column: LiteralString, count: sql.Composable, more: LiteralString = ""
) -> sql.Composable:
    return sql.SQL(
        "json_build_object('prefect.resource.id', {begins} || state.{column}, 'prefect.resource.name', run.name,"
        " 'prefect.run-count', {count},"
        " 'prefect.state-message', left(coalesce(state.doc::json ->> 'message', ''), 100000),"
        " 'prefect.state-name', state.name, 'prefect.state-timestamp', {at},"
        " 'prefect.state-type', state.doc::json ->> 'type'{more})"
    ).format(
        begins=begins,
        column=sql.SQL(column),
        count=count,
        more=sql.SQL(more),
        at=sql.SQL("""to_char(state.timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')"""),
    )


def _related(*things: tuple[LiteralString, LiteralString, LiteralString], tags: sql.Composable) -> sql.Composable:
    """The related resources: things by role, id and name, each where there is one, and the tags of all of them."""
    parts = [
        sql.SQL(
            "SELECT {place} AS place, '' AS tag, json_build_object('prefect.resource.id', {begins} || {id},"
            " 'prefect.resource.role', {role}, 'prefect.resource.name', {name}) AS labels WHERE {id} IS NOT NULL"
        ).format(place=place, begins=f"prefect.{role}.", role=role, id=sql.SQL(id), name=sql.SQL(name))
        for place, (role, id, name) in enumerate(things)
    ]
    parts.append(
        sql.SQL(
            "SELECT {place}, tag, json_build_object('prefect.resource.id', 'prefect.tag.' || tag,"
            " 'prefect.resource.role', 'tag') FROM (SELECT DISTINCT unnest({tags}) AS tag) AS tags"
        ).format(place=len(things), tags=tags)
    )
    return sql.SQL(
        "(SELECT coalesce(json_agg(thing.labels ORDER BY thing.place, thing.tag), '[]') FROM ({}) AS thing)"
    ).format(sql.SQL(" UNION ALL ").join(parts))


class FlowRunStates(RunStates):
    """Every state that a flow run entered, as `prefect.flow-run.<StateName>`."""

    begins = FLOW_RUN
    run_id = sql.SQL("state.flow_run_id")
    rows = sql.SQL(
        "read.flow_run_states AS state LEFT JOIN read.flow_runs AS run ON run.id = state.flow_run_id"
        " LEFT JOIN read.flows AS flow ON flow.id = run.flow_id"
        " LEFT JOIN read.deployments AS deployment ON deployment.id = run.deployment_id"
        " LEFT JOIN read.task_runs AS parent ON parent.id = run.parent_task_run_id"
        " LEFT JOIN ledger.events AS entry"
        " ON entry.originator_id = state.flow_run_id AND entry.originator_version = state.version"
    )
    tags = sql.SQL("(run.tags || coalesce(flow.tags, '{{}}') || coalesce(deployment.tags, '{{}}'))").format()
    related_columns: ClassVar[dict[str, LiteralString]] = {
        FLOW: "run.flow_id",
        DEPLOYMENT: "run.deployment_id",
        TASK_RUN: "run.parent_task_run_id",
    }
    resource = _resource(FLOW_RUN, "flow_run_id", _counted("read.flow_run_states", "flow_run_id"))
    related = _related(
        ("flow", "flow.id", "flow.name"),
        ("deployment", "deployment.id", "deployment.name"),
        ("task-run", "parent.id", "parent.name"),
        tags=tags,
    )
    payload = sql.SQL(
        "(SELECT json_build_object('intended', json_build_object('from', was ->> 'type', 'to', now ->> 'type'),"
        " 'initial_state', CASE WHEN was IS NOT NULL THEN {was} END, 'validated_state', {now})"
        " FROM (SELECT {before}::json AS was, state.doc::json AS now) AS told)"
    ).format(
        before=_before("read.flow_run_states", "flow_run_id", "previous.doc"),
        **{
            name: sql.SQL(
                "json_strip_nulls(json_build_object('type', {state} ->> 'type', 'name', {state} ->> 'name',"
                " 'message', nullif(left({state} ->> 'message', 100000), ''), 'pause_reschedule',"
                " CASE WHEN {state} ->> 'type' = 'PAUSED' THEN"
                " coalesce({state} #>> '{{state_details,pause_reschedule}}', 'false') END))"
            ).format(state=sql.SQL(name))
            for name in ("was", "now")
        },
    )
    follows = _before(
        "read.flow_run_states",
        "flow_run_id",
        "CASE WHEN state.timestamp - previous.timestamp < interval '5 minutes' THEN previous.id END",
    )


class TaskRunStates(RunStates):
    """Every state that a task run entered, as `prefect.task-run.<StateName>`, whoever orchestrated it."""

    begins = TASK_RUN
    run_id = sql.SQL("state.task_run_id")
    rows = sql.SQL(
        "read.task_run_states AS state LEFT JOIN read.task_runs AS run ON run.id = state.task_run_id"
        " LEFT JOIN read.task_run_documents AS document ON document.id = state.task_run_id"
        " LEFT JOIN read.flow_runs AS flow_run ON flow_run.id = run.flow_run_id"
        " LEFT JOIN read.flows AS flow ON flow.id = run.flow_id"
        " LEFT JOIN read.deployments AS deployment ON deployment.id = flow_run.deployment_id"
        " LEFT JOIN ledger.events AS entry"
        " ON entry.originator_id = state.task_run_id AND entry.originator_version = state.version"
    )
    tags = sql.SQL(
        "(run.tags || coalesce(flow_run.tags, '{{}}') || coalesce(flow.tags, '{{}}')"
        " || coalesce(deployment.tags, '{{}}'))"
    ).format()
    related_columns: ClassVar[dict[str, LiteralString]] = {
        FLOW_RUN: "run.flow_run_id",
        FLOW: "run.flow_id",
        DEPLOYMENT: "flow_run.deployment_id",
    }
    resource = _resource(
        TASK_RUN,
        "task_run_id",
        sql.SQL("coalesce(entry.state::json #>> '{{counters,run_count}}', {})").format(
            _counted("read.task_run_states", "task_run_id")
        ),
        ", 'prefect.orchestration', CASE WHEN entry.topic = 'TaskRun.StateReported' THEN 'client' ELSE 'server' END",
    )
    related = _related(
        ("flow-run", "flow_run.id", "flow_run.name"),
        ("flow", "flow.id", "flow.name"),
        ("deployment", "deployment.id", "deployment.name"),
        tags=tags,
    )
    follows = sql.SQL(
        "CASE WHEN entry.topic = 'TaskRun.StateReported' THEN (entry.state::json ->> 'follows')::uuid ELSE {} END"
    ).format(_before("read.task_run_states", "task_run_id", "previous.id"))
    payload = sql.SQL(
        "(SELECT json_build_object('intended', json_build_object('from', was ->> 'type', 'to', now ->> 'type'),"
        " 'initial_state', CASE WHEN was IS NOT NULL THEN json_build_object('type', was ->> 'type',"
        " 'name', was ->> 'name', 'message', coalesce(was ->> 'message', ''), 'state_details', was -> 'state_details')"
        " END, 'validated_state', json_build_object('type', now ->> 'type', 'name', now ->> 'name',"
        " 'message', coalesce(now ->> 'message', ''), 'state_details', now -> 'state_details', 'data', now -> 'data'),"
        " 'task_run', (SELECT json_object_agg(key, value)"
        " FROM jsonb_each(CASE WHEN entry.topic = 'TaskRun.StateReported'"
        " THEN document.doc::jsonb - {counters}::text[] || (entry.state::jsonb -> 'counters')"
        " ELSE document.doc::jsonb END)"
        " WHERE key = ANY({described})))"
        " FROM (SELECT (CASE WHEN entry.topic = 'TaskRun.StateReported' THEN (SELECT followed.doc"
        " FROM read.task_run_states AS followed WHERE followed.id = (entry.state::json ->> 'follows')::uuid LIMIT 1)"
        " ELSE {before} END)::json AS was, state.doc::json AS now) AS told)"
    ).format(
        before=_before("read.task_run_states", "task_run_id", "previous.doc"),
        counters=list(ReportedCounters.model_fields),
        described=[
            *("name", "task_key", "dynamic_key", "empirical_policy", "tags", "labels", "task_inputs", "run_count"),
            *("flow_run_run_count", "expected_start_time", "next_scheduled_start_time", "start_time", "end_time"),
            "total_run_time",
        ],
    )


class ClientEvents(Source):
    """The events that clients sent of themselves."""

    rows = sql.SQL("telemetry.client_events AS sent")
    occurred = sql.SQL("sent.occurred")
    id = sql.SQL("sent.id")
    resource = sql.SQL("sent.resource")
    related = sql.SQL("sent.related")
    payload = sql.SQL("sent.payload")
    follows = sql.SQL("sent.follows")
    received = sql.SQL(TIME).format(sql.SQL("sent.received"))
    label = sql.SQL(
        "coalesce(sent.resource ->> 'prefect.resource.name', sent.resource ->> 'prefect.name', sent.resource_id)"
    )

    @property
    def event(self) -> sql.Composable:
        return sql.SQL("sent.event")

    @property
    def resource_id(self) -> sql.Composable:
        return sql.SQL("sent.resource_id")

    def named(self, name: str) -> Condition:
        return compare("{} = %s", self.event, name)

    def name_begins(self, prefix: str) -> Condition:
        return compare("starts_with({}, %s)", self.event, prefix)

    def of_resource(self, id: str) -> Condition:
        return compare("{} = %s", self.resource_id, id)

    def resource_begins(self, prefix: str) -> Condition:
        return compare("starts_with({}, %s)", self.resource_id, prefix)

    def with_related(self, id: str) -> Condition:
        return compare("{} && %s", sql.SQL("sent.related_ids"), [id])


RUN_SOURCES: tuple[Source, ...] = (FlowRunStates(), TaskRunStates())
CLIENT_SOURCE: Source = ClientEvents()
SOURCES: tuple[Source, ...] = (*RUN_SOURCES, CLIENT_SOURCE)
