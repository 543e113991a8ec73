"""Notifications reach their receivers, whatever happens to the server: every one that is due, and none that is not."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from api.notifications import webhook
from projections.rebuild.rebuilding import Plan, rebuild
from tests.acceptance.conftest import Service
from tests.checks import check_ledger
from tests.support.http_connection import LOST, HttpConnection
from tests.support.server_process import ServerProcess, serving, wait_until
from tests.support.stored_events import read_events

SETTINGS = {"notifications_allow_private_targets": True, "notifications_interval_seconds": 0.2}
QUICK = {
    **SETTINGS,
    "notifications_attempts": 1000,
    "notifications_backoff_seconds": 0.05,
    "notifications_backoff_max_seconds": 0.5,
}
POLICIES = "flow_run_notification_policies"
STATES = ("PENDING", "RUNNING", "FAILED")
CONNECTIONS = 8


@dataclass(frozen=True)
class Received:
    """One call that a receiver took, and what it did with it: 200, 500, or None where it hung up."""

    headers: dict[str, str]
    body: bytes
    answered: int | None

    @property
    def id(self) -> str:
        return self.headers["x-flowledger-delivery"]


@dataclass
class Receiver:
    """A receiver on this machine that fails as often as it is told to, in one of two ways."""

    fails: float = 0.0
    port: int = 0
    received: list[Received] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=SECRET"

    @contextmanager
    def listening(self) -> Iterator["Receiver"]:
        loop = asyncio.new_event_loop()
        thread = Thread(target=loop.run_forever, daemon=True)
        thread.start()
        listening = self._listening()
        asyncio.run_coroutine_threadsafe(listening.__aenter__(), loop).result()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(listening.__aexit__(None, None, None), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield
        server.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[1:-1]
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(headers["content-length"]))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        answered = self.chance.choice((500, None)) if self.chance.random() < self.fails else 200
        self.received.append(Received(headers, body, answered))
        if answered is not None:
            writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % answered)
        writer.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as receiver:
        yield receiver


def follower(client: httpx.Client, name: str = "notifications") -> dict[str, Any]:
    """How far a follower has come, once it has begun."""
    services = {service["name"]: service for service in client.get("admin/services").json()}
    found: dict[str, Any] = services.get(name, {}).get("follower") or {}
    return found


def begun(client: httpx.Client) -> None:
    """Wait until what happens from now on is followed."""
    wait_until(lambda: bool(follower(client)))


def policy(client: httpx.Client, url: str, **terms: Any) -> dict[str, Any]:
    answer = client.post(f"{POLICIES}/", json={"url": url, **terms})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def failed_run(client: httpx.Client, name: str = "a-run", tags: tuple[str, ...] = ()) -> str:
    flow = client.post("flows/", json={"name": "told of"}).json()["id"]
    body = {"flow_id": flow, "name": name, "tags": list(tags), "state": {"type": "FAILED", "message": "why"}}
    return str(client.post("flow_runs/", json=body).json()["id"])


def deliveries(client: httpx.Client, id: str) -> list[dict[str, Any]]:
    """All that is known of the notifications by a policy."""
    found: list[dict[str, Any]] = []
    while page := client.get(f"{POLICIES}/{id}/deliveries", params={"limit": 200, "offset": len(found)}).json():
        found.extend(page)
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_notification_arrives_though_receiver_and_server_fail(
    database_url: str, log: Path, receiver: Receiver
) -> None:
    receiver.fails = 0.5
    chance = random.Random(11)  # noqa: S311
    lives = [chance.randrange(250, 450) for _ in range(6)]
    secrets: dict[str, str] = {}
    terms: dict[str, tuple[set[str], set[str]]] = {}
    for life, transitions in enumerate(lives):
        with serving(log, database_url=database_url, **QUICK) as server, server.client() as client:
            if life == 0:
                begun(client)
                for names, tags in (({"Failed"}, set()), (set(), {"b"}), ({"Crashed"}, set())):
                    made = policy(client, receiver.url, state_names=sorted(names), tags=sorted(tags))
                    secrets[made["id"]], terms[made["id"]] = made["signing_secret"], (names, tags)
            flow = client.post("flows/", json={"name": "told of"}).json()["id"]
            asyncio.run(drive(server, flow, transitions))
            assert server.process.poll() is not None
    with serving(log, database_url=database_url, **QUICK) as server, server.client() as client:
        flow = client.post("flows/", json={"name": "told of"}).json()["id"]
        asyncio.run(drive(server, flow, 100, kill=False))
        due = due_by(database_url, terms)
        entered = sum(event.topic == "FlowRun.StateSet" for event in read_events(database_url))
        assert entered >= 2000
        told = {id: deliveries_when_settled(client, id) for id in terms}
        assert {(each["policy_id"], each["position"]) for each in chain(*told.values())} == due
        check_truth(told, receiver.received)
        check_signatures(receiver.received, secrets)
        arrived = {(said["policy_id"], said["position"]) for said in map(said_by, receiver.received)}
        assert arrived == due

        before = len(receiver.received)
        rebuild(database_url, Plan(jobs=1))
        failed_run(client, "the last one")
        (failing,) = (id for id, (names, _) in terms.items() if names == {"Failed"})
        wait_until(lambda: any(said_by(one)["flow_run_name"] == "the last one" for one in receiver.received))
        deliveries_when_settled(client, failing)
        later = receiver.received[before:]
        assert {said_by(one)["flow_run_name"] for one in later} == {"the last one"}
    check_ledger(database_url)


async def drive(server: ServerProcess, flow: str, transitions: int, *, kill: bool = True) -> None:
    """Lead runs through their lives until so many states were entered, and then end the server at once."""
    entered = 0

    async def lead() -> None:
        nonlocal entered
        try:
            async with HttpConnection(server) as connection:
                while entered < transitions:
                    tags = ["b"] if entered % 10 == 0 else ["a"]
                    body = {"flow_id": flow, "tags": tags, "state": {"type": STATES[0]}, "name": uuid4().hex}
                    _, run = await connection.post("/flow_runs/", body)
                    for type in STATES[1:]:
                        entered += 1
                        await connection.post(f"/flow_runs/{run['id']}/set_state", {"state": {"type": type}})
                    entered += 1
                    if kill and entered >= transitions and server.process.poll() is None:
                        server.kill()
        except LOST:
            return

    await asyncio.gather(*(lead() for _ in range(CONNECTIONS)))


def due_by(conninfo: str, terms: dict[str, tuple[set[str], set[str]]]) -> set[tuple[str, int]]:
    """Which notifications the ledger makes due, told by its events alone."""
    tags: dict[UUID, set[str]] = {}
    due: set[tuple[str, int]] = set()
    for position, event in enumerate(read_events(conninfo), 1):
        if event.topic == "FlowRun.Created":
            tags[event.id] = set(event.facts["tags"])
        if event.topic == "FlowRun.StateSet":
            for id, (names, wanted) in terms.items():
                named = not names or event.facts["state"]["name"] in names
                if named and (not wanted or wanted & tags[event.id]):
                    due.add((id, position))
    return due


def deliveries_when_settled(client: httpx.Client, id: str) -> list[dict[str, Any]]:
    """The deliveries by a policy once all that happened was followed and everything delivered."""
    wait_until(lambda: follower(client)["behind"] == 0)
    wait_until(lambda: {each["status"] for each in deliveries(client, id)} <= {"delivered"}, 120)
    return deliveries(client, id)


def said_by(call: Received) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(call.body)
    return said


def check_truth(told: dict[str, list[dict[str, Any]]], received: list[Received]) -> None:
    """Assert that what is said of every attempt is what the receiver knows of it, where anyone can know."""
    answers: dict[str, Counter[int | None]] = {}
    for call in received:
        answers.setdefault(call.id, Counter())[call.answered] += 1
    for delivery in chain(*told.values()):
        attempts = delivery["attempts"]
        known = answers[delivery["id"]]
        assert [attempt["number"] for attempt in attempts] == list(range(1, delivery["attempt_count"] + 1))
        unknown = sum(attempt["outcome"] == "unknown" for attempt in attempts)
        ended = Counter(attempt["status_code"] for attempt in attempts if attempt["outcome"] != "unknown")
        assert attempts[-1]["outcome"] == "delivered"
        assert known[200] >= sum(attempt["outcome"] == "delivered" for attempt in attempts) == 1
        for status in (200, 500, None):
            assert ended[status] <= known[status] <= ended[status] + unknown
        assert len(attempts) - unknown <= known.total() <= len(attempts)


def check_signatures(received: list[Received], secrets: dict[str, str]) -> None:
    for call in received:
        secret = secrets[said_by(call)["policy_id"]]
        timestamp = call.headers[webhook.TIMESTAMP.lower()]
        assert call.headers[webhook.SIGNATURE.lower()] == webhook.signature(secret, timestamp, call.body)
        assert said_by(call)["notification_id"] == call.id


def test_a_notification_arrives_soon_after_the_state_was_set(
    service: Service, client: httpx.Client, receiver: Receiver
) -> None:
    begun(client)
    made = policy(client, receiver.url, state_names=["Failed"], tags=["soon"], message_template="{flow_run_name}!")
    run = failed_run(client, "soon told", ("soon",))
    failed_run(client, "not told")
    wait_until(lambda: bool(receiver.received))
    (call,) = receiver.received
    check_signatures([call], {made["id"]: made["signing_secret"]})
    assert (said_by(call)["flow_run_id"], said_by(call)["message"]) == (run, "soon told!")
    wait_until(lambda: deliveries(client, made["id"])[0]["status"] == "delivered")
    (delivery,) = deliveries(client, made["id"])
    assert (delivery["id"], delivery["flow_run_id"], delivery["state_name"]) == (call.id, run, "Failed")
    again = client.post(f"{POLICIES}/deliveries/{delivery['id']}/redeliver")
    assert (again.status_code, again.json()["status"]) == (202, "queued")
    wait_until(lambda: len(receiver.received) == 2)
    assert receiver.received[1].id == call.id
    assert receiver.received[1].body == call.body


def test_the_url_of_a_block_is_where_notifications_of_2x_clients_go(
    service: Service, client: httpx.Client, receiver: Receiver
) -> None:
    begun(client)
    name = f"hook-{uuid4().hex}"
    kind = client.post("block_types/", json={"name": name, "slug": name}).json()["id"]
    fields = {"title": name, "secret_fields": ["url"]}
    schema = client.post("block_schemas/", json={"block_type_id": kind, "fields": fields}).json()["id"]
    of_kind = {"block_type_id": kind, "block_schema_id": schema}
    block = client.post("block_documents/", json={"name": "b", "data": {"url": receiver.url}, **of_kind}).json()["id"]
    headers = {"User-Agent": "prefect/2.20.25 (API 0.8.4)"}
    body = {"block_document_id": block, "state_names": [], "tags": ["block"]}
    made = client.post(f"{POLICIES}/", json=body, headers=headers)
    assert made.status_code == 201
    failed_run(client, tags=("block",))
    wait_until(lambda: bool(receiver.received))
    id = made.json()["id"]
    assert client.delete(f"block_documents/{block}").status_code == 204
    failed_run(client, tags=("block",))
    wait_until(lambda: [each["status"] for each in deliveries(client, id)] == ["dead", "delivered"])
    empty = client.post("block_documents/", json={"name": "e", "data": {}, **of_kind}).json()["id"]
    refused = client.post(f"{POLICIES}/", json={**body, "block_document_id": empty})
    assert (refused.status_code, "none" in refused.json()["detail"]) == (422, True)
    unknown = client.post(f"{POLICIES}/", json={**body, "block_document_id": str(uuid4())})
    assert unknown.status_code == 409


def test_policies_are_made_read_changed_and_deleted(client: httpx.Client) -> None:
    made = policy(client, "https://user:SECRET@example.invalid/SECRET", state_names=["Failed"])
    secret = made.pop("signing_secret")
    assert len(secret) > 40
    path = f"{POLICIES}/{made['id']}"
    assert client.get(path).json() == made
    assert made["url"] == "https://example.invalid/********"
    assert {made["is_active"], made["message_template"], made["block_document_id"]} == {True, None}
    assert client.patch(path, json={"is_active": False, "tags": ["t"]}).status_code == 204
    changed = client.get(path).json()
    assert (changed["is_active"], changed["tags"], changed["state_names"]) == (False, ["t"], ["Failed"])
    assert changed["url"] == made["url"]
    listed = {"flow_run_notification_policy_filter": {"is_active": {"eq_": False}}}
    found = client.post(f"{POLICIES}/filter", json=listed).json()
    assert made["id"] in {each["id"] for each in found}
    assert {each["is_active"] for each in found} == {False}
    assert client.patch(path, json={"url": "slack://aaaaaaaaa/bbbbbbbbb/cccccccccccccccccccccccc"}).status_code == 204
    assert client.get(path).json()["url"] == "slack://********"
    assert client.get(f"{path}/deliveries").json() == []
    assert client.delete(path).status_code == 204
    for answer in (client.get(path), client.delete(path), client.patch(path, json={"is_active": True})):
        assert (answer.status_code, answer.json()) == (404, {"detail": "Flow run notification policy not found"})
    assert client.get(f"{path}/deliveries").status_code == 404
    assert client.post(f"{POLICIES}/deliveries/{made['id']}/redeliver").status_code == 404


def test_a_creation_that_is_sent_again_shows_the_secret_that_counts(client: httpx.Client) -> None:
    body, headers = {"url": "https://example.invalid/"}, {"Idempotency-Key": uuid4().hex}
    first, again = (client.post(f"{POLICIES}/", json=body, headers=headers) for _ in range(2))
    assert first.json() == again.json()


def test_clients_of_2x_always_read_the_id_of_a_block(client: httpx.Client) -> None:
    made = policy(client, "https://example.invalid/")
    headers = {"User-Agent": "prefect/2.20.25 (API 0.8.4)"}
    read = client.get(f"{POLICIES}/{made['id']}", headers=headers).json()
    assert read["block_document_id"] == "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": None},
        {"url": "https://example.invalid/", "block_document_id": str(UUID(int=7))},
        {"url": "nothing"},
        {"url": "https://"},
        {"url": "unknown://example.invalid"},
        {"url": "https://example.invalid/", "message_template": "{unknown}"},
        {"url": "https://example.invalid/", "state_names": None},
        {"url": "https://example.invalid/", "signing_secret": ""},
        {"url": "https://example.invalid/", "more": 1},
    ],
    ids=str,
)
def test_policies_that_cannot_be_are_refused(client: httpx.Client, body: dict[str, Any]) -> None:
    answer = client.post(f"{POLICIES}/", json=body)
    assert answer.status_code == 422
    assert answer.json().get("detail") or answer.json().get("exception_detail")


def test_targets_on_private_networks_are_refused_where_nothing_else_is_said(database_url: str, log: Path) -> None:
    with serving(log, database_url=database_url, services_enabled=False) as server, server.client() as client:
        for url in ("http://127.0.0.1/SECRET", "https://localhost/SECRET", "json://10.1.2.3/SECRET", "syslog://SECRET"):
            answer = client.post(f"{POLICIES}/", json={"url": url})
            assert answer.status_code == 422
            assert "SECRET" not in answer.text
        made = policy(client, "https://example.invalid/")
        refused = client.patch(f"{POLICIES}/{made['id']}", json={"url": "http://[::1]/"})
        assert refused.status_code == 422


def test_secrets_are_in_no_answer_event_log_or_row(service: Service, client: httpx.Client, receiver: Receiver) -> None:
    begun(client)
    receiver.fails = 1.0
    secret = f"SIGNING-{uuid4().hex}"
    made = policy(client, receiver.url, tags=["secret"], signing_secret=secret)
    failed_run(client, tags=("secret",))
    wait_until(lambda: bool(deliveries(client, made["id"])) and bool(receiver.received))
    wait_until(lambda: deliveries(client, made["id"])[0]["attempts"][0]["finished"] is not None)
    answers = [
        client.get(f"{POLICIES}/{made['id']}").text,
        client.post(f"{POLICIES}/filter", json={}).text,
        client.get(f"{POLICIES}/{made['id']}/deliveries").text,
        client.get("admin/services").text,
        service.server.log.read_text(),
    ]
    with psycopg.connect(service.conninfo) as connection:
        for table in (
            *("ledger.events", "ledger.answers", "read.notification_policies"),
            *("telemetry.notifications", "telemetry.notification_attempts", "telemetry.services"),
        ):
            rows = connection.execute(f"SELECT t::text FROM {table} AS t".encode()).fetchall()  # noqa: S608
            answers.append(str(rows))
    assert "token=SECRET" not in str(answers)
    assert secret not in str(answers)


def test_another_process_delivers_when_the_one_that_did_is_killed(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    with serving(tmp_path / "first", database_url=database_url, **QUICK) as first, first.client() as client:
        begun(client)
        policy(client, receiver.url, state_names=["Failed"])
        with serving(tmp_path / "second", database_url=database_url, **QUICK) as second, second.client() as other:
            failed_run(other, "before")
            wait_until(lambda: {said_by(call)["flow_run_name"] for call in receiver.received} == {"before"})
            first.kill()
            failed_run(other, "after")
            wait_until(lambda: {said_by(call)["flow_run_name"] for call in receiver.received} == {"before", "after"})


def test_followers_are_among_the_metrics(client: httpx.Client) -> None:
    begun(client)
    text = client.get("metrics").text
    for name in ("position", "behind_events", "behind_seconds", "set_aside"):
        assert f'flowledger_follower_{name}{{follower="notifications"}}' in text
    assert 'flowledger_notifications{status="queued"}' in text
