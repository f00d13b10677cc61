"""Databases: which errors pass and which stop everything, in words, and never with a secret."""

import socket
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from migrator.clients.database import Database, url_of
from migrator.core.config import TableSource
from migrator.core.errors import Fatal, Invalid, ObjectError, PreflightError, Transient
from migrator.core.model import Side
from tests.servers import databases
from tests.servers.databases import TestDatabase

SERVERS = {"postgresql": databases.postgresql, "mysql": databases.mariadb}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[TestDatabase]:
    """A database on each server."""
    with SERVERS[request.param]() as database:
        yield database


def opened(url: str, timeout: float = 20.0) -> Database:
    return Database(url, timeout=timeout, connect_timeout=2.0)


def failure(database: Database, statement: str = "SELECT 1") -> ObjectError:
    with pytest.raises(ObjectError) as raised, database.reading() as connection:
        connection.exec_driver_sql(statement)
    assert raised.value.side is Side.DATABASE
    assert raised.value.__cause__ is None
    assert "\n" not in str(raised.value)
    return raised.value


PASSWORDS = {
    "CANARYplain": "CANARYplain",
    "p%40ss%3Aw%2FCANARY%25": "p@ss:w/CANARY%",
    "CANARY%20space+plus": "CANARY space+plus",
    "CANARY'quote": "CANARY'quote",
    "%C3%A9CANARY%E6%97%A5": "éCANARY日",
}


@pytest.mark.faults
@pytest.mark.parametrize(("password", "plain"), PASSWORDS.items())
@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgres", "postgresql+asyncpg", "mysql", "mariadb+mariadbconnector"]
)
def test_row_25_no_error_shows_a_password(scheme: str, password: str, plain: str) -> None:
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    name = plain.replace("/", "%2F").replace("%", "%25")
    with closing(free):
        for url in (
            f"{scheme}://app:{password}@127.0.0.1:{free.getsockname()[1]}/shop",
            f"{scheme}://app:{password}@no-such-host.invalid/shop",
            f"{scheme}://app:{password}@127.0.0.1/shop_{name}",
            f"{scheme}://app:{password}@127.0.0.1/shop?unknown={password}",
            f"{scheme}://app@127.0.0.1:1/shop?password={password}",
        ):
            shown = ""
            with pytest.raises((ObjectError, PreflightError)) as raised:
                database = opened(url)
                shown = database.shown
                with database.reading():
                    pass
            for word in (password, plain, "CANARY"):
                assert word not in str(raised.value) + repr(raised.value) + shown


@pytest.mark.faults
@pytest.mark.parametrize(
    "url",
    [
        "CANARY",
        "CANARY://app:CANARY@host/shop",
        "postgresql://app:CANARY@x@host/shop",
        "postgresql://app:CANARY@host:port/shop",
        "mysql://app:x/CANARY@y@host/shop",
    ],
)
def test_row_25_a_url_that_cannot_be_used_is_not_repeated(url: str) -> None:
    with pytest.raises(PreflightError) as raised:
        opened(url)
    assert "CANARY" not in str(raised.value)


@pytest.mark.faults
def test_row_25_a_wrong_password_stops_and_is_not_shown(server: TestDatabase) -> None:
    host, port = server.address
    error = failure(opened(f"{server.dialect}://nobody_{server.dialect}:CANARY%40word@{host}:{port}/x"))
    assert isinstance(error, Fatal)
    assert "CANARY" not in str(error)
    assert f"nobody_{server.dialect}" in str(error)


def test_refusals_stop_and_say_what_is_wrong(server: TestDatabase) -> None:
    for statement, words in (
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT nothing FROM (SELECT 1 AS one) AS q", "nothing"),
        ("SELEC 1", "SELEC"),
    ):
        error = failure(opened(server.url), statement)
        assert isinstance(error, Fatal)
        assert words in str(error)
    host, port = server.address
    error = failure(opened(f"{server.dialect}://root@{host}:{port}/no_such_database"))
    assert isinstance(error, Fatal)
    assert "no_such_database" in str(error)


def test_a_value_that_does_not_fit_is_invalid(server: TestDatabase) -> None:
    server.run("CREATE TABLE short (one VARCHAR(3) NOT NULL)")
    for value in ("'abcdef'", "NULL"):
        with pytest.raises(Invalid), opened(server.url).writing() as connection:
            connection.exec_driver_sql(f"INSERT INTO short VALUES ({value})")
    assert server.value("SELECT count(*) FROM short") == 0


def test_a_server_that_is_not_there_is_transient() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        for scheme in SERVERS:
            error = failure(opened(f"{scheme}://app@127.0.0.1:{taken.getsockname()[1]}/shop"))
            assert isinstance(error, Transient)
            assert "does not answer now" in str(error)
            assert isinstance(failure(opened(f"{scheme}://app@no-such-host.invalid/shop")), Transient)


def test_a_server_that_says_nothing_is_given_up(server: TestDatabase) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failure(opened(server.through(silent.getsockname()[1]), timeout=1.0))
    assert isinstance(error, Transient)


def test_a_statement_that_takes_too_long_is_given_up(server: TestDatabase) -> None:
    sleep = "SELECT pg_sleep(60)" if server.dialect == "postgresql" else "SELECT sleep(60)"
    error = failure(opened(server.url, timeout=1.0), sleep)
    assert isinstance(error, Transient)
    assert "transfer.timeout" in error.hint


def test_a_connection_that_is_lost_is_transient_and_the_next_one_works(server: TestDatabase) -> None:
    database = opened(server.url)
    own, kill = (
        ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})")
        if server.dialect == "postgresql"
        else ("SELECT connection_id()", "KILL {}")
    )
    with pytest.raises(Transient), database.reading() as connection:
        number = connection.exec_driver_sql(own).scalar_one()
        server.run(kill.format(number))
        connection.exec_driver_sql("SELECT 1")
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


def test_a_deadlock_is_transient(server: TestDatabase) -> None:
    server.run("CREATE TABLE two (id INTEGER PRIMARY KEY, n INTEGER)", "INSERT INTO two VALUES (1, 0), (2, 0)")
    database = opened(server.url)
    both = threading.Barrier(2, timeout=30)
    ends: list[str] = []

    def change(first: int, second: int) -> None:
        try:
            with database.writing() as connection:
                connection.exec_driver_sql(f"UPDATE two SET n = n + 1 WHERE id = {first}")
                both.wait()
                connection.exec_driver_sql(f"UPDATE two SET n = n + 1 WHERE id = {second}")
            ends.append("done")
        except Transient:
            ends.append("deadlock")

    threads = [threading.Thread(target=change, args=order) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(ends) == ["deadlock", "done"]


def test_reading_writes_nothing(server: TestDatabase) -> None:
    server.run("CREATE TABLE one (id INTEGER)")
    if server.dialect == "postgresql":
        assert isinstance(failure(opened(server.url), "INSERT INTO one VALUES (1)"), Fatal)
    else:
        with opened(server.url).reading() as connection:
            connection.exec_driver_sql("INSERT INTO one VALUES (1)")
    assert server.value("SELECT count(*) FROM one") == 0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A SQLite file with a table."""
    path = tmp_path / "an odd%20name?.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE one (id INTEGER UNIQUE)")
    return path


def sqlite_url(path: Path) -> str:
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def test_sqlite_files_that_are_none_are_refused_and_not_made(file: Path) -> None:
    absent = file.with_name("absent.db")
    assert isinstance(failure(opened(sqlite_url(absent))), Fatal)
    assert not absent.exists()
    absent.write_text("no database, but a text that is long enough to be taken for a header" * 10)
    assert "not a database" in str(failure(opened(sqlite_url(absent)), "SELECT * FROM one"))
    assert isinstance(failure(opened(sqlite_url(file)), "SELECT * FROM two"), Fatal)


def test_a_sqlite_file_that_is_locked_is_transient(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        database = Database(sqlite_url(file), timeout=1.0, connect_timeout=0.1)
        for block in (database.reading, database.writing):
            with pytest.raises(Transient, match="locked"), block() as connection:
                connection.exec_driver_sql("SELECT * FROM one")
        other.execute("ROLLBACK")
    with database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO one VALUES (1)")
    with pytest.raises(Invalid), database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO one VALUES (1)")


@pytest.mark.parametrize(
    ("scheme", "module", "extra"), [("postgres", "psycopg", "postgres"), ("mysql", "pymysql", "mysql")]
)
def test_a_driver_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, scheme: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PreflightError) as raised:
        opened(f"{scheme}://app:CANARY@host/shop")
    assert raised.value.hint == f"pip install 'migrator[{extra}]'"
    assert "CANARY" not in str(raised.value)


def source(**settings: str) -> TableSource:
    values = {"type": "table", "name": "rows", "query": "SELECT 1", "location": "{a}", "key": "{path}"}
    return TableSource.model_validate(values | settings)


def test_the_url_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert url_of(source(database_url="sqlite:///a.db")) == "sqlite:///a.db"
    monkeypatch.setenv("SHOP_URL", "sqlite:///b.db")
    assert url_of(source(database_url_env="SHOP_URL")) == "sqlite:///b.db"
    monkeypatch.setenv("SHOP_URL", "")
    with pytest.raises(PreflightError, match="SHOP_URL is not set"):
        url_of(source(database_url_env="SHOP_URL"))


def test_row_25_a_source_does_not_show_its_url() -> None:
    assert "CANARY" not in repr(source(database_url="postgresql://app:CANARY@host/shop"))
