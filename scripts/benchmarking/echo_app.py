"""The bare Starlette app that answers what it is sent: the bound of what a service on these uvicorn settings can do."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def echo(request: Request) -> Response:
    """Answers the request's body, unread."""
    return Response(await request.body(), media_type="application/json")


async def health(request: Request) -> Response:
    """Answers as a server that is up does."""
    return Response(b"true", media_type="application/json")


app = Starlette(routes=[Route("/api/health", health), Route("/api/echo", echo, methods=["POST"])])
