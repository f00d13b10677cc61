"""A host of sources that does not answer: what is elsewhere is moved meanwhile, and its own objects when it is back."""

import signal
from pathlib import Path

import pytest

from tests.ended import Ended
from tests.faults import actions
from tests.faults.checker import Bucket
from tests.faults.harness import Migration, finish, lots_source
from tests.faults.line import Line
from tests.faults.proxy import Proxy, Rule
from tests.faults.servers import Server
from tests.faults.test_rows_buckets import bucket_source, filled
from tests.faults.test_rows_sources import migration_of_urls
from tests.faults.wire import Answer
from tests.faults.world import origin_of, write_lot

pytestmark = pytest.mark.faults

AWAY = {f"away/{number}.bin": b"away %d" % number for number in range(80)}
HERE = {f"here/{number}.bin": b"here %d" % number for number in range(60)}


def stopped_when_what_is_here_stands(migration: Migration, proxy: Proxy) -> Ended:
    """A run that is interrupted as soon as all of HERE was put; what it has still to do might take minutes."""
    process = migration.start("migrate", environment={"MIGRATOR_DESTINATION__ENDPOINT_URL": proxy.url})
    proxy.wait("PUT", "/here/", number=len(HERE))
    process.send_signal(signal.SIGINT)
    stopped = finish(process)
    assert stopped.status == 130, stopped.words
    return stopped


def test_objects_on_a_host_that_is_down_keep_no_others_waiting(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    with origin_of(AWAY | HERE) as origin, Line(("127.0.0.1", origin.port)) as line:
        line.cut()
        urls = [f"http://127.0.0.1:{line.port}/{key}" for key in AWAY] + [f"{origin.url}/{key}" for key in HERE]
        migration = migration_of_urls(folder, bucket, urls, key="{path}")
        stopped = stopped_when_what_is_here_stands(migration, proxy)
        assert f"http://127.0.0.1:{line.port} does not answer: its objects wait, others go on" in stopped.words
        assert {state for state, _ in migration.items().values()} == {"planned", "stored"}
        line.mend()
        finished = migration.run()
    assert finished.status == 0, finished.words
    assert migration.check(AWAY | HERE) == []


def test_objects_on_a_host_that_comes_back_are_moved_by_the_same_run(folder: Path, bucket: Bucket) -> None:
    with origin_of(AWAY | HERE) as origin, Line(("127.0.0.1", origin.port)) as line:
        line.cut()
        urls = [f"http://127.0.0.1:{line.port}/{key}" for key in AWAY | HERE]
        migration = migration_of_urls(folder, bucket, urls, key="{path}")
        process = migration.start("migrate")
        assert process.stderr
        assert any("does not answer" in text for text in process.stderr)
        line.mend()
        finished = finish(process)
    assert finished.status == 0, finished.words
    assert "answers again" in finished.words
    assert migration.check(AWAY | HERE) == []


@pytest.mark.parametrize("every", [1000.0, 0.05], ids=["silence", "one byte now and then"])
@pytest.mark.parametrize("chunked", [False, True], ids=["counted", "chunked"])
def test_answers_that_never_end_keep_no_others_waiting(
    folder: Path, bucket: Bucket, proxy: Proxy, every: float, chunked: bool
) -> None:
    endless = {key: body * 1000 for key, body in AWAY.items()}
    pages = {f"/{key}": Answer(200, [("Content-Type", "image/jpeg")], body, chunked) for key, body in endless.items()}
    with origin_of(HERE) as origin, Proxy(pages) as dry:
        dry.rules.append(Rule(actions.dry_up(100, every), times=None))
        urls = [f"{dry.url}/{key}" for key in AWAY] + [f"{origin.url}/{key}" for key in HERE]
        migration = migration_of_urls(folder, bucket, urls, key="{path}", transfer={"timeout": "2s"})
        stopped = stopped_when_what_is_here_stands(migration, proxy)
        assert f"{dry.url} does not answer: its objects wait, others go on" in stopped.words
        dry.rules.clear()
        finished = migration.run()
    assert finished.status == 0, finished.words
    assert migration.check(endless | HERE) == []


@pytest.mark.parametrize("every", [1000.0, 0.05], ids=["silence", "one byte now and then"])
def test_a_bucket_whose_answers_never_end_keeps_no_others_waiting(
    folder: Path, server: Server, bucket: Bucket, proxy: Proxy, every: float
) -> None:
    old = server.make_bucket(f"{bucket.name}-old")
    endless = filled(old, {key: body * 1000 for key, body in AWAY.items()})
    with origin_of(HERE) as origin, Proxy(server.address) as dry:
        dry.rules.append(Rule(actions.dry_up(100, every), method="GET", target="/away/", times=None))
        write_lot(folder / "lots" / "lot.json", [f"{origin.url}/{key}" for key in HERE])
        sources = [bucket_source(old, dry.url), lots_source(str(folder / "lots" / "*.json"), key="{path}")]
        migration = Migration(folder, bucket, sources=sources, transfer={"timeout": "2s"})
        stopped = stopped_when_what_is_here_stands(migration, proxy)
        assert f"s3://{old.name} does not answer: its objects wait, others go on" in stopped.words
        dry.rules.clear()
        finished = migration.run()
    assert finished.status == 0, finished.words
    assert migration.check(endless | HERE) == []


def test_a_host_that_is_always_busy_slows_nobody_else(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    with origin_of(AWAY | HERE) as origin, origin_of(AWAY) as busy:
        busy.rules.append(Rule(actions.answer(Answer(503)), times=None))
        urls = [f"{busy.url}/{key}" for key in AWAY] + [f"{origin.url}/{key}" for key in HERE]
        migration = migration_of_urls(folder, bucket, urls, key="{path}")
        stopped = stopped_when_what_is_here_stands(migration, proxy)
        told = [line for line in stopped.words.splitlines() if "throttled" in line]
        assert told
        assert all(line.startswith(f"{busy.url} throttled: ") for line in told)
        busy.rules.clear()
        finished = migration.run()
    assert finished.status == 0, finished.words
    assert migration.check(AWAY | HERE) == []
