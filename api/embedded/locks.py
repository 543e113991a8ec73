"""File locks that the kernel lets go of when their last holder ends, by kill -9 too."""

import contextlib
import fcntl
import os
from pathlib import Path


class FileLock:
    """One advisory lock (`flock`) on one file, which is made if missing (mode 0600).

    The lock belongs to the open file, not to the process: a child that inherits `descriptor` holds it too, and it is
    free only when all of them closed it or ended. For the same reason two `FileLock`s on one path exclude each
    other even within one process. Raises `OSError` where the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_exclusive(self) -> None:
        """Take the lock alone, waiting until nobody else holds it."""
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def wait_shared(self) -> None:
        """Take the lock together with others, waiting until nobody holds it alone."""
        fcntl.flock(self.descriptor, fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Take the lock alone (giving up a shared hold) if that is possible at once; say whether it was."""
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def close(self) -> None:
        """Let go of this hold; closing twice is harmless."""
        # Not LOCK_UN: that would take the lock away from children that inherited it.
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
