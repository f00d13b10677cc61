"""Row 25: secrets are nowhere. Canary strings, searched for byte by byte in everything that the tool leaves behind."""

import json
from pathlib import Path

import pytest

from tests.faults import actions
from tests.faults.actions import answer, s3_error
from tests.faults.checker import Bucket
from tests.faults.harness import Finished, Migration, lots_source, tree_source
from tests.faults.proxy import Proxy, Rule
from tests.faults.wire import Answer
from tests.faults.world import small_tree

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
}


def leaks(migration: Migration, runs: list[Finished]) -> list[str]:
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
    for form in ("json", "csv", "md"):
        runs.append(migration.run("report", "--format", form))
    runs.append(migration.run("status", "--json"))
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
