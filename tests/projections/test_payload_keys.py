"""Keys are made once, survive what may happen to a file, and leave nothing but a note once they are destroyed."""

import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from domain.errors import PayloadKeyMissing, StoreUnavailable
from domain.ids import new_id
from projections.payload_keys.database import KeyDatabase
from projections.payload_keys.directory import RECORD, KeyDirectory
from projections.payload_keys.opening import open_keys, require_apart, require_own
from projections.payload_keys.store import KeyStore, KeysUnusable, StoredKeys

Reopen = Callable[[], KeyStore]


@pytest.fixture(params=["directory", "database"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Reopen:
    """Open the same store once more."""
    if request.param == "directory":
        return lambda: KeyDirectory(tmp_path / "keys", create=True)
    conninfo: str = request.getfixturevalue("empty_database")
    return lambda: KeyDatabase(conninfo, create=True)


def test_a_key_is_made_once_and_found_by_whoever_opens_the_store(reopen: Reopen) -> None:
    store, ids = reopen(), [new_id(), new_id(), uuid4()]
    store.make(ids[:2])
    made = store.look_up(ids)
    store.make(ids)
    again = reopen()
    assert again.id == store.id
    found = again.look_up(ids)
    assert {id: found[id] for id in ids[:2]} == made
    assert len({key for key in found.values() if key is not None and len(key) == 32}) == 3
    assert again.look_up([uuid4()]) == {}


def test_a_destroyed_key_is_told_from_one_that_never_was_and_is_not_made_anew(reopen: Reopen) -> None:
    store, id, other = reopen(), new_id(), new_id()
    store.make([id, other])
    kept = store.look_up([other])
    for _ in range(2):
        reopen().destroy(id)
    store.make([id])
    assert store.look_up([id, other]) == {id: None, **kept}
    with pytest.raises(PayloadKeyMissing):
        store.destroy(new_id())


def test_a_ring_knows_of_a_destruction_once_it_has_forgotten(reopen: Reopen) -> None:
    store, id = reopen(), new_id()
    ring = StoredKeys(store)
    ring.make([id])
    sealed = ring.seal(id, b"payload", b"about")
    assert sealed is not None
    reopen().destroy(id)
    ring.forget([id])
    assert ring.open(id, sealed, b"about") is None
    assert ring.seal(id, b"payload", b"about") is None


def url_of(conninfo: str) -> str:
    return f"postgresql://?{urlencode(conninfo_to_dict(conninfo))}"


def content(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())


def test_nothing_of_a_destroyed_key_is_left_in_the_files_that_only_their_owner_may_read(tmp_path: Path) -> None:
    root = tmp_path / "keys"
    store, id = KeyDirectory(root, create=True), new_id()
    store.make([id])
    key = store.look_up([id])[id]
    assert key is not None
    assert key in content(root)
    store.destroy(id)
    assert key not in content(root)
    assert id.bytes in content(root)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
    assert modes == {0o600, 0o700}


def test_half_a_record_that_a_crash_left_behind_harms_nobody(tmp_path: Path) -> None:
    store = KeyDirectory(tmp_path / "keys", create=True)
    first, cut_off, next_one = (UUID(int=(0x01A2 << 112) + n) for n in range(3))
    store.make([first])
    (file,) = (path for path in (tmp_path / "keys").rglob("*") if path.is_file() and path.name != "store-id")
    with file.open("ab") as end:
        end.write(cut_off.bytes + b"\1" * 20)
    assert store.look_up([cut_off]) == {}
    store.make([next_one, cut_off])
    assert file.stat().st_size == 3 * RECORD.size
    assert store.look_up([first, cut_off, next_one]).keys() == {first, cut_off, next_one}


def test_several_writers_of_one_file_lose_no_key(tmp_path: Path) -> None:
    ids = [UUID(int=(0x01A2 << 112) + n) for n in range(200)]
    KeyDirectory(tmp_path / "keys", create=True)

    def make(some: list[UUID]) -> None:
        KeyDirectory(tmp_path / "keys").make(some)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, [ids[start : start + 50] for start in range(0, 200, 25)]))
    found = KeyDirectory(tmp_path / "keys").look_up(ids)
    assert len(set(found.values())) == len(ids)


def test_a_store_that_is_out_of_reach_is_unavailable_not_empty(tmp_path: Path, empty_database: str) -> None:
    root = tmp_path / "keys"
    store, id = KeyDirectory(root, create=True), new_id()
    store.make([id])
    (file,) = (path for path in root.rglob("*") if path.is_file() and path.name != "store-id")
    file.unlink()
    file.mkdir()
    with pytest.raises(StoreUnavailable):
        store.look_up([id])
    database = KeyDatabase(empty_database, create=True)
    database.close()
    database._conninfo = "host=/nowhere dbname=none"
    with pytest.raises(StoreUnavailable):
        database.look_up([id])


def test_keys_are_kept_in_nothing_else_and_nowhere_beside_what_they_seal(
    tmp_path: Path, conninfo: str, empty_database: str
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(KeysUnusable, match="it holds something else"):
        open_keys(str(tmp_path / "other"), create=True)
    with pytest.raises(KeysUnusable):
        open_keys(str(tmp_path / "none"))
    data = tmp_path / "data"
    with pytest.raises(KeysUnusable, match="data directory"):
        require_apart(str(data / "keys"), conninfo, data)
    require_apart(str(data / "keys"), conninfo, None)
    with pytest.raises(KeysUnusable, match="must not be in the database"):
        require_apart(url_of(conninfo), conninfo, None)
    require_apart(url_of(empty_database), conninfo, None)
    assert isinstance(open_keys(url_of(empty_database), create=True), KeyDatabase)


def test_a_ledger_remembers_its_store_and_takes_no_other_and_none_no_more(tmp_path: Path, conninfo: str) -> None:
    own, other = (open_keys(str(tmp_path / name), create=True) for name in ("own", "other"))
    require_own(None, conninfo)
    require_own(own, conninfo)
    for store in (own, own):
        require_own(store, conninfo, remember=True)
    for wrong in (None, other):
        with pytest.raises(KeysUnusable):
            require_own(wrong, conninfo, remember=True)
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("SELECT key_store FROM ledger.identity").fetchone() == (own.id,)
