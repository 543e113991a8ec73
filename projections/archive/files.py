"""The files of an archive: events, one a line of JSON, in order of their positions, compressed with zstd."""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import zstandard
from eventsourcing.persistence import StoredEvent
from pydantic_core import from_json, to_json

from projections.archive.manifest import Damaged, DataFile

LEVEL = 6
"""Of zstd. Events shrink to about a tenth; higher levels take several times as long for a few percent more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event and its place in the log; `tree` is the run that it goes with, its own or one that it is part of."""

    position: int
    tree: UUID
    event: StoredEvent

    @property
    def stream(self) -> UUID:
        return UUID(str(self.event.originator_id))


def write_file(path: Path, entries: Iterable[Entry]) -> DataFile:
    """Write a file of events, down to the disk."""
    number, first, last = 0, 0, 0
    streams: set[UUID] = set()
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w+b") as file:
        with zstandard.ZstdCompressor(LEVEL, write_checksum=True).stream_writer(file, closefd=False) as out:
            for entry in entries:
                first, last = first or entry.position, entry.position
                number += 1
                streams.add(entry.stream)
                out.write(_line(entry))
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    return DataFile(
        name=path.name,
        events=number,
        streams=len(streams),
        first_position=first,
        last_position=last,
        sha256=_sha256(path),
        size=size,
    )


def check_file(directory: Path, file: DataFile) -> None:
    """See that a file is the one of which a manifest speaks. Raises Damaged."""
    path = directory / file.name
    try:
        if Path(file.name).name != file.name:
            raise Damaged(path, "is not in the directory of its archive")
        if (size := path.stat().st_size) != file.size:
            raise Damaged(path, f"has {size:,} bytes where it had {file.size:,} when it was written")
        if _sha256(path) != file.sha256:
            raise Damaged(path, "was changed: its SHA-256 is not that of the manifest")
    except FileNotFoundError:
        raise Damaged(path, "is not there, though the manifest speaks of it") from None
    except OSError as error:
        raise Damaged(path, f"cannot be read: {error.strerror}") from None


def read_file(directory: Path, file: DataFile) -> Iterator[Entry]:
    """The events of a file, in order of their positions. Raises Damaged when they are not those of the manifest."""
    path, number, before = directory / file.name, 0, 0
    try:
        with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as plain:
            for line in io.BufferedReader(plain):
                entry = _entry(line)
                if entry.position <= before:
                    raise Damaged(path, f"has position {entry.position} after {before}")
                before = entry.position
                number += 1
                yield entry
    except (OSError, zstandard.ZstdError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(path, f"cannot be read behind position {before}: {type(error).__name__}") from None
    if number != file.events:
        raise Damaged(path, f"holds {number:,} events where the manifest says {file.events:,}")


def _line(entry: Entry) -> bytes:
    event = entry.event
    fields = {
        "position": entry.position,
        "tree": entry.tree,
        "id": event.originator_id,
        "version": event.originator_version,
        "topic": event.topic,
        "state": event.state.decode(),
    }
    return to_json(fields) + b"\n"


def _entry(line: bytes) -> Entry:
    fields = from_json(line)
    event = StoredEvent(UUID(fields["id"]), fields["version"], fields["topic"], fields["state"].encode())
    return Entry(fields["position"], UUID(fields["tree"]), event)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
