"""A request finds the same route by the shape of its path as by trying all routes in turn."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from starlette.exceptions import HTTPException
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from api.app import ENDPOINTS, EXPERIMENTAL, create_app
from api.routing import ByShape
from api.settings import Settings

ID = str(UUID(int=1))
WORDS = (ID, "filter", "name", "count", "a word", "")
PATHS = sorted({f"/api{endpoint.path}" for endpoint in (*ENDPOINTS, *EXPERIMENTAL)})
OTHERS = ["/", "/api", "/api/", "/api/flow_runs", "/api/flow_runs/a/b/c/d", "/api/nothing/filter", "/docs"]


def found(app: Any, method: str, path: str) -> Any:
    """What answers: the method and the path of a route with what stands in the path, or the status of a refusal."""
    answers: list[Any] = []

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        answers.append(message.get("status"))

    scope: dict[str, Any] = {
        **{"type": "http", "method": method, "path": path, "root_path": "", "query_string": b"", "headers": []},
        **{"app": None, "server": ("a", 80), "scheme": "http"},
    }
    try:
        asyncio.run(app(scope, receive, send))
    except HTTPException as refusal:
        return refusal.status_code
    return answers or (scope["route"].methods, scope["route"].path, scope["path_params"])


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    pass


@pytest.fixture(scope="module")
def router() -> Router:
    """The routes of the service, none of which asks anything of it."""
    app = create_app(Settings(), "")
    routes = [route for route in app.routes if isinstance(route, Route)]
    for route in routes:
        route.app = silent
    return Router(routes)


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_paths_lead_to_the_same_route(router: Router, method: str) -> None:
    by_shape = ByShape(router)
    paths = [
        "/".join(word if part.startswith("{") else part for part in path.split("/")) for path in PATHS for word in WORDS
    ]
    for path in [*paths, *(path + "/" for path in paths), *OTHERS]:
        assert found(by_shape, method, path) == found(router, method, path), path


def test_a_path_tries_few_routes(router: Router) -> None:
    sizes = [len(narrowed.routes) for narrowed in ByShape(router)._narrowed.values()]
    assert max(sizes) <= len([route for route in router.routes if isinstance(route, Route)]) // 10
