"""The oracle and the proxy themselves: a checker that finds nothing, or a proxy that does nothing, proves nothing."""

import hashlib
import http.client
import re
import sqlite3
from pathlib import Path

import pytest

from tests.faults import actions
from tests.faults.checker import Bucket, audit_differences, bucket_differences, ledger_differences, s3_client
from tests.faults.harness import Migration
from tests.faults.proxy import Proxy, Rule
from tests.faults.servers import Server
from tests.faults.wire import Answer
from tests.faults.world import small_tree

pytestmark = pytest.mark.faults


def get(proxy: Proxy, path: str = "/page", method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
    """One request over a line of its own."""
    line = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
    try:
        line.request(method, path, body or None)
        answer = line.getresponse()
        return answer.status, answer.read()
    finally:
        line.close()


def test_the_bucket_is_compared_with_the_model(bucket: Bucket) -> None:
    s3 = bucket.client()
    for key, body in {"good": b"1", "wrong": b"2", "stray": b"3", "twice": b"4", "_migrator/left": b"5"}.items():
        s3.put_object(Bucket=bucket.name, Key=key, Body=body)
    s3.put_object(Bucket=bucket.name, Key="twice", Body=b"4")
    s3.put_object(Bucket=bucket.name, Key="deleted", Body=b"")
    s3.delete_object(Bucket=bucket.name, Key="deleted")
    s3.create_multipart_upload(Bucket=bucket.name, Key="open")
    found = bucket_differences(bucket, {"good": b"1", "wrong": b"other", "twice": b"4", "missing": b""})
    assert found == [
        "missing in the bucket: 'missing'",
        "nobody asked for it in the bucket: '_migrator/left'",
        "nobody asked for it in the bucket: 'stray'",
        "wrong bytes in the bucket: 'wrong' has 1 bytes, not the 5 of its source",
        "stored 2 times: 'twice'",
        "delete marker: 'deleted'",
        "open multipart upload: 'open'",
    ]


def test_the_ledger_is_compared_with_the_model_and_with_itself(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    digest = hashlib.sha256(b"1").digest()
    with sqlite3.connect(path) as database:
        database.executescript(
            "create table items (source, key, state, fault, message, stored_size, sha256);"
            "create table tallies (source, state, reason, items);"
            "create table uploads (item_id, upload_id);"
        )
        rows = [
            ("s", "good", "stored", None, None, 1, digest),
            ("s", "wrong", "stored", None, None, 2, digest),
            ("s", "stuck", "intended", None, None, None, None),
            ("s", "gone", "failed", "gone", "404", None, None),
            ("s", "bad", "failed", "transient", "reset", None, None),
        ]
        database.executemany("insert into items values (?, ?, ?, ?, ?, ?, ?)", rows)
        tallies = [
            ("s", "stored", "", 2),
            ("s", "intended", "", 2),
            ("s", "failed", "gone", 1),
            ("s", "planned", "", 0),
        ]
        database.executemany("insert into tallies values (?, ?, ?, ?)", tallies)
        database.execute("insert into uploads values (1, 'u')")
    expected = {"good": b"1", "wrong": b"2", "stuck": b"3"}
    found = ledger_differences(path, expected, {"gone": "gone"})
    assert found == [
        f"wrong sha256 in the ledger: 'wrong' has {digest.hex()}",
        "wrong size in the ledger: 'wrong' has 2, not 1",
        "intended in the ledger: 'stuck': None",
        "failed in the ledger as transient: 'bad': reset",
        "missing in the ledger: 'stuck'",
        "rows say ('s', 'failed', 'transient', 1), the tallies do not",
        "rows say ('s', 'intended', '', 1), the tallies do not",
        "the tallies say ('s', 'intended', '', 2), the rows do not",
        "the ledger still holds an upload: (1, 'u')",
    ]


def test_the_audit_log_is_compared_with_the_ledger_and_with_itself(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    small_tree(folder)
    migration = Migration(folder, bucket, endpoint=proxy.url)
    assert migration.run().status == 0
    log = migration.ledger.with_suffix(".audit.jsonl")
    assert audit_differences(migration.ledger) == []
    whole = log.read_bytes()
    lines = whole.splitlines(keepends=True)
    log.write_bytes(whole.replace(b'"size":', b'"SIZE":', 1))
    assert audit_differences(migration.ledger) == ["the audit log is broken at line 1"]
    log.write_bytes(b"".join(lines[1:]))
    assert audit_differences(migration.ledger) == ["the audit log is broken at line 1"]
    log.write_bytes(b"".join(lines[:-1]))
    left, changed = audit_differences(migration.ledger)
    assert left.startswith("the audit log does not tell of object ")
    assert changed.startswith("the audit log is not the one that the ledger knows: ")


def test_a_proxy_without_rules_changes_nothing(bucket: Bucket, proxy: Proxy) -> None:
    s3 = s3_client(proxy.url)
    for key in ("plain", "odd +%23#?&\u00fc"):
        s3.put_object(Bucket=bucket.name, Key=key, Body=b"x" * 200_000)
        assert s3.get_object(Bucket=bucket.name, Key=key)["Body"].read() == b"x" * 200_000
        assert s3.head_object(Bucket=bucket.name, Key=key)["ContentLength"] == 200_000
    assert bucket_differences(bucket, {"plain": b"x" * 200_000, "odd +%23#?&\u00fc": b"x" * 200_000}) == []
    assert proxy.count("PUT") == 2


@pytest.mark.parametrize("server", ["ceph20"], indirect=True)
def test_a_proxy_leaves_signatures_valid(bucket: Bucket, proxy: Proxy) -> None:
    s3_client(proxy.url).put_object(Bucket=bucket.name, Key="key", Body=b"body")
    assert bucket_differences(bucket, {"key": b"body"}) == []


def test_rules_hit_what_they_name_as_often_as_they_say() -> None:
    rule = Rule(actions.answer(Answer(503)), method="GET", target="^/page", skip=1, times=2)
    with Proxy({"/page": Answer(200, body=b"fine")}, rules=[rule]) as proxy:
        assert [get(proxy)[0] for _ in range(4)] == [200, 503, 503, 200]
        assert get(proxy, "/other")[0] == 404
        assert (rule.hits, proxy.count("GET", "^/page"), proxy.count(target="other")) == (2, 4, 1)


def test_a_chance_is_drawn_from_the_seed() -> None:
    def statuses(seed: int) -> list[int]:
        rule = Rule(actions.answer(Answer(503)), chance=0.5, times=None)
        with Proxy({"/page": Answer(200)}, seed=seed, rules=[rule]) as proxy:
            return [get(proxy)[0] for _ in range(20)]

    assert statuses(1) == statuses(1)
    assert set(statuses(1)) == {200, 503}


def test_lines_are_cut_where_the_rule_says() -> None:
    rules = [Rule(actions.reset), Rule(actions.cut_request(10)), Rule(actions.cut_answer(3)), Rule(actions.lose_answer)]
    for rule in rules:
        with Proxy({"/page": Answer(200, body=b"0123456789")}, rules=[rule]) as proxy:
            with pytest.raises((ConnectionError, http.client.HTTPException)):
                get(proxy, method="POST", body=b"x" * 1_000_000)
            assert get(proxy) == (200, b"0123456789")


def test_a_chunked_answer_can_be_cut() -> None:
    page = Answer(200, body=b"x" * 100_000, chunked=True)
    with Proxy({"/page": page}, rules=[Rule(actions.cut_answer(70_000))]) as proxy:
        with pytest.raises(http.client.IncompleteRead):
            get(proxy)
        assert get(proxy) == (200, b"x" * 100_000)


def test_a_checking_server_refuses_a_flipped_bit(server: Server, bucket: Bucket) -> None:
    rules = [Rule(actions.alter_request(5), method="PUT"), Rule(actions.check_digests, times=None)]
    with Proxy(server.address, rules=rules) as proxy:
        s3 = s3_client(proxy.url)
        with pytest.raises(s3.exceptions.ClientError, match=r"XAmzContentSHA256Mismatch|BadDigest"):
            s3.put_object(Bucket=bucket.name, Key="key", Body=b"0123456789", ChecksumAlgorithm="SHA256")
        s3.put_object(Bucket=bucket.name, Key="key", Body=b"0123456789", ChecksumAlgorithm="SHA256")
    assert bucket_differences(bucket, {"key": b"0123456789"}) == []


def test_a_server_with_another_clock_refuses_ours(server: Server, bucket: Bucket) -> None:
    with Proxy(server.address, rules=[Rule(actions.other_clock(1200), times=None)]) as proxy:
        s3 = s3_client(proxy.url)
        with pytest.raises(s3.exceptions.ClientError, match="RequestTimeTooSkewed"):
            s3.list_objects_v2(Bucket=bucket.name)


def test_the_table_of_guarantees_names_every_fault_test_and_no_other() -> None:
    tests = Path(__file__).parents[1]
    table = (tests.parent / "docs" / "explanation" / "guarantees.md").read_text()
    rows = re.findall(r"^\| (\d+) \|(.*)$", table, re.MULTILINE)
    tested = {int(number) for number, text in rows if re.search(rf"`test_row_{int(number):02}_", text)}
    assert tested == set(range(1, 35)), "every fault has a test"
    named = set(re.findall(r"`(test_\w+)`", table))
    written, of_faults = (_written(folder) for folder in (tests, tests / "faults"))
    assert named <= written, "every test that is named exists"
    assert {name for name in of_faults if re.match(r"test_row_\d\d_", name)} <= named, "every test of a fault is named"


def _written(folder: Path) -> set[str]:
    return {name for path in folder.rglob("test_*.py") for name in re.findall(r"def (test_\w+)\(", path.read_text())}
