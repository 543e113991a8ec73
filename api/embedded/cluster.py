"""What PostgreSQL keeps on disk: made by initdb, with a configuration of ours that is written at every start."""

import os
import shutil
from pathlib import Path

from api.embedded.account import Account
from api.embedded.directories import SOCKET_PORT, DataDirectory
from api.embedded.errors import EmbeddedPostgresFailed

SUPERUSER = "flowledger"
DATABASE = "flowledger"
MAP_NAME = "launcher"

# Started in the cluster's directory, a program may call it by this name although its account may not pass the parent
# directories (a data directory below root's home, say): the kernel follows it without looking at them. PostgreSQL
# never leaves that directory, so the name holds for all of its processes and for as long as they live.
WORKING_DIRECTORY = Path("/proc/self/cwd")


def address_of(cluster: Path) -> Path:
    """Give the path by which a program started in `cluster` calls it."""
    return WORKING_DIRECTORY if os.path.lexists(WORKING_DIRECTORY) else cluster


def make_cluster(data: DataDirectory, account: Account, programs: Path) -> None:
    """Make the cluster if it is missing: UTF-8, no locale, checksums, on disk before it gets its name.

    An initdb that was cut short leaves nothing behind but `cluster.unfinished`, which the next one removes. Raises
    `EmbeddedPostgresFailed` with what initdb said.
    """
    if data.cluster.exists():
        if data.cluster.stat().st_uid != account.uid:
            raise EmbeddedPostgresFailed(f"its cluster does not belong to the user {account.name}", data.root)
        return
    unfinished = data.unfinished_cluster
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir(mode=0o700)
    account.own(unfinished)
    options = ["--no-locale", "-E", "UTF8", "-U", SUPERUSER, "--auth=peer", "--no-instructions"]
    code, said = account.run([programs / "initdb", "-D", address_of(unfinished), *options], cwd=unfinished)
    if code != 0:
        raise EmbeddedPostgresFailed("initdb failed", data.root, said[-500:])
    unfinished.rename(data.cluster)
    _sync_directory(data.root)


def write_configuration(data: DataDirectory, account: Account, socket_directory: Path) -> None:
    """Write the three configuration files anew; what an operator sets by ALTER SYSTEM is kept and wins.

    Only the account of this process may connect, recognised by the kernel (peer): there is no password to keep, and
    none to hand to worker processes.
    """
    heading = "# Written at every start. Change settings with ALTER SYSTEM.\n"
    settings = "".join(f"{name} = {value}\n" for name, value in _settings(data, socket_directory).items())
    rules = f"local all all peer map={MAP_NAME}\nlocal replication all peer map={MAP_NAME}\n"
    names = f'{MAP_NAME} "{account.client}" {SUPERUSER}\n'
    _replace(data.cluster / "postgresql.conf", heading + settings, account)
    _replace(data.cluster / "pg_hba.conf", heading + rules, account)
    _replace(data.cluster / "pg_ident.conf", heading + names, account)


def _settings(data: DataDirectory, socket_directory: Path) -> dict[str, str]:
    return {
        "listen_addresses": "''",
        "port": str(SOCKET_PORT),
        "unix_socket_directories": f"'{socket_directory}'",
        "unix_socket_permissions": "0700",
        "cluster_name": f"'{data.short_name}'",
        "max_connections": "100",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "autovacuum": "on",
        "jit": "off",
        "shared_buffers": "256MB" if _memory_bytes() >= 2 * 1024**3 else "64MB",
        # Commits are many and small: room for their log, and checkpoints that do not come every few minutes.
        "wal_buffers": "16MB",
        "max_wal_size": "1GB",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        "log_checkpoints": "off",
        "log_timezone": "'UTC'",
        "timezone": "'UTC'",
        "lc_messages": "'C'",
    }


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _replace(path: Path, text: str, account: Account) -> None:
    # The directory belongs to an account that is not ours: never write through a name that it could have made a link.
    fresh = path.with_name(path.name + ".fresh")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(text)
    account.own(fresh)
    fresh.replace(path)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
