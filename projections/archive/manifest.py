"""What an archive says of itself: a file that is written last, and without which the others count for nothing."""

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from projections.connection import first_line

NAME = "manifest.json"


class Damaged(Exception):
    """A file of an archive is not there, or not as it was written; the message is a sentence."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} {what}.")
        self.path = path


class DataFile(BaseModel):
    """A file of events: how many, from which position to which, and SHA-256 and size in bytes of the file itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    events: int
    streams: int
    first_position: int
    last_position: int
    sha256: str
    size: int


class Manifest(BaseModel):
    """An archive of runs of which nothing was recorded after `cutoff`.

    `files` hold whole trees of runs, in order of their first positions; `context` holds the streams of the flows,
    deployments, work pools and queues that the runs name. `hash` is the SHA-256 of all the rest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    archive_id: UUID
    ledger_id: UUID
    created: datetime
    cutoff: datetime
    flow_runs: int
    task_runs: int
    events: int
    files: tuple[DataFile, ...]
    context: DataFile
    hash: str = ""

    @property
    def runs(self) -> int:
        return self.flow_runs + self.task_runs

    def hashed(self) -> str:
        """The hash that it must have."""
        return hashlib.sha256(self.model_dump_json(exclude={"hash"}).encode()).hexdigest()


def write_manifest(directory: Path, manifest: Manifest) -> Manifest:
    """Put a manifest, once everything it speaks of is on the disk, into its place; with its hash."""
    whole = manifest.model_copy(update={"hash": manifest.hashed()})
    beside = directory / f"{NAME}.part"
    write_through(beside, (whole.model_dump_json(indent=2) + "\n").encode())
    beside.rename(directory / NAME)
    sync_directory(directory)
    sync_directory(directory.parent)
    return whole


def read_manifest(directory: Path) -> Manifest:
    """The manifest of an archive. Raises Damaged."""
    path = directory / NAME
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise Damaged(path, "is not there: this is no archive, or one that was never finished") from None
    except OSError as error:
        raise Damaged(path, f"cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise Damaged(path, f"is no manifest of an archive: {first_line(error)}") from None
    if manifest.hash != manifest.hashed():
        raise Damaged(path, "was changed: its hash is not that of what it says")
    return manifest


def write_through(path: Path, content: bytes) -> None:
    """Write a file that nobody else may read, down to the disk."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """See to it that the names of a directory are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
