"""Adding up counters in the background, so that readers have few rows to sum."""

from datetime import datetime

from api.services.service import Tools
from projections import run_counts


async def fold_counters(tools: Tools, now: datetime) -> str:
    """Add up the rows of some counters."""
    await run_counts.fold(tools.connection)
    return "added up counters"
