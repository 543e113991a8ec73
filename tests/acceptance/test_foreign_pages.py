"""Pages of other origins, which a browser lets write to this machine without asking: they may not."""

import asyncio

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from api.app import ENDPOINTS
from api.openapi import describe
from tests.acceptance.conftest import Service
from tests.support.descriptions import Operation, operations
from tests.support.event_client import confirm, events_in
from tests.support.stored_events import count_events

WRITING = [operation for operation in operations(describe(list(ENDPOINTS))) if operation.method != "GET"]
SIMPLE = {"Content-Type": "text/plain"}
"""What makes browsers send a request to another origin without asking that first."""

FOREIGN = ["http://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1.evil.example:4200", ""]


@pytest.mark.parametrize("operation", WRITING, ids=str)
@pytest.mark.parametrize("origin", FOREIGN)
def test_a_request_of_a_foreign_page_writes_nothing(
    service: Service, client: httpx.Client, operation: Operation, origin: str
) -> None:
    before = count_events(service.conninfo)
    path = operation.path.replace("{id}", "5121a062-fecc-420f-9ec3-440761f290fb")
    address = client.base_url.copy_with(path=path)
    answer = client.request(operation.method, address, headers={**SIMPLE, "Origin": origin}, content=b'{"name": "x"}')
    assert answer.status_code == 403
    assert answer.json() == {"detail": "Pages of other origins may not write here."}
    assert count_events(service.conninfo) == before


def test_a_page_of_our_own_may_write(client: httpx.Client) -> None:
    own = f"http://{client.base_url.netloc.decode()}"
    assert client.post("flows/", headers={"Origin": own}, json={"name": "our own"}).status_code == 201


def test_a_foreign_page_may_not_report(service: Service) -> None:
    async def go() -> None:
        async with events_in(service.server, origin=Origin("http://evil.example")) as connection:
            await confirm(connection)

    with pytest.raises((ConnectionClosed, InvalidStatus)):
        asyncio.run(go())


def test_a_page_whose_name_was_made_to_point_here_may_not(service: Service, client: httpx.Client) -> None:
    before = count_events(service.conninfo)
    rebound = {"Origin": "http://rebound.example:4200", "Host": "rebound.example:4200"}
    assert client.post("flows/", headers=rebound, json={"name": "rebound"}).status_code == 403
    assert count_events(service.conninfo) == before
