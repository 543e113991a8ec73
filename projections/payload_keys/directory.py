"""A key store in a directory: small files of records, each with the keys of the runs that began in the same minute.

The keys of a batch are so written with one write and made durable with one fsync, where a file for each key took one
fsync for each. A record is 64 bytes, so that it lies within one sector: to destroy a key is to overwrite its record in
place, with a note of when that was, and a crash leaves either the one or the other.
"""

import fcntl
import os
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

from domain.errors import PayloadKeyMissing, StoreUnavailable
from projections.payload_keys.store import KEY_BYTES, KeyStore, KeysUnusable

RECORD = struct.Struct(f"<16sB7xQ{KEY_BYTES}s")
"""The id, what the record is of, when it was written (Unix microseconds), and the key."""

KEY, DESTROYED = 1, 2
IDENTITY = "store-id"


class KeyDirectory(KeyStore):
    """Keys in a directory that nobody but its owner may read. Raises KeysUnusable where there can be none."""

    def __init__(self, root: Path, *, create: bool = False) -> None:
        self._root = root
        try:
            self.id = self._identity(create)
        except FileNotFoundError:
            raise KeysUnusable(f"No payload keys are kept in {root}.") from None
        except (OSError, ValueError) as error:
            raise KeysUnusable(f"Payload keys cannot be kept in {root}: {error}.") from error

    def make(self, ids: Iterable[UUID]) -> None:
        by_file: dict[Path, list[UUID]] = {}
        for id in ids:
            by_file.setdefault(self._file(id), []).append(id)
        for file, of_file in by_file.items():
            with self._opened(file, os.O_RDWR | os.O_CREAT) as descriptor:
                records = _read(descriptor)
                new = [id for id in of_file if _place(records, id) is None]
                # Half a record may be left of a write that a crash cut short.
                end = len(records) - len(records) % RECORD.size
                _write(descriptor, b"".join(_record(id, KEY, os.urandom(KEY_BYTES)) for id in new), end)
            if not records:
                _sync(file.parent)
                _sync(self._root)

    def look_up(self, ids: Iterable[UUID]) -> Mapping[UUID, bytes | None]:
        found: dict[UUID, bytes | None] = {}
        files: dict[Path, bytes] = {}
        for id in ids:
            file = self._file(id)
            if file not in files:
                files[file] = self._content(file)
            place = _place(files[file], id)
            if place is not None:
                _, what, _, key = RECORD.unpack_from(files[file], place)
                found[id] = key if what == KEY else None
        return found

    def destroy(self, id: UUID) -> None:
        file = self._file(id)
        if not file.exists():
            raise PayloadKeyMissing(id)
        with self._opened(file, os.O_RDWR) as descriptor:
            place = _place(_read(descriptor), id)
            if place is None:
                raise PayloadKeyMissing(id)
            _write(descriptor, _record(id, DESTROYED, bytes(KEY_BYTES)), place)

    def close(self) -> None:
        """Nothing is held open."""

    def _identity(self, create: bool) -> UUID:
        file = self._root / IDENTITY
        if create and not file.exists():
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(self._root.iterdir()):
                raise ValueError("it holds something else")
            draft = self._root / f"{IDENTITY}.{uuid4().hex}"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                _write(descriptor, f"{uuid4()}\n".encode(), 0)
            finally:
                os.close(descriptor)
            draft.rename(file)
            _sync(self._root)
        return UUID(file.read_text().strip())

    def _file(self, id: UUID) -> Path:
        """Ids begin with the time they were made at: the first 32 bits of it stand for about a minute."""
        return self._root / id.hex[:4] / id.hex[4:8]

    @contextmanager
    def _opened(self, file: Path, flags: int) -> Iterator[int]:
        """A file of records for one writer at a time, whatever process it is in."""
        try:
            file.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(file, flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreUnavailable(f"payload keys in {self._root}: {error}") from error

    def _content(self, file: Path) -> bytes:
        try:
            return file.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise StoreUnavailable(f"payload keys in {self._root}: {error}") from error


def _record(id: UUID, what: int, key: bytes) -> bytes:
    return RECORD.pack(id.bytes, what, time.time_ns() // 1000, key)


def _place(records: bytes, id: UUID) -> int | None:
    """Where the record of an id begins; the same bytes elsewhere in a record mean nothing."""
    place = records.find(id.bytes)
    while place >= 0 and (place % RECORD.size or place + RECORD.size > len(records)):
        place = records.find(id.bytes, place + 1)
    return None if place < 0 else place


def _read(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _write(descriptor: int, content: bytes, place: int) -> None:
    while content:
        written = os.pwrite(descriptor, content, place)
        content, place = content[written:], place + written
    os.fsync(descriptor)


def _sync(directory: Path) -> None:
    """Make durable which files a directory has."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
