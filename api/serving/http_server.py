"""One HTTP server in this process: uvicorn with the settings that both ways of serving share."""

import socket
from collections.abc import Callable
from importlib import import_module

import uvicorn
from starlette.applications import Starlette

from api.serving.http_protocol import JoinedWritesProtocol
from api.serving.interpreter import settle_interpreter
from api.settings import Settings
from api.websocket_protocol import HeldPongProtocol

# Longer than clients keep an idle connection, so that none is closed just when a client sends on it.
KEEP_ALIVE_SECONDS = 75


class ApiServer(uvicorn.Server):
    """A uvicorn server that calls `on_ready` once it accepts connections, and `on_stop` when it stops to do so."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None], on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then say so."""
        await super().startup(sockets=sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let go of what goes on for ever, then wait for the rest."""
        self._on_stop()
        await super().shutdown(sockets=sockets)


def make_server(settings: Settings, conninfo: str, app_factory: str, on_ready: Callable[[], None]) -> ApiServer:
    """Make the application and a server for it, which is not running yet.

    `app_factory` names ("module:function") what is called with the settings and the connection string and gives the
    application. What that puts into its state as `stop_soon` is called when the server stops.
    """
    module, _, name = app_factory.partition(":")
    create_app: Callable[[Settings, str], Starlette] = getattr(import_module(module), name)
    app = create_app(settings, conninfo)
    settle_interpreter()
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=JoinedWritesProtocol,
        ws=HeldPongProtocol,
        ws_max_size=settings.max_body_bytes,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.grace_seconds,
    )
    return ApiServer(config, on_ready, getattr(app.state, "stop_soon", _nothing))


def _nothing() -> None:
    """What an application asks for that has nothing that goes on for ever."""
