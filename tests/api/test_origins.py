"""Pages of other origins, which any browser may have open, do not write to a service on the same machine."""

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from api.app import create_app
from api.settings import Settings

FOREIGN = ["http://evil.example", "null", "http://127.0.0.1.evil.example", "http://127.0.0.1:1", "http://[", "//", ""]
HERE = "http://127.0.0.1"


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_page_writes_nothing(conninfo: str, origin: str) -> None:
    with TestClient(create_app(Settings(), conninfo), base_url=HERE) as client:
        headers = {"Origin": origin, "Content-Type": "text/plain"}
        assert client.post("/api/flows/", content=b'{"name": "x"}', headers=headers).status_code == 403
        assert client.post("/api/flows/count", json={}).json() == 0
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/events/in", headers={"Origin": origin}):
            pass


def test_clients_and_pages_of_our_own_write(conninfo: str) -> None:
    with TestClient(create_app(Settings(), conninfo), base_url=HERE) as client:
        assert client.post("/api/flows/", json={"name": "x"}).status_code == 201
        own = {"Origin": HERE}
        assert client.post("/api/flows/", json={"name": "y"}, headers=own).status_code == 201


def test_a_foreign_page_may_be_answered_what_anybody_may_read(conninfo: str) -> None:
    with TestClient(create_app(Settings(), conninfo), base_url=HERE) as client:
        assert client.get("/api/health", headers={"Origin": "http://evil.example"}).json() is True


def test_a_name_that_points_here_is_no_origin_of_ours(conninfo: str) -> None:
    with TestClient(create_app(Settings(), conninfo), base_url="http://rebound.example") as client:
        rebound = {"Origin": "http://rebound.example"}
        assert client.post("/api/flows/", json={"name": "x"}, headers=rebound).status_code == 403
        assert client.post("/api/flows/", json={"name": "x"}).status_code == 201
