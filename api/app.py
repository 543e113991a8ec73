"""The application: all routes on one database, with the queue and the connections that they share."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api import openapi
from api.answer import answer
from api.block_secrets import Sealing
from api.call import Services
from api.client_events import ClientEventWriter
from api.command_queue import CommandQueue
from api.endpoint import Endpoint
from api.herald import Herald, listening_connection
from api.ledger_tail import LedgerTail
from api.metrics import Metrics
from api.reads import Gathered, Reads
from api.routes import (
    admin,
    artifacts,
    audit,
    automations,
    block_documents,
    block_schemas,
    block_types,
    bulk,
    collections,
    concurrency_limits,
    deployment_bulk,
    deployments,
    events,
    feed,
    flow_run_inputs,
    flow_runs,
    flows,
    global_limits,
    graphs,
    histories,
    ledger,
    ledger_feed,
    logs,
    notification_policies,
    run_states,
    saved_searches,
    schedules,
    task_runs,
    task_workers,
    ui,
    variables,
    work_pools,
    work_queues,
    worker_channel,
)
from api.routing import ByShape
from api.services.roster import followers_of, services_of
from api.services.shift import Shift
from api.settings import Settings
from domain.events import EventMapper
from domain.ledger import Ledger
from projections import queries
from projections.connection import LedgerConnection
from projections.payload_keys.opening import open_keys
from projections.payload_keys.store import KeyStore, StoredKeys
from projections.recorder import PostgresLedgerRecorder

ENDPOINTS: tuple[Endpoint, ...] = (
    *flow_runs.endpoints,
    *task_runs.endpoints,
    *flows.endpoints,
    *deployments.endpoints,
    *schedules.endpoints,
    *deployment_bulk.endpoints,
    *run_states.endpoints,
    *flow_run_inputs.endpoints,
    *logs.endpoints,
    *histories.endpoints,
    *graphs.endpoints,
    *bulk.endpoints,
    *ui.endpoints,
    *concurrency_limits.endpoints,
    *global_limits.endpoints,
    *admin.endpoints,
    *ledger.endpoints,
    *block_types.endpoints,
    *block_schemas.endpoints,
    *block_documents.endpoints,
    *variables.endpoints,
    *artifacts.endpoints,
    *saved_searches.endpoints,
    *automations.endpoints,
    *notification_policies.endpoints,
    *work_pools.endpoints,
    *work_queues.endpoints,
    *collections.endpoints,
    *feed.endpoints,
    *task_workers.endpoints,
    *audit.endpoints,
    *ledger_feed.endpoints,
)
"""Every endpoint, the busiest first: they are tried in this order."""

EXPERIMENTAL = tuple(
    replace(endpoint, path=f"/experimental{endpoint.path}")
    for endpoint in ENDPOINTS
    if endpoint.path.startswith("/work_pools/")
)
"""Work pools under the addresses that they had in 2.7; they are not described."""


def create_app(settings: Settings, conninfo: str) -> Starlette:
    """The ASGI application on a database whose schemas exist."""
    services = _services(settings, conninfo)
    followers = followers_of(settings, services.sealing, services.herald.tell, services.mapper)
    background = [*services_of(settings), *followers]
    shift = Shift(background, conninfo, settings, services.queue, services.reads, services.herald)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await services.reads.open()
        await services.queue.start()
        await services.herald.start()
        await services.client_events.start()
        shift.start()
        try:
            yield
        finally:
            await shift.stop()
            await services.client_events.stop()
            await services.herald.stop()
            await services.queue.stop()
            await services.reads.close()

    routes: list[BaseRoute] = [endpoint.route(services) for endpoint in (*ENDPOINTS, *EXPERIMENTAL)]
    routes.append(events.route(services))
    routes.append(worker_channel.route(services))
    routes.extend((feed.route(services), logs.route(services), task_workers.route(services)))
    routes.extend(openapi.routes(ENDPOINTS))
    app = Flowledger(routes=routes, lifespan=lifespan)
    app.state.stop_soon = services.herald.stop_soon
    return app


class Flowledger(Starlette):
    """A Starlette whose endpoints answer for their own errors, so that no layer stands between them and the router."""

    def build_middleware_stack(self) -> ASGIApp:
        self._by_shape = ByShape(self.router)
        return self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._by_shape(scope, receive, send)
        except HTTPException as error:
            headers = {"Allow": self._methods_at(scope)} if error.status_code == 405 else dict(error.headers or {})
            await answer({"detail": error.detail}, error.status_code, headers).send(send)

    def _methods_at(self, scope: Scope) -> str:
        """The methods that a path is served with (RFC 9110, section 10.2.1)."""
        matching = (
            route for route in self.routes if isinstance(route, Route) and route.matches(scope)[0] != Match.NONE
        )
        return ", ".join(sorted({method for route in matching for method in route.methods or ()}))


def _queue(
    settings: Settings, conninfo: str, metrics: Metrics, committed: Callable[[], None], keys: KeyStore | None
) -> CommandQueue:
    patience = settings.lock_timeout_seconds

    def open_ledger() -> Ledger:
        connection = LedgerConnection(conninfo, patience=patience)
        keyring = None if keys is None else StoredKeys(keys)
        return Ledger(PostgresLedgerRecorder(connection), cache_size=settings.cache_size, keyring=keyring)

    return CommandQueue(
        open_ledger, batch_size=settings.batch_size, patience=patience, committed=committed, batches=metrics.batches
    )


def _services(settings: Settings, conninfo: str) -> Services:
    reads = Reads(
        conninfo,
        size=settings.read_pool_size,
        timeout=settings.statement_timeout_seconds,
        patience=settings.lock_timeout_seconds,
    )
    key = settings.encryption_key
    keys = None if settings.keys_at is None else open_keys(settings.keys_at)
    herald = Herald(reads, lambda: listening_connection(conninfo))
    metrics = Metrics()
    return Services(
        settings,
        _queue(settings, conninfo, metrics, herald.tell, keys),
        reads,
        flow_runs=Gathered(reads, queries.read_flow_runs_by_id),
        task_runs=Gathered(reads, queries.read_task_runs_by_id),
        sealing=Sealing(reads, None if key is None else key.get_secret_value()),
        herald=herald,
        client_events=ClientEventWriter(reads, herald, keys),
        metrics=metrics,
        tail=LedgerTail(reads, herald, mapper=lambda: EventMapper(None if keys is None else StoredKeys(keys))),
        keys=keys,
    )
