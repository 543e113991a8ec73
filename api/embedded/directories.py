"""The data directory and the socket directory of an embedded PostgreSQL: where they are and who may enter.

A data directory (mode 0700, owned by whoever starts the service) holds:

- `flowledger.lock`: held while somebody starts or stops PostgreSQL; it also marks the directory as ours,
- `users.lock`: held in common by everyone who uses the PostgreSQL,
- `postmaster.lock`: inherited by every process of the PostgreSQL, so it is free exactly when none is left,
- `socket_directory`: the path of the directory of the unix socket,
- `cluster`: what initdb made (mode 0700, owned by the account PostgreSQL runs as),
- `postgres.log` and `postgres.log.old`: what this run and the one before it wrote.

The socket is not in there, because a socket's path may not be longer than about 100 bytes.
"""

import contextlib
import hashlib
import os
import re
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from api.embedded.account import Account
from api.embedded.errors import EmbeddedPostgresFailed

ROOT_STATE = Path("/var/lib/flowledger")
SOCKET_PORT = 5432

# sun_path holds 108 bytes on Linux, 104 on macOS; this leaves room for "/flowledger-<12>-<8>/.s.PGSQL.5432".
LONGEST_BASE = 50


@dataclass(frozen=True)
class DataDirectory:
    """The data directory at `root` (an absolute path without symlinks) and the paths inside it."""

    root: Path

    @property
    def start_lock(self) -> Path:
        return self.root / "flowledger.lock"

    @property
    def users_lock(self) -> Path:
        return self.root / "users.lock"

    @property
    def postmaster_lock(self) -> Path:
        return self.root / "postmaster.lock"

    @property
    def socket_record(self) -> Path:
        return self.root / "socket_directory"

    @property
    def cluster(self) -> Path:
        return self.root / "cluster"

    @property
    def unfinished_cluster(self) -> Path:
        return self.root / "cluster.unfinished"

    @property
    def log(self) -> Path:
        return self.root / "postgres.log"

    @property
    def short_name(self) -> str:
        """A name that tells this data directory from every other on the machine."""
        return "flowledger-" + hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]


def default_data_directory() -> Path:
    """Give the directory used when none is named: below /var/lib for root, else in the user's data folder."""
    if os.geteuid() == 0:
        return ROOT_STATE / "data"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "flowledger"
    configured = os.environ.get("XDG_DATA_HOME", "")
    base = Path(configured) if os.path.isabs(configured) else Path.home() / ".local" / "share"
    return base / "flowledger"


def open_data_directory(path: Path) -> DataDirectory:
    """Make `path` a data directory or recognise it as one.

    A missing or empty directory becomes one; its mode is set to 0700, while no permission outside it changes. Raises
    `EmbeddedPostgresFailed` for a directory that holds something else, belongs to somebody else, or cannot be made:
    taking over, say, a home folder by mistake would lock its other users out.
    """
    try:
        root = path.expanduser().resolve()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = DataDirectory(root)
        if os.listdir(root) and not directory.start_lock.exists():
            raise EmbeddedPostgresFailed("it is not empty and not a data directory of Flowledger", root)
        owner = root.stat().st_uid
        if owner != os.geteuid():
            raise EmbeddedPostgresFailed(f"it belongs to the user id {owner}, not to {os.geteuid()}", root)
        root.chmod(0o700)
    except OSError as error:
        raise EmbeddedPostgresFailed(error.strerror or str(error), path) from error
    return directory


def recorded_socket_directory(data: DataDirectory) -> Path | None:
    """Read which socket directory the PostgreSQL of `data` uses; None where it never had one."""
    with contextlib.suppress(FileNotFoundError):
        recorded = Path(data.socket_record.read_text())
        # The record of a copied or moved data directory names the socket of the original.
        if recorded.name.startswith(data.short_name):
            return recorded
    return None


def claim_socket_directory(data: DataDirectory, account: Account) -> Path:
    """Make an empty socket directory (mode 0700, owned by `account`) and record it in the data directory.

    The recorded one is made again if it can be, so that connection strings survive a restart of PostgreSQL. Call it
    only while no process of that PostgreSQL is alive. Raises `OSError` where none can be made.
    """
    bases = _short_directories(account)
    wanted = [base / data.short_name for base in bases]
    recorded = recorded_socket_directory(data)
    for path in [recorded, *wanted] if recorded is not None else wanted:
        if _claim(path, account):
            break
    else:
        # Somebody else sits on these names, as anybody can below /tmp: take one that cannot be guessed.
        path = Path(tempfile.mkdtemp(prefix=data.short_name + "-", dir=bases[-1]))
        account.own(path)
    data.socket_record.write_text(str(path))
    return path


def remove_socket_directory(data: DataDirectory) -> None:
    """Remove the socket directory of a PostgreSQL that ended; its record stays for the next start."""
    recorded = recorded_socket_directory(data)
    if recorded is not None:
        with contextlib.suppress(OSError):
            recorded.rmdir()


def _short_directories(account: Account) -> list[Path]:
    """Directories in which short-lived things belong and whose paths are short, most private first."""
    if account.switched:
        candidates = ["/run", "/tmp"]
    else:
        candidates = [os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"]
    return [
        Path(candidate)
        for candidate in candidates
        if re.fullmatch(r"/[\w./+-]*", candidate, re.ASCII)
        and len(candidate) <= LONGEST_BASE
        and os.access(candidate, os.W_OK | os.X_OK)
    ]


def _claim(path: Path, account: Account) -> bool:
    try:
        path.mkdir(mode=0o700)
        account.own(path)
        return True
    except FileExistsError:
        pass
    except OSError:
        return False
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or stat.S_IMODE(found.st_mode) != 0o700:
        return False
    for left_over in path.iterdir():
        left_over.unlink()
    return True
