"""Small applications in the place of the API, to try the processes that serve with."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from api.settings import Settings


def create_app(settings: Settings, conninfo: str) -> Starlette:
    """An application that tells which process it is, asks its database, and has requests that take their time."""
    under_way = asyncio.Event()

    async def process(_: Request) -> JSONResponse:
        return JSONResponse({"pid": os.getpid(), "page_limit": settings.page_limit})

    def database(_: Request) -> JSONResponse:
        with psycopg.connect(conninfo) as connection:
            return JSONResponse(connection.execute("SELECT 1").fetchone())

    async def until_the_door_is_closed(request: Request) -> PlainTextResponse:
        under_way.set()
        # Nothing in here is told when the server closes its socket.
        while await is_open(request.url.hostname or "", request.url.port or 0):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return PlainTextResponse("the door is closed")

    async def for_ever(_: Request) -> PlainTextResponse:
        under_way.set()
        await asyncio.Event().wait()
        return PlainTextResponse("never")

    async def when_under_way(_: Request) -> PlainTextResponse:
        await under_way.wait()
        return PlainTextResponse("a slow request is under way")

    endpoints = (process, database, until_the_door_is_closed, for_ever, when_under_way)
    return Starlette(routes=[Route(f"/{endpoint.__name__}", endpoint) for endpoint in endpoints])


async def is_open(host: str, port: int) -> bool:
    """Say whether somebody listens there."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except ConnectionError:
        return False
    writer.close()
    return True


def create_broken_app(settings: Settings, conninfo: str) -> Starlette:
    """An application that does not start."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("this application is broken")
        yield

    return Starlette(lifespan=lifespan)
