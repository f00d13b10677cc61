"""Row 25: secrets are nowhere. Canary strings, searched for byte by byte in everything that the tool leaves behind."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.ended import Ended
from tests.faults import actions
from tests.faults.actions import answer, s3_error
from tests.faults.checker import Bucket
from tests.faults.harness import Migration, lots_source, tree_source
from tests.faults.proxy import Proxy, Rule
from tests.faults.wire import Answer
from tests.faults.world import small_tree
from tests.servers import databases
from tests.servers.databases import TestDatabase

pytestmark = pytest.mark.faults

CANARIES = {
    "AWS secret": "CANARYsecretkey",
    "session token": "CANARYsessiontoken",
    "signature of a URL": "CANARYsignature",
    "signature of a failing URL": "CANARYfailing",
    "signature of a URL that redirects": "CANARYredirect",
    "user of a URL": "CANARYuser",
    "password of a URL": "CANARYpassword",
    "token of a relative path": "CANARYrelative",
    "proxy password": "CANARYproxy",
    "password of a database": "CANARYdatabase",
}


def leaks(migration: Migration, runs: list[Ended]) -> list[str]:
    """Where which canary was found."""
    places = {f"output {number}": run.words.encode() for number, run in enumerate(runs)}
    for path in migration.folder.rglob("*"):
        if path.is_file() and "lots" not in path.parts and path != migration.config:
            places[str(path.relative_to(migration.folder))] = path.read_bytes()
    return [
        f"{name} in {place}"
        for place, text in places.items()
        for name, canary in CANARIES.items()
        if canary.encode() in text
    ]


def secret_lots(folder: Path, port: int) -> None:
    """URLs that hold secrets: good ones, failing ones, redirected ones."""
    host = f"127.0.0.1:{port}"
    urls = [
        f"http://{host}/good.jpg?X-Amz-Signature=CANARYsignature&X-Amz-Expires=60",
        f"http://{host}/gone.jpg?X-Amz-Signature=CANARYfailing",
        f"http://{host}/reset.jpg?sig=CANARYfailing",
        f"http://{host}/moved.jpg?token=CANARYredirect",
        f"http://CANARYuser:CANARYpassword@{host}/user.jpg",
        "http://CANARYuser:CANARYpassword@127.0.0.1:1/refused.jpg?sig=CANARYfailing",
        "ftp://CANARYuser:CANARYpassword@127.0.0.1/x?sig=CANARYfailing",
        "http://[::1/broken?sig=CANARYfailing",
        "relative.jpg?token=CANARYrelative",
        f"http://{host}/good2.jpg?X-Amz-Signature=CANARYsignature",
    ]
    (folder / "lots").mkdir()
    (folder / "lots" / "lot.json").write_text(json.dumps([{"image_url": url} for url in urls]))
    (folder / "lots" / "broken.json").write_text('{"image_url": "http://x/?sig=CANARYfailing", ')


def test_row_25_no_secret_is_left_anywhere(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    small_tree(folder)
    pages = {
        "/good.jpg": Answer(200, body=b"good"),
        "/good2.jpg": Answer(200, body=b"good too"),
        "/user.jpg": Answer(200, body=b"user"),
        "/moved.jpg": Answer(302, [("Location", "/nowhere.jpg?sig=CANARYredirect")]),
    }
    echo = s3_error(403, "AccessDenied", extra="<StringToSign>CANARYsecretkey</StringToSign>")
    proxy.rules.append(Rule(answer(echo), method="PUT", target="/dir0/file0.bin"))
    with Proxy(pages, rules=[Rule(actions.reset, target="/reset.jpg", times=None)]) as origin:
        secret_lots(folder, origin.port)
        sources = [lots_source(str(folder / "lots" / "*.json")), tree_source(folder / "tree")]
        migration = Migration(folder, bucket, endpoint=proxy.url, sources=sources, transfer={"retries": 1})
        migration.environment |= {
            "AWS_SECRET_ACCESS_KEY": "CANARYsecretkey",
            "AWS_SESSION_TOKEN": "CANARYsessiontoken",
            "MIGRATOR_DESTINATION__ENDPOINT_URL": proxy.url,
        }
        runs = [
            migration.run(*command) for command in (("plan", "-vv"), ("migrate", "-vv"), ("migrate", "-vv", "--json"))
        ]
        assert [run.status for run in runs] == [1, 1, 1], runs[1].words
    for form in ("json", "csv", "md", "html"):
        runs.append(migration.run("report", "--format", form))
    runs += [migration.run(*command) for command in (("status", "--json"), ("events",), ("events", "--json"))]
    assert "put" in runs[-1].words
    assert migration.ledger.with_suffix(".audit.jsonl").is_relative_to(migration.folder), "it is searched as well"
    assert "/gone.jpg" in "".join(run.words for run in runs)
    items = migration.items()
    assert {items[key][0] for key in ("good.jpg", "good2.jpg", "user.jpg")} == {"stored"}
    assert leaks(migration, runs) == []


def test_row_25_a_crash_shows_no_secret(folder: Path, bucket: Bucket) -> None:
    """Nothing listens at the endpoint, whose URL holds a password; and a config that does not parse."""
    small_tree(folder)
    migration = Migration(
        folder, bucket, endpoint="http://CANARYuser:CANARYpassword@127.0.0.1:1", transfer={"retries": 0}
    )
    migration.environment |= {"AWS_SECRET_ACCESS_KEY": "CANARYsecretkey", "AWS_SESSION_TOKEN": "CANARYsessiontoken"}
    runs = [migration.run("migrate", "-vv"), migration.run("test-connection", "-vv")]
    migration.environment["MIGRATOR_TRANSFER__CONCURRENCY"] = "CANARYproxy"
    assert all(run.status in (2, 3) for run in runs), [run.words for run in runs]
    assert leaks(migration, runs) == []


PASSWORD = "p%40CANARYdatabase%2Fx%25"
"""Percent-encoded in the URL; the plain one has the same canary."""


def rows_source(**settings: str) -> dict[str, Any]:
    """A table with an update."""
    return {
        "name": "rows",
        "type": "table",
        "query": "SELECT id, photo FROM images",
        "primary_key": ["id"],
        "location": "{photo}",
        "key": "rows/{path}",
        "allow_private": True,
        "update": {"table": "images", "set": {"photo": "{key}"}},
        **settings,
    }


def everything(migration: Migration) -> list[Ended]:
    """Every command that reads or shows a database."""
    commands = (("test-connection",), ("plan", "-vv"), ("migrate", "-vv"), ("migrate", "-vv", "--json"))
    runs = [migration.run(*command) for command in commands]
    reports = [migration.run("report", "--format", form) for form in ("json", "csv", "md", "html")]
    looks = (("status", "--json"), ("events", "--json"), ("setup", "--dry-run"))
    return [*runs, *reports, *(migration.run(*command) for command in looks)]


def addresses(database: TestDatabase) -> dict[str, str]:
    """URLs with a password that lead nowhere, by what goes wrong."""
    url, (host, port) = make_url(database.url), database.address
    scheme = {"postgresql": "postgres", "mysql": "mariadb"}[database.dialect]
    return {
        "refused": f"{scheme}://root:{PASSWORD}@127.0.0.1:1/shop",
        "unknown host": f"{scheme}://root:{PASSWORD}@no-such-host.invalid/shop",
        "wrong user": f"{scheme}://nobody_here:{PASSWORD}@{host}:{port}/{url.database}",
        "unknown database": f"{scheme}://root:{PASSWORD}@{host}:{port}/no_such_database",
        "unknown parameter": f"{scheme}://root@{host}:{port}/{url.database}?password={PASSWORD}&sslkeypass={PASSWORD}",
        "not encoded": f"{scheme}://root:CANARYdatabase@x/y@{host}:{port}/{url.database}",
    }


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(databases.postgresql, id="postgresql", marks=pytest.mark.slow),
        pytest.param(databases.mariadb, id="mariadb"),
    ],
)
def test_row_25_no_password_of_a_database_is_left_anywhere(folder: Path, bucket: Bucket, make: Any) -> None:
    with make() as database, Proxy({"/1.jpg": Answer(200, body=b"one")}) as origin:
        database.run(
            "CREATE TABLE images (id INTEGER PRIMARY KEY, photo VARCHAR(200))",
            f"INSERT INTO images VALUES (1, 'http://127.0.0.1:{origin.port}/1.jpg')",
            f"INSERT INTO images VALUES (2, 'http://127.0.0.1:{origin.port}/2.jpg')",
        )
        url = make_url(database.url)
        if database.dialect == "postgresql":  # it trusts this machine, and takes any password
            url = url.set(password="p@CANARYdatabase/x%")
        else:
            database.run(
                "CREATE OR REPLACE USER canary@'127.0.0.1' IDENTIFIED BY 'p@CANARYdatabase/x%'",
                f"GRANT ALL ON {url.database}.* TO canary@'127.0.0.1'",
            )
            url = url.set(username="canary", password="p@CANARYdatabase/x%")
        good = url.render_as_string(hide_password=False)
        assert PASSWORD in good
        migration = Migration(folder, bucket, sources=[rows_source(database_url_env="DATABASE_URL")])
        migration.environment["DATABASE_URL"] = good
        runs = everything(migration)
        assert database.rows("SELECT photo FROM images WHERE id = 1") == [("rows/1.jpg",)], runs[2].words
        migration.configure([rows_source(database_url=good)], {}, {})
        runs += [migration.run("test-connection"), migration.run("migrate", "--rescan", "-vv"), migration.run("report")]
        for trouble, address in addresses(database).items():
            migration.environment["DATABASE_URL"] = address
            migration.configure([rows_source(database_url_env="DATABASE_URL")], {}, {"retries": 0})
            run = migration.run("test-connection")
            assert run.status == 3, (trouble, run.words)
            runs.append(run)
            if trouble in ("wrong user", "not encoded"):  # one that the server tells of, one that is told of here
                runs.append(migration.run("migrate", "--rescan", "-vv"))
        assert leaks(migration, runs) == []
        database.run("DROP USER canary@'127.0.0.1'") if database.dialect == "mysql" else None
