"""Looking after workers: which are there, and which have been gone for so long that nobody asks for them any more.

Whether a worker is online follows from when it was heard of last, whenever somebody reads it; nothing is set here.
"""

from datetime import datetime, timedelta

from api.services.service import Tools
from projections import work


async def look_after_workers(tools: Tools, now: datetime) -> str:
    """Tell how many workers are online and how many are not, and forget those that are long gone."""
    forgotten = await work.forget_gone(
        tools.connection, now - timedelta(days=tools.settings.lost_worker_retention_days)
    )
    online, offline = await work.count_workers(tools.connection)
    return f"{online} online, {offline} offline, {forgotten} forgotten"
