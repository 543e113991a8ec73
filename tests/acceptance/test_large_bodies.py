"""Large bodies from many callers at once: they take their turns, and others are served in between."""

import asyncio
import json
from collections import Counter

import httpx
import pytest

from tests.acceptance.conftest import Service
from tests.checks import check_ledger
from tests.support.http_connection import HttpConnection

pytestmark = pytest.mark.slow

CALLERS = 32
TEXT = 'x"' * 1_000_000
"""Quotes make a text grow each time JSON is put into JSON."""


def test_large_and_small_commands_that_come_at_once_are_all_carried_out(service: Service, client: httpx.Client) -> None:
    flow_id = client.post("flows/", json={"name": "large"}).json()["id"]
    large = json.dumps({"flow_id": flow_id, "parameters": {"text": TEXT}}).encode()
    small = json.dumps({"flow_id": flow_id}).encode()

    async def create(body: bytes) -> int:
        async with HttpConnection(service.server) as connection:
            status, _ = await connection.request("POST", "/flow_runs/", body)
            return status

    async def go() -> Counter[int]:
        return Counter(await asyncio.gather(*(create(body) for _ in range(CALLERS) for body in (large, small))))

    assert asyncio.run(go()) == {201: 2 * CALLERS}
    check_ledger(service.conninfo)
