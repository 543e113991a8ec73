"""A client that reports its task runs over the websocket, as 3.x clients do."""

import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.support.server_process import ServerProcess

RECORDED = Path(__file__).parents[1] / "data" / "samples" / "3.9.1" / "task_run_events_by_state.json"
"""One recorded event for each state that a task run can be reported in."""

LIFE = ("Pending", "Running", "Completed")
PREFIX = "prefect.task-run."
Report = dict[str, Any]


def reports_of_one_run(flow_run_id: str) -> list[Report]:
    """The three events by which a client reports the whole life of a new task run of a flow run, in order."""
    samples = {event["event"].removeprefix(PREFIX): event for event in json.loads(RECORDED.read_text())}
    task_run_id, began = uuid4(), datetime.now(UTC)
    reports: list[Report] = []
    for step, name in enumerate(LIFE):
        report = copy.deepcopy(samples[name])
        report["id"] = str(uuid4())
        report["follows"] = reports[-1]["id"] if reports else None
        report["occurred"] = (began + timedelta(milliseconds=step)).isoformat()
        report["resource"]["prefect.resource.id"] = f"{PREFIX}{task_run_id}"
        report["payload"]["task_run"]["dynamic_key"] = str(task_run_id)
        for related in report["related"]:
            if related["prefect.resource.role"] == "flow-run":
                related["prefect.resource.id"] = f"prefect.flow-run.{flow_run_id}"
        reports.append(report)
    return reports


def run_id_of(report: Report) -> str:
    """The id of the task run that a report is about."""
    resource: str = report["resource"]["prefect.resource.id"]
    return resource.removeprefix(PREFIX)


def entered_by(report: Report) -> tuple[str, str]:
    """The id of the task run and the id of the state that a report must leave in the ledger."""
    return run_id_of(report), report["id"]


@asynccontextmanager
async def reporting(server: ServerProcess) -> AsyncIterator[ClientConnection]:
    """A connection that shook hands as 3.x clients do: the subprotocol, a ping, and a message that says who it is."""
    async with events_in(server, subprotocols=[Subprotocol("prefect")]) as connection:
        await (await connection.ping())
        await connection.send(json.dumps({"type": "auth", "token": None}))
        assert json.loads(await connection.recv()) == {"type": "auth_success"}
        yield connection


def events_in(server: ServerProcess, **options: Any) -> connect:
    """A connection that did not shake hands yet."""
    url = server.api.replace("http://", "ws://") + "/events/in"
    return connect(url, user_agent_header="prefect/3.9.1 (API 0.8.4)", ping_interval=None, **options)


async def send(connection: ClientConnection, report: Report) -> None:
    """Send one report, as one text frame."""
    await connection.send(json.dumps(report))


async def confirm(connection: ClientConnection) -> None:
    """Return when a pong has come, which says that all reports sent before are safe."""
    await (await connection.ping())
