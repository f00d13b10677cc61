"""Row 4: servers that refuse in words what they do not offer: Backblaze B2, OpenStack Swift, OSS."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.actions import check_digests, refuse_request_headers, s3_error
from tests.faults.checker import Bucket
from tests.faults.harness import Migration
from tests.faults.proxy import Action, Forward, Proxy, Rule
from tests.faults.wire import Answer, Request
from tests.faults.world import MIB, small_tree, write_tree

pytestmark = pytest.mark.faults

NOT_IMPLEMENTED = s3_error(501, "NotImplemented")
CONDITIONS = ("if-match", "if-none-match")


def everywhere(action: Action, method: str = "") -> Rule:
    """What the server does to every request."""
    return Rule(action, method=method, times=None)


async def refuse_checksums_of_parts(request: Request, forward: Forward) -> Answer:
    """Its schema of a completion knows numbers and ETags of parts, and nothing else."""
    checksums = request.method == "POST" and b"<Checksum" in await request.body()
    return s3_error(400, "MalformedXML") if checksums else await forward(request)


def like_swift() -> list[Rule]:
    """OpenStack Swift; as far as conditions go, also Alibaba's OSS, LocalStack, and AWS itself until 2024."""
    refused = refuse_request_headers(NOT_IMPLEMENTED, *CONDITIONS)
    return [everywhere(refused, "PUT|DELETE"), everywhere(refuse_checksums_of_parts), everywhere(check_digests, "PUT")]


def like_b2() -> list[Rule]:
    """https://www.backblaze.com/docs/cloud-storage-s3-compatible-api, and what users of other tools reported."""
    unsupported = s3_error(400, "InvalidArgument")
    return [
        everywhere(refuse_request_headers(NOT_IMPLEMENTED, *CONDITIONS), "PUT|POST|DELETE"),
        everywhere(refuse_request_headers(unsupported, "x-amz-checksum-.*", "x-amz-sdk-checksum-.*")),
        everywhere(check_digests, "PUT"),
    ]


SERVERS = pytest.mark.parametrize("rules", [like_swift, like_b2])


@SERVERS
def test_row_04_what_a_server_refuses_is_done_without(
    folder: Path, bucket: Bucket, proxy: Proxy, rules: Callable[[], list[Rule]]
) -> None:
    contents = small_tree(folder) | write_tree(folder / "tree", {"large/a.bin": b"0123456789abcdef" * MIB})
    taken = next(iter(contents))
    client = bucket.client()
    client.put_object(Bucket=bucket.name, Key=taken, Body=b"somebody else's")
    proxy.rules += rules()
    migration = Migration(folder, bucket, endpoint=proxy.url)
    finished = migration.run()
    assert finished.status == 1, finished.words
    assert migration.items()[taken] == ("failed", "conflict")
    assert client.get_object(Bucket=bucket.name, Key=taken)["Body"].read() == b"somebody else's"

    overwriting = {"MIGRATOR_DESTINATION__ON_CONFLICT": "overwrite"}
    finished = migration.run("migrate", "--retry-failed", environment=overwriting)
    assert finished.status == 0, finished.words
    assert {key: client.get_object(Bucket=bucket.name, Key=key)["Body"].read() for key in contents} == contents
    verified = migration.run("verify")
    assert verified.status == 0, verified.words
    undone = migration.run("rollback", "--yes")
    assert undone.status == 0, undone.words
    assert [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket.name)["Contents"]] == [taken]
    assert client.get_object(Bucket=bucket.name, Key=taken)["Body"].read() == b"somebody else's"


@SERVERS
def test_row_04_a_server_that_refuses_conditions_copies_all_the_same(
    folder: Path, bucket: Bucket, proxy: Proxy, rules: Callable[[], list[Rule]]
) -> None:
    contents = {f"old/{number}.raw": bytes([number]) * 900 for number in range(8)} | {"old/large.raw": b"x" * 6 * MIB}
    for key, body in contents.items():
        bucket.client().put_object(Bucket=bucket.name, Key=key, Body=body)
    proxy.rules += rules()
    source = {"type": "bucket", "bucket": bucket.name, "prefix": "old/", "key": "new/{name}"}
    migration = Migration(folder, bucket, endpoint=proxy.url, sources=[source], transfer={"copy_threshold": "5MiB"})
    finished = migration.run("migrate", "--copy-mode", "server")
    assert finished.status == 0, finished.words
    for key, body in contents.items():
        copied = bucket.client().get_object(Bucket=bucket.name, Key=key.replace("old/", "new/"))
        assert copied["Body"].read() == body
