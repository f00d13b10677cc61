"""The oracle: raw S3, the ledger as plain SQLite, and what ought to be there. Shares no code with the tool."""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.client import BaseClient, Config

ACCESS_KEY = "AKIAMIGRATORTEST0001"
SECRET_KEY = "migratorTestSecret0123456789abcdefABCDEF"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket on a real server, reached without any proxy."""

    endpoint: str
    name: str
    versioned: bool

    def client(self) -> Any:
        """A plain boto3 client."""
        return s3_client(self.endpoint)


@cache
def s3_client(endpoint: str) -> BaseClient:
    """A plain boto3 client for `endpoint`, path style; one for all tests, since making it takes a while."""
    config = Config(
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": 1},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=config,
    )


def check(
    bucket: Bucket, ledger: Path, expected: Mapping[str, bytes], failed: Mapping[str, str] | None = None
) -> list[str]:
    """Every difference between what stands and what should, in words; empty when all is well.

    `expected` is the whole content of the bucket that the ledger has to call stored; `failed` are the other keys of
    the ledger with their fault, none of which may stand in the bucket.
    """
    failed = failed or {}
    return [
        *bucket_differences(bucket, expected),
        *ledger_differences(ledger, expected, failed),
        *audit_differences(ledger),
    ]


def bucket_differences(bucket: Bucket, expected: Mapping[str, bytes]) -> list[str]:
    """The bucket against `expected`: each key once, with these bytes; nothing else, nothing half done."""
    s3 = bucket.client()
    found: list[str] = []
    standing = Counter(key for key, _, _ in _objects(s3, bucket.name))
    for key in sorted(expected.keys() - standing.keys()):
        found.append(f"missing in the bucket: {key!r}")
    for key in sorted(standing.keys() - expected.keys()):
        found.append(f"nobody asked for it in the bucket: {key!r}")
    for key in sorted(standing.keys() & expected.keys()):
        body = s3.get_object(Bucket=bucket.name, Key=key)["Body"].read()
        if body != expected[key]:
            found.append(
                f"wrong bytes in the bucket: {key!r} has {len(body)} bytes, not the {len(expected[key])} of its source"
            )
    if bucket.versioned:
        found += _version_differences(s3, bucket.name)
    uploads = s3.list_multipart_uploads(Bucket=bucket.name).get("Uploads", [])
    found += [f"open multipart upload: {upload['Key']!r}" for upload in uploads]
    return found


def _version_differences(s3: Any, name: str) -> list[str]:
    versions: Counter[str] = Counter()
    markers = []
    # boto asks for encoded keys by itself, and decodes them only then: its markers would be wrong otherwise.
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        versions.update(version["Key"] for version in page.get("Versions", []))
        markers += [marker["Key"] for marker in page.get("DeleteMarkers", [])]
    twice = [f"stored {count} times: {key!r}" for key, count in sorted(versions.items()) if count > 1]
    return twice + [f"delete marker: {key!r}" for key in markers]


def _objects(s3: Any, name: str) -> Iterator[tuple[str, int, str]]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        for entry in page.get("Contents", []):
            yield entry["Key"], entry["Size"], entry["ETag"]


def ledger_differences(ledger: Path, expected: Mapping[str, bytes], failed: Mapping[str, str]) -> list[str]:
    """The ledger against what should be in it, and against itself."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        sound = database.execute("pragma quick_check").fetchone()[0]
        if sound != "ok":
            return [f"the ledger is damaged: {sound}"]
        rows = database.execute("select * from items").fetchall()
        return [
            *_item_differences(rows, expected, failed),
            *tally_differences(database),
            *(f"the ledger still holds an upload: {tuple(row)}" for row in database.execute("select * from uploads")),
        ]


def _item_differences(rows: list[sqlite3.Row], expected: Mapping[str, bytes], failed: Mapping[str, str]) -> list[str]:
    found = []
    stored: Counter[str] = Counter()
    for row in rows:
        key, state = row["key"], row["state"]
        if state == "failed":
            if failed.get(key) != row["fault"]:
                found.append(f"failed in the ledger as {row['fault']}: {key!r}: {row['message']}")
        elif state != "stored":
            found.append(f"{state} in the ledger: {key!r}: {row['message']}")
        elif key not in expected:
            found.append(f"nobody asked for it in the ledger: {key!r}")
        else:
            stored[key] += 1
            found += _digest_differences(row, expected[key])
    found += [f"missing in the ledger: {key!r}" for key in sorted(expected.keys() - stored.keys())]
    found += [f"{count} rows in the ledger: {key!r}" for key, count in sorted(stored.items()) if count > 1]
    return found


def _digest_differences(row: sqlite3.Row, body: bytes) -> list[str]:
    digest = row["sha256"].hex() if isinstance(row["sha256"], bytes) else row["sha256"]
    size = row["stored_size"]
    found = []
    # Of what the server copied by itself the ledger may hold no digest; the bytes are compared all the same.
    copied = digest is None and row["location"].startswith("s3://")
    if not copied and digest != hashlib.sha256(body).hexdigest():
        found.append(f"wrong sha256 in the ledger: {row['key']!r} has {digest}")
    if size != len(body):
        found.append(f"wrong size in the ledger: {row['key']!r} has {size}, not {len(body)}")
    return found


def tally_differences(database: sqlite3.Connection) -> list[str]:
    """The tallies of items against their rows."""
    counted = "select source, state, coalesce(fault, ''), count(*) from items group by 1, 2, 3"
    kept = "select source, state, reason, items from tallies where items <> 0"
    rows = {tuple(row) for row in database.execute(counted)}
    tallies = {tuple(row) for row in database.execute(kept)}
    return [f"rows say {row}, the tallies do not" for row in sorted(rows - tallies)] + [
        f"the tallies say {row}, the rows do not" for row in sorted(tallies - rows)
    ]


_CHANGED = """
    select 'object', key from items where state = 'stored' and without_original is null
    union all select 'variant', key from variants where state = 'stored'
    union all select 'row', primary_key from records where state = 'recorded' and before_image is not null
"""
"""What the ledger says was changed outside it."""


def audit_differences(ledger: Path) -> list[str]:
    """The audit log against itself, and against all that the ledger says was done: each has a line of it."""
    hashes: list[str] = []
    told: set[tuple[str, str]] = set()
    path = ledger.with_suffix(".audit.jsonl")
    for raw in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        body, _, end = raw.rpartition(b',"hash":"')
        digest = hashlib.sha256(body + b"}").hexdigest()
        line = json.loads(raw)
        follows = (line["number"], line["previous"]) == (len(hashes) + 1, hashes[-1] if hashes else "0" * 64)
        if end != f'{digest}"}}\n'.encode() or not follows:
            return [f"the audit log is broken at line {len(hashes) + 1}"]
        hashes.append(digest)
        if line["deed"] in ("put", "copy", "adopt", "update"):
            told.add((line["kind"], line["name"]))
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as database:
        changed = database.execute(_CHANGED).fetchall()
        known = database.execute("select value from meta where key = 'audit'").fetchone()
    found = [f"the audit log does not tell of {kind} {name!r}" for kind, name in changed if (kind, name) not in told]
    head = json.loads(known[0]) if known else None
    if head and hashes[head["number"] - 1 : head["number"]] != [head["hash"]]:
        found.append(f"the audit log is not the one that the ledger knows: {head}")
    return found
