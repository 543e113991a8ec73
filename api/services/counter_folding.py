"""Adding up counters in the background, so that readers have few rows to sum."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import structlog
from psycopg_pool import PoolClosed, PoolTimeout

from api.reads import Reads
from domain.errors import StoreUnavailable
from projections import run_counts

PAUSE_SECONDS = 1.0
"""How long counters are left alone after they were added up."""

log = structlog.get_logger(__name__)


async def fold_counters(reads: Reads, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Add up counters for ever, whether or not the database is there; ends when it is cancelled."""
    served = True
    while True:
        await pause(PAUSE_SECONDS)
        try:
            await reads.run(run_counts.fold)
        except (psycopg.Error, PoolTimeout, PoolClosed, StoreUnavailable) as error:
            if served:
                log.warning("counters are not added up for now", reason=str(error).partition("\n")[0])
            served = False
        else:
            served = True
