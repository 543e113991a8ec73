"""The operating-system account under which PostgreSQL runs: never root, and nobody else's."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from api.embedded.errors import EmbeddedPostgresFailed

SYSTEM_USER = "flowledger"

# Nothing else of our environment reaches PostgreSQL: it may hold passwords, and PG* variables would change it.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True)
class Account:
    """An account that programs of PostgreSQL are run as; `client` is the account that may connect to them.

    `switched` says that the account differs from that of this process, which then is root.
    """

    name: str
    uid: int
    gid: int
    client: str
    switched: bool

    def spawn(
        self, command: Sequence[str | Path], *, cwd: Path, output: int, keep_open: Sequence[int] = ()
    ) -> "subprocess.Popen[bytes]":
        """Start a program as this account, in a session of its own so that no Ctrl-C reaches it.

        `output` is the descriptor that receives what it prints, `keep_open` are descriptors it inherits. Raises
        `OSError` where the account may not run the program.
        """
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=keep_open,
            start_new_session=True,
            umask=0o077,
            user=self.uid if self.switched else None,
            group=self.gid if self.switched else None,
            extra_groups=[] if self.switched else None,
        )

    def run(self, command: Sequence[str | Path], *, cwd: Path = Path("/")) -> tuple[int, str]:
        """Run a program as this account to its end; give its exit code and all that it printed."""
        process = self.spawn(command, cwd=cwd, output=subprocess.PIPE)
        printed, _ = process.communicate()
        return process.returncode, printed.decode(errors="replace").strip()

    def can_run(self, program: Path) -> bool:
        """Say whether this account can reach and run `program`."""
        try:
            return self.run([program, "--version"])[0] == 0
        except OSError:
            return False

    def own(self, path: Path) -> None:
        """Make this account the owner of a file or directory that we made for it."""
        if self.switched:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def postgres_account() -> Account:
    """Find the account for PostgreSQL: the one we run under, or for root a system user, made if it is missing.

    Raises `EmbeddedPostgresFailed` where the system user cannot be made or our own uid has no name.
    """
    try:
        ourselves = pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EmbeddedPostgresFailed(
            f"the user id {os.geteuid()} has no name on this system, which PostgreSQL needs; add it to /etc/passwd"
        ) from None
    if ourselves.pw_uid != 0:
        return Account(ourselves.pw_name, ourselves.pw_uid, ourselves.pw_gid, ourselves.pw_name, switched=False)
    system_user = _find_or_add_system_user()
    return Account(system_user.pw_name, system_user.pw_uid, system_user.pw_gid, ourselves.pw_name, switched=True)


def _find_or_add_system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        failure = _add_system_user()
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise EmbeddedPostgresFailed(
            f"PostgreSQL does not run as root and the system user {SYSTEM_USER!r} could not be added ({failure}); "
            "add it, or start as another user"
        ) from None


def _add_system_user() -> str:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        return "there is no useradd here"
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    command = [useradd, *options, "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() or f"useradd ended with {done.returncode}"
