"""The service that delivers what is due: several notifications at once, few to each policy, again later where it fails.

An attempt is noted before it is made, and how it ended after that, both durably. So what is called delivered was taken
by its receiver; of an attempt that a process did not live to see the end of nobody knows that, and it is made again.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import structlog
from psycopg import AsyncConnection

from api.block_secrets import Sealing, WrongKey
from api.errors import UNAVAILABLE
from api.notifications import others, webhook
from api.notifications.contents import Undeliverable, read_contents
from api.notifications.targets import UnusableTarget, parse_target, refuse_private, resolve
from api.services.service import Tools
from api.settings import Settings
from domain.events import EventMapper
from projections import notifications
from projections.notifications import Claimed

NAME = "notification-delivery"

AT_ONCE = 32
"""How many deliveries are under way at most."""

OF_POLICY = 8
"""How many of them at most are by one policy, more or less: one whose receiver hangs does not stop all others."""

LOOK_SECONDS = 0.2
"""How often it is looked for more while some are under way."""

ROUND_SECONDS = 5.0
"""After how long a round ends though there is more to do, so that it is seen to be alive."""

log = structlog.get_logger(__name__)

for talkative in ("httpx", "httpcore", "apprise"):
    # At their usual levels they tell whole urls.
    logging.getLogger(talkative).setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. `final` says that another one would end the same."""

    delivered: bool
    final: bool = False
    status_code: int | None = None
    error: str | None = None


def pause_behind(failures: int, settings: Settings, chance: Callable[[], float] = random.random) -> timedelta:
    """How long to wait after so many failures: any time up to one that doubles with each, but for an upper bound.

    Taking any time up to it spreads those that failed together (full jitter).
    """
    bound = min(
        settings.notifications_backoff_max_seconds,
        settings.notifications_backoff_seconds * 2.0 ** min(failures - 1, 60),
    )
    return timedelta(seconds=bound * chance())


class Delivery:
    """The rounds of one process, with the deliveries that are under way; these go on between rounds.

    `mapper` gives what reads events once.
    """

    def __init__(
        self,
        sealing: Sealing,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        mapper: Callable[[], EventMapper] = EventMapper,
    ) -> None:
        self._sealing = sealing
        self._mapper = mapper
        self._clock = clock
        self._connection: AsyncConnection | None = None
        self._under_way: dict[asyncio.Task[None], Claimed] = {}
        self._in_doubt = False
        self._by_policy: Counter[UUID] = Counter()
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, tools: Tools, now: datetime) -> str:
        if tools.connection is not self._connection:
            await self._take_over(tools.connection, now)
        if self._in_doubt:
            under_way = [claimed.id for claimed in self._under_way.values()]
            await notifications.end_interrupted(tools.connection, now, under_way)
            self._in_doubt = False
        loop = asyncio.get_running_loop()
        end, begun = loop.time() + ROUND_SECONDS, 0
        while True:
            claimed = await self._claim(tools.connection)
            for each in claimed:
                self._begin(tools, each)
            begun += len(claimed)
            if not self._under_way or loop.time() >= end:
                return f"began {begun} deliveries, {len(self._under_way)} under way"
            await asyncio.wait(self._under_way, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)

    async def _take_over(self, connection: AsyncConnection, now: datetime) -> None:
        """Begin with a lock that was taken anew: nobody else delivers any more, and what was under way is in doubt."""
        for task in self._under_way:
            task.cancel()
        self._under_way.clear()
        self._by_policy.clear()
        await connection.execute("SET synchronous_commit = on")
        self._in_doubt = True
        self._connection = connection

    async def _claim(self, connection: AsyncConnection) -> list[Claimed]:
        free = AT_ONCE - len(self._under_way)
        if free <= 0:
            return []
        busy = [policy for policy, number in self._by_policy.items() if number >= OF_POLICY]
        return await notifications.claim(connection, self._clock(), limit=free, of_policy=OF_POLICY, busy=busy)

    def _begin(self, tools: Tools, claimed: Claimed) -> None:
        task = asyncio.create_task(self._deliver(tools, claimed))
        self._under_way[task] = claimed
        self._by_policy[claimed.policy_id] += 1
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        claimed = self._under_way.pop(task, None)
        if claimed is None:
            return
        self._by_policy[claimed.policy_id] -= 1
        if not task.cancelled() and (failure := task.exception()) is not None:
            # The attempt has no end in the books, so it is made again.
            self._in_doubt = True
            log.warning(
                "how a delivery ended was not noted", notification=str(claimed.id), reason=type(failure).__name__
            )

    async def _deliver(self, tools: Tools, claimed: Claimed) -> None:
        """Make one attempt and note how it ended."""
        try:
            async with asyncio.timeout(tools.settings.notifications_timeout_seconds):
                outcome = await self._attempt(tools, claimed)
        except UNAVAILABLE:
            raise
        except (Undeliverable, UnusableTarget, WrongKey) as refusal:
            outcome = Outcome(False, final=True, error=str(refusal))
        except Exception as failure:
            outcome = Outcome(False, error=webhook.describe(failure))
        await self._note(tools, claimed, outcome)

    async def _note(self, tools: Tools, claimed: Claimed, outcome: Outcome) -> None:
        settings, at = tools.settings, self._clock()
        failures = claimed.failures + (not outcome.delivered)
        given_up = not outcome.delivered and (outcome.final or failures >= settings.notifications_attempts)
        next_attempt_at = None
        if not outcome.delivered and not given_up:
            next_attempt_at = at + pause_behind(failures, settings)
        if given_up:
            log.warning(
                "a notification is given up",
                notification=str(claimed.id),
                attempts=claimed.attempt,
                reason=outcome.error,
            )
        await notifications.finish(
            tools.connection,
            claimed,
            at=at,
            status="delivered" if outcome.delivered else "dead" if given_up else "queued",
            outcome="delivered" if outcome.delivered else "failed",
            failures=failures,
            next_attempt_at=next_attempt_at,
            status_code=outcome.status_code,
            error=outcome.error,
        )

    async def _attempt(self, tools: Tools, claimed: Claimed) -> Outcome:
        settings = tools.settings
        sealer = await self._sealing.sealer()
        contents = await read_contents(tools.connection, claimed, sealer, settings.notifications_ui_url, self._mapper())
        target = parse_target(contents.url)
        allow_private = settings.notifications_allow_private_targets
        if await others.is_known(target) or not target.is_webhook:
            await others.check(target, allow_private=allow_private)
            taken = await others.notify(target, subject=contents.subject, message=contents.message)
            return Outcome(taken, error=None if taken else "The service did not take the message")
        addresses = await resolve(target.host or "", target.port)
        if not allow_private:
            refuse_private(addresses)
        if self._client is None:
            self._client = webhook.new_client()
        body = contents.body()
        headers = webhook.headers_for(contents.signing_secret, str(claimed.id), body, self._clock())
        status = await webhook.post(self._client, target, addresses, body, headers)
        if webhook.is_success(status):
            return Outcome(True, status_code=status)
        error = f"The receiver answered with status {status}"
        return Outcome(False, final=webhook.is_final(status), status_code=status, error=error)
