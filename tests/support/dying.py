"""A process that archives or restores and is killed at its nth step: a statement, or a write down to the disk.

Arguments: the connection string, `archive` or `restore`, the directory, and n.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from projections.archive import choosing, trees
from projections.archive.archiving import Archiver
from projections.archive.restoring import Restorer


def main() -> None:
    conninfo, action, directory, steps = sys.argv[1:]
    trees.STREAMS_AT_ONCE = 3
    choosing.EVENTS_PER_FILE = 30
    left = [int(steps)]

    def counted(work: Callable[..., Any]) -> Callable[..., Any]:
        def do(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return work(*args, **kwargs)

        return do

    psycopg.Cursor.execute = counted(psycopg.Cursor.execute)  # type: ignore[method-assign]
    os.fsync = counted(os.fsync)
    now = datetime(2026, 12, 1, tzinfo=UTC)
    if action == "archive":
        Archiver(conninfo, "a test", lambda: now).archive(now + timedelta(days=1), Path(directory))
    else:
        Restorer(conninfo, "a test", lambda: now).restore(Path(directory))


if __name__ == "__main__":
    main()
