"""Which databases are worked on and which are refused, and in what words."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr
from structlog.testing import capture_logs

from api.database import DatabaseUnusable, check_database, open_database
from api.embedded.account import postgres_account
from api.embedded_postgres import EmbeddedPostgres
from api.settings import Settings


def settings_for(conninfo: str) -> Settings:
    return Settings(database_url=SecretStr(conninfo))


def execute(conninfo: str, statement: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(sql.SQL(statement))  # type: ignore[arg-type]


@pytest.fixture
def alter(empty_database: str) -> Callable[[str], None]:
    """Change a setting of the test's database for the connections that follow."""
    name = conninfo_to_dict(empty_database)["dbname"]
    return lambda setting: execute(empty_database, f"ALTER DATABASE {name} SET {setting}")


@pytest.fixture
def latin1_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    execute(postgres.conninfo, "CREATE DATABASE latin1 TEMPLATE template0 ENCODING 'LATIN1'")
    yield make_conninfo(postgres.conninfo, dbname="latin1")
    execute(postgres.conninfo, "DROP DATABASE latin1")


def assert_is_one_sentence(refusal: DatabaseUnusable) -> None:
    assert "\n" not in str(refusal)
    assert str(refusal).endswith(".")


def test_a_configured_database_is_used_as_it_is(empty_database: str) -> None:
    with open_database(settings_for(empty_database)) as database, psycopg.connect(database.conninfo) as connection:
        assert connection.info.dbname == conninfo_to_dict(empty_database)["dbname"]
        assert database.data_dir is None


def test_without_a_configured_database_the_embedded_one_is_started_and_stopped(tmp_path: Path) -> None:
    with open_database(Settings(database_url=None, data_dir=tmp_path / "data")) as database:
        assert database.data_dir == tmp_path / "data"
        execute(database.conninfo, "SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        execute(database.conninfo, "SELECT 1")


def test_a_data_directory_that_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "something").write_text("else")
    with (
        pytest.raises(DatabaseUnusable, match="not a data directory of Flowledger") as refusal,
        open_database(Settings(database_url=None, data_dir=tmp_path)),
    ):
        pass
    assert refusal.value.reason == "embedded"
    assert_is_one_sentence(refusal.value)


def test_an_unreachable_server_is_refused_in_one_sentence_without_the_password() -> None:
    url = "postgresql://user:sesame@127.0.0.1:1/ledger"
    with pytest.raises(DatabaseUnusable) as refusal, open_database(settings_for(url)):
        pass
    assert refusal.value.reason == "unreachable"
    assert "host=127.0.0.1 port=1 user=user dbname=ledger" in str(refusal.value)
    assert "refused" in str(refusal.value)
    assert "sesame" not in str(refusal.value)
    assert_is_one_sentence(refusal.value)


def test_text_that_is_no_connection_string_is_refused_without_repeating_it() -> None:
    url = "postgresql+asyncpg://user:sesame@localhost/ledger"
    with pytest.raises(DatabaseUnusable) as refusal, open_database(settings_for(url)):
        pass
    assert refusal.value.reason == "invalid"
    assert "sesame" not in str(refusal.value)
    assert_is_one_sentence(refusal.value)


def test_a_server_older_than_needed_is_refused(empty_database: str) -> None:
    check_database(empty_database, oldest_server=18)
    with pytest.raises(DatabaseUnusable, match="runs on PostgreSQL 18; Flowledger needs 19 or newer") as refusal:
        check_database(empty_database, oldest_server=19)
    assert refusal.value.reason == "too_old"
    assert_is_one_sentence(refusal.value)


def test_a_read_only_database_is_refused(empty_database: str, alter: Callable[[str], None]) -> None:
    alter("default_transaction_read_only = on")
    with pytest.raises(DatabaseUnusable, match="takes no writes") as refusal:
        check_database(empty_database)
    assert refusal.value.reason == "read_only"
    assert_is_one_sentence(refusal.value)


def test_a_standby_is_refused(tmp_path: Path) -> None:
    settings = Settings(database_url=None, data_dir=tmp_path / "data")
    with open_database(settings):
        pass
    standby_signal = tmp_path / "data" / "cluster" / "standby.signal"
    standby_signal.touch()
    postgres_account().own(standby_signal)
    with pytest.raises(DatabaseUnusable, match="takes no writes") as refusal, open_database(settings):
        pass
    assert refusal.value.reason == "read_only"


def test_a_database_that_is_not_utf8_is_refused(latin1_database: str) -> None:
    with pytest.raises(DatabaseUnusable, match="is encoded in LATIN1; Flowledger needs one in UTF8") as refusal:
        check_database(latin1_database)
    assert refusal.value.reason == "not_utf8"
    assert_is_one_sentence(refusal.value)


def test_commits_that_do_not_wait_for_the_disk_are_warned_of(empty_database: str, alter: Callable[[str], None]) -> None:
    with capture_logs() as before:
        check_database(empty_database)
    alter("synchronous_commit = off")
    with capture_logs() as after:
        check_database(empty_database)
    assert before == []
    assert [(entry["log_level"], entry["synchronous_commit"]) for entry in after] == [("warning", "off")]


def test_a_server_that_does_not_write_through_is_warned_of(tmp_path: Path) -> None:
    settings = Settings(database_url=None, data_dir=tmp_path / "data")
    with open_database(settings) as database:
        execute(database.conninfo, "ALTER SYSTEM SET fsync = off")
    with capture_logs() as entries, open_database(settings):
        pass
    assert [(entry["log_level"], entry["fsync"]) for entry in entries] == [("warning", "off")]


def test_the_password_of_a_database_is_never_shown_with_the_settings() -> None:
    settings = settings_for("postgresql://user:sesame@host/ledger")
    assert "sesame" not in f"{settings!r} {settings} {settings.model_dump_json()}"
