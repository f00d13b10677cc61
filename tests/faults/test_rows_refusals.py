"""Rows 13-16: a destination that throttles, has another clock, is in another region, or forbids one object."""

import re
import shutil
from pathlib import Path

import pytest

from tests.ended import Ended
from tests.faults import actions
from tests.faults.actions import answer, s3_error
from tests.faults.checker import Bucket
from tests.faults.harness import Migration, lots_source, tree_source
from tests.faults.proxy import Proxy, Rule
from tests.faults.wire import Answer
from tests.faults.world import origin_of, small_tree, write_lot

pytestmark = pytest.mark.faults

OBJECTS = r"/dir[^?]*$"


def complaints(finished: Ended, word: str) -> int:
    """Messages on the terminal that hold `word`; what to do about it may say it once more."""
    messages = re.sub(r"\n *what to do: .*", "", finished.words)
    return messages.lower().count(word.lower())


def assert_one_clear_stop(migration: Migration, finished: Ended, word: str) -> None:
    """The run stopped at once with one message that holds `word`, and no item is blamed for it."""
    assert finished.status == 3, finished.words
    assert complaints(finished, word) == 1, finished.words
    assert "Traceback" not in finished.words
    if migration.ledger.exists():
        assert not any(state == "failed" for state, _ in migration.items().values())


def test_row_13_a_storm_of_slow_down_fails_nothing(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder, count=60)
    later = [("Retry-After", "1")]
    storm = [
        Rule(answer(s3_error(503, "SlowDown")), method="PUT", target=OBJECTS, times=60, chance=0.5),
        Rule(answer(s3_error(429, "TooManyRequests", headers=later)), method="PUT", target=OBJECTS, times=2, skip=30),
    ]
    proxy.rules += storm
    migration = Migration(folder, bucket, endpoint=proxy.url)
    finished = migration.run()
    assert finished.status == 0, finished.words
    assert storm[0].hits > 10
    assert migration.check(contents) == []


def test_row_13_a_throttling_origin_fails_nothing(folder: Path, bucket: Bucket) -> None:
    contents = {f"img/{i}.jpg": bytes([i]) * 500 for i in range(30)}
    with origin_of(contents) as origin:
        origin.rules.append(Rule(answer(Answer(429, [("Retry-After", "1")])), times=4))
        origin.rules.append(Rule(answer(Answer(503)), skip=10, times=4))
        write_lot(folder / "lots" / "lot.json", [f"{origin.url}/{key}" for key in contents])
        migration = Migration(folder, bucket, sources=[lots_source(str(folder / "lots" / "*.json"))])
        finished = migration.run()
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []


def test_row_13_a_busy_server_is_not_taken_for_a_lesser_one(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    """The probe meets 503 and resets: it asks again, and what it learns is what a quiet server would have told."""
    contents = small_tree(folder)
    busy = answer(s3_error(503, "SlowDown"))
    proxy.rules += [
        Rule(busy, method="HEAD"),
        Rule(busy, method="PUT", target="_migrator", skip=1),
        Rule(actions.reset, method="PUT", target="_migrator", skip=3),
        Rule(actions.lose_answer, method="POST", target="_migrator.*uploadId="),
        Rule(actions.reset, method="DELETE"),
        Rule(actions.check_digests, times=None),
    ]
    migration = Migration(folder, bucket, endpoint=proxy.url)
    finished = migration.run()
    assert finished.status == 0, finished.words
    assert [rule.hits for rule in proxy.rules[:5]] == [1] * 5
    assert migration.check(contents) == []
    assert proxy.count("GET", OBJECTS) == 0, "a server that checks digests is not read back from"


@pytest.mark.parametrize("minutes", [20, pytest.param(-20, marks=pytest.mark.slow)])
def test_row_14_a_server_with_another_clock(folder: Path, bucket: Bucket, proxy: Proxy, minutes: int) -> None:
    contents = small_tree(folder)
    proxy.rules.append(Rule(actions.other_clock(minutes * 60), times=None))
    migration = Migration(folder, bucket, endpoint=proxy.url)
    assert_skew_is_borne(migration, migration.run(), contents)


@pytest.mark.slow
@pytest.mark.parametrize("server", ["ceph20"], indirect=True)
@pytest.mark.parametrize("offset", ["+20m", "-20m"])
def test_row_14_our_clock_is_wrong_and_the_server_checks(folder: Path, bucket: Bucket, offset: str) -> None:
    if not shutil.which("faketime"):
        pytest.skip("faketime is not installed")
    contents = small_tree(folder)
    migration = Migration(folder, bucket)
    assert_skew_is_borne(migration, migration.run(before=["faketime", "-f", offset]), contents)


def assert_skew_is_borne(migration: Migration, finished: Ended, contents: dict[str, bytes]) -> None:
    """Signed again with the server's time, or one clear message."""
    if finished.status == 0:
        assert migration.check(contents) == []
    else:
        assert_one_clear_stop(migration, finished, "clock")


REGION = "eu-west-3"
HINT = [("x-amz-bucket-region", REGION)]


@pytest.mark.parametrize(
    "refusal",
    [
        s3_error(
            301, "PermanentRedirect", extra="<Endpoint>bucket.s3.eu-west-3.amazonaws.com</Endpoint>", headers=HINT
        ),
        s3_error(307, "TemporaryRedirect", headers=[*HINT, ("Location", "http://127.0.0.1:1/elsewhere")]),
        s3_error(400, "AuthorizationHeaderMalformed", extra=f"<Region>{REGION}</Region>", headers=HINT),
        s3_error(400, "AuthorizationHeaderMalformed", extra=f"<Region>{REGION}</Region>"),
    ],
    ids=["301", "307", "400", "400-without-header"],
)
def test_row_15_a_bucket_in_another_region_is_named_once(
    folder: Path, bucket: Bucket, proxy: Proxy, refusal: Answer
) -> None:
    small_tree(folder)
    proxy.rules.append(Rule(answer(refusal), times=None))
    migration = Migration(folder, bucket, endpoint=proxy.url)
    assert_one_clear_stop(migration, migration.run(), REGION)


def test_row_15_a_bucket_that_moves_away_during_the_run_stops_it(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    small_tree(folder, count=40)
    refusal = s3_error(301, "PermanentRedirect", headers=HINT)
    proxy.rules.append(Rule(answer(refusal), method="PUT", target=OBJECTS, skip=10, times=None))
    migration = Migration(folder, bucket, endpoint=proxy.url)
    assert_one_clear_stop(migration, migration.run(), REGION)


def test_row_16_one_forbidden_object_does_not_stop_the_run(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder)
    pages = {f"img/{i}.jpg": bytes([i]) * 500 for i in range(6)}
    with origin_of(pages) as origin:
        write_lot(folder / "lots" / "lot.json", [f"{origin.url}/{key}" for key in pages])
        origin.rules.append(Rule(answer(Answer(403)), target="/img/1.jpg", times=None))
        origin.rules.append(Rule(answer(Answer(410)), target="/img/2.jpg", times=None))
        denied = Rule(answer(s3_error(403, "AccessDenied")), method="PUT", target="/dir0/file0.bin", times=None)
        proxy.rules.append(denied)
        sources = [tree_source(folder / "tree"), lots_source(str(folder / "lots" / "*.json"))]
        migration = Migration(folder, bucket, endpoint=proxy.url, sources=sources)
        finished = migration.run()
    assert finished.status == 1, finished.words
    failed = {"dir0/file0.bin": "forbidden", "img/1.jpg": "forbidden", "img/2.jpg": "gone"}
    expected = {key: body for key, body in (contents | pages).items() if key not in failed}
    assert migration.check(expected, failed) == []
    assert denied.hits == 1, "what is forbidden is not asked for again"
