"""Starts an embedded PostgreSQL again when it dies under a running server."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from api.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresFailed

LOOK_SECONDS = 0.5

log = structlog.get_logger(__name__)


@contextmanager
def kept_running(server: EmbeddedPostgres) -> Iterator[None]:
    """Look after `server` from a thread of its own for the time of a `with` block.

    A start that fails is logged and tried again.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_look_after, args=(server, ended), name="embedded-postgres-guard")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _look_after(server: EmbeddedPostgres, ended: threading.Event) -> None:
    while not ended.wait(LOOK_SECONDS):
        try:
            if server.restart_if_gone():
                log.error("the embedded PostgreSQL had died and was started again")
        except EmbeddedPostgresFailed as failure:
            log.error("the embedded PostgreSQL died and does not start", problem=str(failure))
