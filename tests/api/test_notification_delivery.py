"""Delivering notifications: what is sent, to which address, signed how, and when it is tried again."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json
from structlog.testing import capture_logs

from api.block_secrets import Sealer
from api.notifications import webhook
from api.notifications.delivery import Delivery, pause_behind
from api.notifications.queueing import Queueing
from api.notifications.targets import parse_target
from api.services import upkeep
from api.services.following import Following
from api.services.service import Tools
from api.settings import Settings
from domain.commands.flow_runs import UpdateFlowRun
from domain.commands.notification_policies import (
    CreateNotificationPolicy,
    DeleteNotificationPolicy,
    UpdateNotificationPolicy,
)
from domain.flow_run import FlowRunChanges
from domain.ids import new_id
from domain.notification_message import DEFAULT, FIELDS, check_template, filled_in
from domain.notification_policy import PolicyTerms, SealedUrl
from projections import notifications
from tests.domain.conftest import CALLER, Clock, Desk, clock, desk, ledger, proposed
from tests.support.rounds import do_round, with_tools

__all__ = ["clock", "desk", "ledger"]

SEALER = Sealer([Fernet.generate_key().decode()])
SECRET = "the-signing-secret"  # noqa: S105


class Sealed:
    """Stands for the sealing of a process."""

    async def sealer(self) -> Sealer:
        return SEALER


class Receiver:
    """A receiver on this machine that answers with the statuses it is given, then 200; None breaks the call off."""

    def __init__(self, *statuses: int | None) -> None:
        self.statuses = list(statuses)
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head.splitlines()[1:] if line)
        }
        body = await reader.readexactly(int(headers["content-length"]))
        self.received.append((headers, body))
        status = self.statuses.pop(0) if self.statuses else 200
        if status is not None:
            writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:1/\r\n\r\n" % status)
        writer.close()


def policy(desk: Desk, url: str, **terms: Any) -> UUID:
    given = PolicyTerms(
        url=SealedUrl(sealed=SEALER.seal({"url": url}), shown="shown"),
        signing_secret=SEALER.seal({"signing_secret": SECRET}),
        **terms,
    )
    return desk.make(CreateNotificationPolicy(caller=CALLER, id=new_id(), terms=given))


def begin(conninfo: str, clock: Clock) -> Following:
    following = Following(Queueing(lambda: None))
    do_round(conninfo, clock, following)
    return following


def deliver(conninfo: str, clock: Clock, receiver: Receiver, times: int = 1, **settings: Any) -> None:
    """Do rounds of a process that has just begun to deliver, with the receiver listening."""

    async def use(tools: Tools) -> None:
        delivery = Delivery(Sealed(), clock)  # type: ignore[arg-type]
        async with receiver.listening():
            for _ in range(times):
                await delivery(tools, clock())
                clock.move(hours=1)

    with_tools(conninfo, clock, use, **{"notifications_allow_private_targets": True, **settings})


def rows(conninfo: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(conninfo) as connection:
        return connection.execute(query.encode()).fetchall()


def statuses(conninfo: str) -> list[str]:
    return [row[0] for row in rows(conninfo, "SELECT status FROM telemetry.notifications ORDER BY position")]


def attempts(conninfo: str) -> list[tuple[Any, ...]]:
    query = "SELECT number, outcome, status_code, error FROM telemetry.notification_attempts ORDER BY number"
    return rows(conninfo, query)


async def free_port(receiver: Receiver) -> None:
    async with receiver.listening():
        pass


def test_what_is_sent_tells_of_the_run_as_it_was_and_is_signed(conninfo: str, desk: Desk, clock: Clock) -> None:
    following, receiver = begin(conninfo, clock), Receiver()
    asyncio.run(free_port(receiver))
    url = f"http://localhost:{receiver.port}/hook?token=t"
    id = policy(desk, url, message_template="{flow_run_name} of {flow_name}: {flow_run_state_message}")
    run = desk.flow_run(name="before", tags=["t"], state=proposed("FAILED", message="oh {no}"))
    desk.ask(UpdateFlowRun(caller=CALLER, id=run, changes=FlowRunChanges(name="after", tags=[])))
    desk.ask(
        UpdateNotificationPolicy(caller=CALLER, id=id, changes=PolicyTerms(message_template="{flow_run_state_name}"))
    )
    do_round(conninfo, clock, following)
    deliver(conninfo, clock, receiver)
    ((headers, body),) = receiver.received
    said = from_json(body)
    notification = UUID(headers["x-flowledger-delivery"])
    assert headers["host"] == f"localhost:{receiver.port}"
    assert headers["x-flowledger-signature"] == webhook.signature(SECRET, headers["x-flowledger-timestamp"], body)
    assert said == {
        "notification_id": str(notification),
        "policy_id": str(id),
        "position": 4,
        "flow_run_id": str(run),
        "flow_run_name": "before",
        "flow_id": str(desk.flow_id),
        "flow_name": "a-flow",
        "tags": ["t"],
        "state": {
            "type": "FAILED",
            "name": "Failed",
            "message": "oh {no}",
            "timestamp": "2026-11-01T12:00:00Z",
        },
        "message": "before of a-flow: oh {no}",
    }
    assert statuses(conninfo) == ["delivered"]
    assert attempts(conninfo) == [(1, "delivered", 200, None)]


def test_what_is_no_webhook_of_ours_gets_the_message(conninfo: str, desk: Desk, clock: Clock) -> None:
    following, receiver = begin(conninfo, clock), Receiver()
    asyncio.run(free_port(receiver))
    policy(desk, f"xml://127.0.0.1:{receiver.port}/", message_template="It is {flow_run_state_name}")
    desk.flow_run(state=proposed("FAILED"))
    do_round(conninfo, clock, following)
    deliver(conninfo, clock, receiver)
    ((_, body),) = receiver.received
    assert b"It is Failed" in body
    assert statuses(conninfo) == ["delivered"]


def test_what_was_due_is_delivered_also_when_its_policy_was_deleted_and_to_where_it_went_last(
    conninfo: str, desk: Desk, clock: Clock
) -> None:
    following, receiver = begin(conninfo, clock), Receiver()
    asyncio.run(free_port(receiver))
    id = policy(desk, "http://127.0.0.1:1/nobody")
    desk.flow_run(state=proposed("FAILED"))
    url = SealedUrl(sealed=SEALER.seal({"url": f"http://127.0.0.1:{receiver.port}/"}), shown="shown")
    desk.ask(UpdateNotificationPolicy(caller=CALLER, id=id, changes=PolicyTerms(url=url)))
    desk.ask(DeleteNotificationPolicy(caller=CALLER, id=id))
    do_round(conninfo, clock, following)
    deliver(conninfo, clock, receiver)
    assert statuses(conninfo) == ["delivered"]


@pytest.mark.parametrize(
    ("status", "becomes"),
    [
        *[(500, "queued"), (503, "queued"), (408, "queued"), (425, "queued"), (429, "queued"), (None, "queued")],
        *[(400, "dead"), (404, "dead"), (410, "dead"), (301, "dead"), (307, "dead")],
    ],
)
def test_what_is_of_no_use_is_not_tried_again(
    conninfo: str, desk: Desk, clock: Clock, status: int | None, becomes: str
) -> None:
    following, receiver = begin(conninfo, clock), Receiver(status)
    asyncio.run(free_port(receiver))
    policy(desk, f"http://127.0.0.1:{receiver.port}/")
    desk.flow_run(state=proposed("FAILED"))
    do_round(conninfo, clock, following)
    deliver(conninfo, clock, receiver)
    assert statuses(conninfo) == [becomes]
    ((_, outcome, code, error),) = attempts(conninfo)
    assert (outcome, code) == ("failed", status)
    assert error
    assert len(receiver.received) == 1


def test_it_is_tried_so_often_and_then_given_up_until_someone_asks_for_it(
    conninfo: str, desk: Desk, clock: Clock
) -> None:
    following, receiver = begin(conninfo, clock), Receiver(500, 500, None)
    asyncio.run(free_port(receiver))
    policy(desk, f"http://127.0.0.1:{receiver.port}/")
    desk.flow_run(state=proposed("FAILED"))
    do_round(conninfo, clock, following)
    deliver(conninfo, clock, receiver, times=5, notifications_attempts=3)
    assert statuses(conninfo) == ["dead"]
    ((id,),) = rows(conninfo, "SELECT id FROM telemetry.notifications")

    async def redeliver(tools: Tools) -> str | None:
        return await notifications.redeliver(tools.connection, id, clock())

    assert with_tools(conninfo, clock, redeliver) == "dead"
    deliver(conninfo, clock, receiver)
    assert statuses(conninfo) == ["delivered"]
    assert [outcome for _, outcome, *_ in attempts(conninfo)] == ["failed"] * 3 + ["delivered"]
    assert {headers["x-flowledger-delivery"] for headers, _ in receiver.received} == {str(id)}
    assert with_tools(conninfo, clock, redeliver) == "delivered"
    assert with_tools(conninfo, clock, redeliver) == "queued"


def test_an_attempt_that_a_process_did_not_live_to_see_the_end_of_is_made_again(
    conninfo: str, desk: Desk, clock: Clock
) -> None:
    following, receiver = begin(conninfo, clock), Receiver()
    asyncio.run(free_port(receiver))
    policy(desk, f"http://127.0.0.1:{receiver.port}/")
    desk.flow_run(state=proposed("FAILED"))
    do_round(conninfo, clock, following)

    async def claim(tools: Tools) -> list[Any]:
        return list(await notifications.claim(tools.connection, clock(), limit=9, of_policy=9, busy=[]))

    assert len(with_tools(conninfo, clock, claim)) == 1
    assert with_tools(conninfo, clock, claim) == []
    deliver(conninfo, clock, receiver)
    assert [(number, outcome) for number, outcome, *_ in attempts(conninfo)] == [(1, "unknown"), (2, "delivered")]


def test_an_attempt_whose_end_could_not_be_noted_is_made_again(
    conninfo: str, desk: Desk, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    following, receiver = begin(conninfo, clock), Receiver()
    asyncio.run(free_port(receiver))
    policy(desk, f"http://127.0.0.1:{receiver.port}/")
    desk.flow_run(state=proposed("FAILED"))
    do_round(conninfo, clock, following)
    finish, failures = notifications.finish, [psycopg.errors.QueryCanceled("too slow")]

    async def slow(*args: Any, **kwargs: Any) -> None:
        if failures:
            raise failures.pop()
        await finish(*args, **kwargs)

    monkeypatch.setattr(notifications, "finish", slow)
    deliver(conninfo, clock, receiver, times=2)
    assert [(number, outcome) for number, outcome, *_ in attempts(conninfo)] == [(1, "unknown"), (2, "delivered")]
    assert statuses(conninfo) == ["delivered"]


def test_what_became_of_notifications_is_forgotten_after_a_while(conninfo: str, desk: Desk, clock: Clock) -> None:
    following, receiver = begin(conninfo, clock), Receiver(200, 500)
    asyncio.run(free_port(receiver))
    policy(desk, f"http://127.0.0.1:{receiver.port}/")
    for _ in range(2):
        desk.flow_run(state=proposed("FAILED"))
        do_round(conninfo, clock, following)
        deliver(conninfo, clock, receiver, notifications_backoff_seconds=3600.0)
    assert sorted(statuses(conninfo)) == ["delivered", "queued"]
    assert do_round(conninfo, clock, upkeep.delete_old_notifications) == "deleted 0 notifications"
    clock.move(days=31)
    assert do_round(conninfo, clock, upkeep.delete_old_notifications) == "deleted 1 notifications"
    assert statuses(conninfo) == ["queued"]
    assert [outcome for _, outcome, *_ in attempts(conninfo)] == ["failed"]


def test_a_policy_with_many_that_wait_leaves_room_for_others(conninfo: str, desk: Desk, clock: Clock) -> None:
    following = begin(conninfo, clock)
    first = policy(desk, "http://127.0.0.1:1/", state_names=["Failed"])
    for _ in range(9):
        desk.flow_run(state=proposed("FAILED"))
    second = policy(desk, "http://127.0.0.1:1/", state_names=["Crashed"])
    desk.flow_run(state=proposed("CRASHED"))
    do_round(conninfo, clock, following)

    async def claim(tools: Tools) -> list[UUID]:
        claimed = await notifications.claim(tools.connection, clock(), limit=100, of_policy=4, busy=[])
        busy = await notifications.claim(tools.connection, clock(), limit=100, of_policy=4, busy=[first])
        return [each.policy_id for each in [*claimed, *busy]]

    assert with_tools(conninfo, clock, claim) == [first] * 4 + [second]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/SECRET", "https://localhost/SECRET", "xml://10.0.0.1/SECRET"])
def test_what_leads_to_an_address_that_is_not_public_is_given_up_at_once_without_telling_secrets(
    conninfo: str, desk: Desk, clock: Clock, url: str
) -> None:
    following = begin(conninfo, clock)
    policy(desk, url)
    desk.flow_run(state=proposed("FAILED"))
    do_round(conninfo, clock, following)
    with capture_logs() as logs:
        deliver(conninfo, clock, Receiver(), notifications_allow_private_targets=False)
    assert statuses(conninfo) == ["dead"]
    ((_, _, code, error),) = attempts(conninfo)
    assert code is None
    assert "not public" in error
    assert "SECRET" not in str(logs)
    with psycopg.connect(conninfo) as connection:
        tables = ("ledger.events", "telemetry.notifications", "telemetry.notification_attempts")
        found = [connection.execute(f"SELECT t::text FROM {t} AS t".encode()).fetchall() for t in tables]  # noqa: S608
    assert "SECRET" not in str(found)


def test_a_notification_whose_run_is_no_longer_in_the_ledger_is_given_up(
    conninfo: str, desk: Desk, clock: Clock
) -> None:
    following = begin(conninfo, clock)
    policy(desk, "http://127.0.0.1:1/")
    run = desk.flow_run(state=proposed("FAILED"))
    do_round(conninfo, clock, following)
    with psycopg.connect(conninfo) as connection:
        connection.execute("DELETE FROM ledger.events WHERE originator_id = %s", [run])
    deliver(conninfo, clock, Receiver())
    assert statuses(conninfo) == ["dead"]


@given(
    failures=st.integers(1, 10_000),
    base=st.floats(0.001, 3600),
    most=st.floats(0.001, 604_800),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_the_pause_is_any_time_up_to_one_that_doubles_but_for_an_upper_bound(
    failures: int, base: float, most: float, chance: float
) -> None:
    settings = Settings(notifications_backoff_seconds=base, notifications_backoff_max_seconds=most)
    pause = pause_behind(failures, settings, lambda: chance)
    assert timedelta(0) <= pause <= timedelta(seconds=most)
    longer = pause_behind(failures + 1, settings, lambda: chance)
    assert longer >= pause
    if base * 2.0 ** min(failures, 60) <= most:
        assert longer.total_seconds() == pytest.approx(2 * pause.total_seconds(), abs=2e-6)


@given(st.binary(), st.text("abc", min_size=1), st.datetimes(min_value=datetime(2000, 1, 1)))
def test_a_signature_holds_for_one_body_one_secret_and_one_time(body: bytes, secret: str, at: datetime) -> None:
    headers = webhook.headers_for(secret, "id", body, at.replace(tzinfo=UTC))
    timestamp, signed = headers[webhook.TIMESTAMP], headers[webhook.SIGNATURE]
    assert webhook.signature(secret, timestamp, body) == signed
    assert webhook.signature(secret, timestamp, body + b"x") != signed
    assert webhook.signature(secret + "x", timestamp, body) != signed
    assert webhook.signature(secret, timestamp + "1", body) != signed


@given(st.dictionaries(st.sampled_from(FIELDS), st.text()), st.lists(st.sampled_from(FIELDS)))
def test_a_template_is_filled_with_values_as_they_are(given: dict[str, str], named: list[str]) -> None:
    values = {field: given.get(field, "") for field in FIELDS}
    template = "{{x}}" + "".join(f"{{{field}}}" for field in named)
    check_template(template)
    assert filled_in(template, values) == "{x}" + "".join(values[field] for field in named)


def test_the_usual_message_can_be_filled_in() -> None:
    check_template(DEFAULT)
    assert "{" not in filled_in(DEFAULT, dict.fromkeys(FIELDS, "v"))


@pytest.mark.parametrize(
    "template",
    [
        "{unknown}",
        "{}",
        "{0}",
        "{flow_id.__class__}",
        "{flow_id[0]}",
        "{flow_id!r}",
        "{flow_id:>9999999999}",
        "{flow_id",
        "}",
        "x" * 10_001,
    ],
)
def test_templates_that_ask_for_anything_else_are_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_template(template)


Handled = Callable[[httpx.Request], Awaitable[httpx.Response]]


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111"])
def test_the_address_that_was_checked_is_called_by_the_name_that_was_given(address: str) -> None:
    called: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        called.append(request)
        return httpx.Response(204)

    async def run() -> int:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            target = parse_target("jsons://user:pass@hooks.example:8443/a?b=c")
            return await webhook.post(client, target, [ip_address(address)], b"{}", {})

    assert asyncio.run(run()) == 204
    (request,) = called
    assert str(ip_address(request.url.host)) == address
    assert (request.url.scheme, request.url.port, request.url.raw_path) == ("https", 8443, b"/a?b=c")
    assert request.headers["host"] == "hooks.example:8443"
    assert request.extensions["sni_hostname"] == "hooks.example"
    assert request.headers["authorization"].startswith("Basic ")


def test_the_client_follows_nothing_and_asks_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    client = webhook.new_client()
    assert not client.follow_redirects
    assert not client.trust_env
    assert client._mounts == {}


def test_failures_are_described_without_the_url() -> None:
    told = [
        webhook.describe(failure)
        for failure in (
            TimeoutError("SECRET"),
            httpx.ConnectError("SECRET"),
            httpx.ReadError("SECRET"),
            httpx.InvalidURL("SECRET"),
            OSError("SECRET"),
            ssl.SSLError("SECRET"),
            ValueError("SECRET"),
        )
    ]
    assert all(told)
    assert "SECRET" not in str(told)
