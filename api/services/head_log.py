"""Writing the head of the ledger to the log: kept where nobody can change it, it tells whether the ledger was."""

from datetime import datetime

import structlog

from api.services.service import Tools
from projections.head import Head, read_head

NAME = "head-log"

log = structlog.get_logger(__name__)


def log_head(head: Head) -> None:
    """Write a head to the log, in the words in which verifying a ledger takes it back."""
    log.info("the head of the ledger", head=f"{head.position}:{head.hash.hex()}", ledger=str(head.ledger_id))


class HeadLog:
    """The rounds of one process: each writes the head if it has moved since the round before."""

    def __init__(self) -> None:
        self._known: Head | None = None

    async def __call__(self, tools: Tools, now: datetime) -> str:
        head = await read_head(tools.connection)
        known, self._known = self._known, head
        if known in (None, head):
            return f"found the head at position {head.position}"
        log_head(head)
        return f"wrote the head at position {head.position} to the log"
