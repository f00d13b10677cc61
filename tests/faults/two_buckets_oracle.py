"""The oracle of two buckets and a table: what stands, what the rows say, when each was written, what the ledger says.

It reads raw S3, the database by its driver and the ledger as plain SQLite, and shares no code with the tool. Every
function answers with the differences that it found, in words; none when all is well.
"""

import hashlib
import io
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import ClientError
from PIL import Image, ImageChops, ImageStat

from tests.faults.checker import Bucket, bucket_differences, tally_differences
from tests.faults.two_buckets_database import Change
from tests.faults.two_buckets_world import FIRST, SECOND, Photo, World

ADDED = ("s3_key_processed", "image_type")
"""The columns that setup adds."""

OWN = "migrator-"
"""How user metadata of the tool's own begins; whatever else an object carries is its owner's, but for `mtime`.

That is the source's time, as rclone writes it, where the owner said nothing under that name.
"""

Rows = Mapping[str, Mapping[str, Any]]


def photo_differences(bucket: Bucket, expected: Mapping[str, Photo]) -> list[str]:
    """The whole bucket: each object once, with its bytes, headers, metadata and tags; nothing else."""
    found = bucket_differences(bucket, {key: photo.body for key, photo in expected.items()})
    missing = {line.removeprefix("missing in the bucket: ") for line in found}
    s3 = bucket.client()

    def compare(entry: tuple[str, Photo]) -> list[str]:
        return _header_differences(s3, bucket.name, *entry)

    with ThreadPoolExecutor(4) as pool:
        standing = [entry for entry in sorted(expected.items()) if repr(entry[0]) not in missing]
        return found + [line for lines in pool.map(compare, standing) for line in lines]


def thumbnail_differences(bucket: Bucket, world: World) -> tuple[list[str], dict[str, Photo]]:
    """The thumbnails against what they must show, and those that stand as objects that ought to."""
    s3 = bucket.client()
    found, standing = [], {}
    for key, original in world.thumbnails.items():
        try:
            body = s3.get_object(Bucket=bucket.name, Key=key)["Body"].read()
        except ClientError:
            found.append(f"missing in the bucket: {key!r}")
            continue
        standing[key] = Photo(body, {"ContentType": "image/jpeg"})
        made, whole = Image.open(io.BytesIO(body)), Image.open(io.BytesIO(original))
        if (made.format, made.size) != ("JPEG", (300, 200)):
            found.append(f"wrong thumbnail: {key!r} is a {made.format} of {made.size}")
        small, other = (each.convert("RGB").resize((16, 16), Image.Resampling.BOX) for each in (made, whole))
        if max(ImageStat.Stat(ImageChops.difference(small, other)).mean) > 8:
            found.append(f"wrong thumbnail: {key!r} shows something else")
    return found, standing


def _header_differences(s3: Any, bucket: str, key: str, photo: Photo) -> list[str]:
    head = s3.head_object(Bucket=bucket, Key=key)
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]}
    added = {"mtime"} - photo.metadata.keys()
    metadata = {
        name: value for name, value in head["Metadata"].items() if name not in added and not name.startswith(OWN)
    }
    names = ("ContentType", "CacheControl", "ContentDisposition", "ContentLanguage", "ContentEncoding")
    headers = {name: head[name] for name in names if head.get(name)}
    compared = (
        ("headers", headers, photo.headers),
        ("metadata", metadata, photo.metadata),
        ("tags", tags, photo.tags),
    )
    return [f"wrong {what} in the bucket: {key!r}: {is_}, not {ought}" for what, is_, ought in compared if is_ != ought]


def row_differences(before: Rows, after: Rows, updates: Mapping[str, str]) -> list[str]:
    """The table: rows of `updates` hold exactly the new values, every other row and column is as it was."""
    found = [f"row {row} is gone" for row in sorted(before.keys() - after.keys())]
    found += [f"row {row} is new" for row in sorted(after.keys() - before.keys())]
    for row in sorted(before.keys() & after.keys()):
        ought = dict.fromkeys(ADDED) | dict(before[row])
        if row in updates:
            ought |= {"s3_bucket": FIRST, "s3_key_processed": updates[row], "image_type": "processed"}
        found += [
            f"row {row}: {column} is {after[row].get(column)!r}, not {ought.get(column)!r}"
            for column in sorted(ought.keys() | after[row].keys())
            if after[row].get(column) != ought.get(column)
        ]
    return found


def change_differences(
    changes: Sequence[Change], updates: Mapping[str, str], stood: Mapping[str, float] | None = None
) -> list[str]:
    """What the triggers saw: one update of each row of `updates`, none of others.

    With `stood` (key -> when the server first told the tool that it stands) no update may be older than that.
    """
    found = [f"row {change.row}: {change.what}" for change in changes if change.what != "update"]
    written = Counter(change.row for change in changes if change.what == "update")
    found += [f"row {row} was updated {count} times" for row, count in sorted(written.items()) if count > 1]
    found += [f"row {row} was updated, but nobody asked for it" for row in sorted(written.keys() - updates.keys())]
    found += [f"row {row} was never updated" for row in sorted(updates.keys() - written.keys())]
    for change in changes if stood is not None else ():
        since = (stood or {}).get(updates.get(change.row, ""))
        if change.row in updates and (since is None or since > change.at):
            early = (
                "whose object never stood" if since is None else f"{since - change.at:.6f} s before its object stood"
            )
            found.append(f"row {change.row} was updated {early}: {updates[change.row]!r}")
    return found


def structure_differences(before: Iterable[tuple[str, ...]], after: Iterable[tuple[str, ...]]) -> list[str]:
    """The tables of the database: the columns that setup adds came, nothing else did, nothing went."""
    came = {(row[0], row[1]) for row in set(after) - set(before)}
    wanted = {("s3_images", column) for column in ADDED}
    return (
        [f"the column {'.'.join(row[:2])} is gone or another" for row in sorted(set(before) - set(after))]
        + [f"nobody asked for the column {'.'.join(pair)}" for pair in sorted(came - wanted)]
        + [f"the column {'.'.join(pair)} is missing" for pair in sorted(wanted - came)]
    )


def ledger_differences(ledger: Path, world: World, before: Rows) -> list[str]:
    """The ledger: one stored item for each move, one written record for each update, and tallies that count them."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        sound = database.execute("PRAGMA quick_check").fetchone()[0]
        if sound != "ok":
            return [f"the ledger is damaged: {sound}"]
        items = database.execute(
            "SELECT items.*, sources.name AS origin FROM items JOIN sources ON sources.id = items.source"
        ).fetchall()
        records = database.execute(
            "SELECT records.*, items.key AS item_key FROM records LEFT JOIN items ON items.id = records.item"
        ).fetchall()
        return [
            *_item_differences(items, world),
            *_record_differences(records, world.updates, before),
            *tally_differences(database),
            *_record_tally_differences(database),
            *_variant_differences(database, world),
            *(f"the ledger still holds an upload: {tuple(row)}" for row in database.execute("SELECT * FROM uploads")),
            *(f"a problem in the ledger: {tuple(row)}" for row in database.execute("SELECT * FROM problems")),
        ]


def _item_differences(items: Sequence[sqlite3.Row], world: World) -> list[str]:
    photos = {FIRST: world.first, SECOND: world.second}
    found = []
    for item in items:
        key, move = item["key"], world.moves.get(item["key"])
        if move is None:
            found.append(f"nobody asked for it in the ledger: {key!r} from {item['location']}")
            continue
        if item["state"] != "stored":
            found.append(f"{item['state']} in the ledger: {key!r}: {item['fault']}: {item['message']}")
            continue
        body = photos[move.bucket][move.key].body
        place = f"s3://{move.bucket}/{move.key}"
        if item["origin"] != move.source or place not in (item["location"], unquote(item["location"])):
            found.append(f"from elsewhere in the ledger: {key!r} from {item['origin']}, {item['location']}")
        if item["sha256"] not in (None, hashlib.sha256(body).hexdigest()):
            found.append(f"wrong sha256 in the ledger: {key!r} has {item['sha256']}")
        if item["stored_size"] != len(body):
            found.append(f"wrong size in the ledger: {key!r} has {item['stored_size']}, not {len(body)}")
    count = Counter(item["key"] for item in items)
    found += [f"missing in the ledger: {key!r}" for key in sorted(world.moves.keys() - count.keys())]
    return found + [f"{number} rows in the ledger: {key!r}" for key, number in sorted(count.items()) if number > 1]


def _record_differences(records: Sequence[sqlite3.Row], updates: Mapping[str, str], before: Rows) -> list[str]:
    found = []
    count: Counter[str] = Counter()
    for record in records:
        row = _primary_key(record["primary_key"])
        count[row] += 1
        if row not in updates:
            found.append(f"nobody asked for its record in the ledger: row {row}")
            continue
        if record["state"] != "recorded":
            found.append(f"{record['state']} in the ledger: row {row}: {record['fault']}: {record['message']}")
        if record["item_key"] != updates[row]:
            found.append(f"row {row} belongs to {record['item_key']!r} in the ledger, not to {updates[row]!r}")
        was = dict.fromkeys(ADDED) | {"s3_bucket": before[row]["s3_bucket"]}
        becomes = {"s3_bucket": FIRST, "s3_key_processed": updates[row], "image_type": "processed"}
        for column, ought in (("before_image", was), ("after_image", becomes)):
            if json.loads(record[column] or "null") != ought:
                found.append(f"row {row} has the {column} {record[column]}, not {ought}")
    found += [f"row {row} has no record in the ledger" for row in sorted(updates.keys() - count.keys())]
    return found + [f"row {row} has {number} records in the ledger" for row, number in count.items() if number > 1]


def _variant_differences(database: sqlite3.Connection, world: World) -> list[str]:
    query = "SELECT key, state, fault, message FROM variants WHERE state <> 'skipped' ORDER BY key"
    rows = [tuple(row) for row in database.execute(query)]
    wrong = [row for row in rows if row[1] != "stored" or row[0] not in world.thumbnails]
    missing = world.thumbnails.keys() - {row[0] for row in rows}
    return [f"wrong variant in the ledger: {row}" for row in wrong] + [
        f"missing variant in the ledger: {key!r}" for key in sorted(missing)
    ]


def _primary_key(text: str) -> str:
    """The one value of a primary key, as text; what JSON has no type for is an object of one member."""
    (value,) = json.loads(text)
    return str(next(iter(value.values())) if isinstance(value, dict) else value)


def _record_tally_differences(database: sqlite3.Connection) -> list[str]:
    counted = "SELECT source, state, coalesce(fault, ''), count(*) FROM records GROUP BY 1, 2, 3"
    kept = "SELECT source, state, reason, records FROM record_tallies WHERE records <> 0"
    rows = {tuple(row) for row in database.execute(counted)}
    tallies = {tuple(row) for row in database.execute(kept)}
    return [f"records say {row}, their tallies do not" for row in sorted(rows - tallies)] + [
        f"the tallies of records say {row}, they do not" for row in sorted(tallies - rows)
    ]
