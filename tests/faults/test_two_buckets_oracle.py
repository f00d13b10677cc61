"""The oracle of two buckets: it finds nothing after a faultless migration by hand, and each defect that is planted."""

import hashlib
import io
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.faults.checker import Bucket, s3_client
from tests.faults.proxy import Proxy
from tests.faults.servers import Server
from tests.faults.two_buckets import Stood, Watcher
from tests.faults.two_buckets_database import Database, database_missing, new_database
from tests.faults.two_buckets_oracle import (
    change_differences,
    ledger_differences,
    photo_differences,
    row_differences,
    structure_differences,
    thumbnail_differences,
)
from tests.faults.two_buckets_world import FIRST, SECOND, World, build_world, put_photo

pytestmark = pytest.mark.faults

ADD_COLUMNS = "ALTER TABLE s3_images ADD COLUMN s3_key_processed VARCHAR(512), ADD COLUMN image_type VARCHAR(16)"


@pytest.fixture(params=["postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    if missing := database_missing(request.param):
        pytest.skip(missing)
    with new_database(request.param) as made:
        yield made


def update(database: Database, row: str, key: str) -> None:
    """What the tool does to one row."""
    database.execute(
        f"UPDATE s3_images SET s3_bucket = '{FIRST}', s3_key_processed = '{key.replace(chr(39), chr(39) * 2)}',"
        f" image_type = 'processed' WHERE image_id = '{row}'"
    )


def test_objects_are_compared_with_what_was_there(bucket: Bucket) -> None:
    arrived = build_world(1, "postgres", 24, large=9 * 2**20).arrived()
    s3 = bucket.client()
    for key, photo in arrived.items():
        put_photo(s3, bucket.name, key, photo)
    assert photo_differences(bucket, arrived) == []
    described = [key for key, photo in arrived.items() if photo.metadata and photo.headers.get("CacheControl")]
    tagged = next(key for key, photo in arrived.items() if photo.tags and key not in described)
    missing, twice, other, *_ = (key for key in arrived if key not in (*described, tagged))
    put_photo(s3, bucket.name, described[0], replace(arrived[described[0]], metadata={"migrator-put": "a/1"}))
    put_photo(s3, bucket.name, described[1], replace(arrived[described[1]], headers={"ContentType": "image/gif"}))
    put_photo(s3, bucket.name, tagged, replace(arrived[tagged], tags={}))
    put_photo(s3, bucket.name, twice, arrived[twice])
    put_photo(s3, bucket.name, other, replace(arrived[other], body=arrived[other].body + b"!"))
    put_photo(s3, bucket.name, "stray", arrived[other])
    s3.delete_object(Bucket=bucket.name, Key=missing)
    found = "\n".join(photo_differences(bucket, arrived))
    for words in (
        f"missing in the bucket: {missing!r}",
        "nobody asked for it in the bucket: 'stray'",
        f"wrong bytes in the bucket: {other!r}",
        f"stored 2 times: {twice!r}",
        f"wrong metadata in the bucket: {described[0]!r}",
        f"wrong headers in the bucket: {described[1]!r}",
        f"wrong tags in the bucket: {tagged!r}",
    ):
        assert words in found
    assert "wrong metadata in the bucket: " + repr(described[1]) not in found


def test_rows_are_compared_with_what_they_were_and_with_what_their_triggers_saw(database: Database) -> None:
    world = build_world(2, database.kind, 20, large=100)
    database.make_table(world.rows)
    before, structure = database.table(), database.structure()
    database.execute(ADD_COLUMNS)
    assert structure_differences(structure, database.structure()) == []
    database.watch_table()
    for row, key in world.updates.items():
        update(database, row, key)
    stood = dict.fromkeys(world.updates.values(), 1.0)
    assert row_differences(before, database.table(), world.updates) == []
    assert change_differences(database.changes(), world.updates, stood) == []

    one, two, three, four, five = sorted(world.updates)[:5]
    alone, gone, *_ = sorted(before.keys() - world.updates.keys())
    update(database, one, world.updates[one])
    database.execute(f"UPDATE s3_images SET note = 'touched' WHERE image_id = '{two}'")
    database.execute(f"UPDATE s3_images SET s3_key_processed = 'elsewhere' WHERE image_id = '{three}'")
    update(database, alone, "x/processed.png")
    database.execute(f"DELETE FROM s3_images WHERE image_id = '{gone}'")
    stood |= {world.updates[four]: time.time() + 60}
    del stood[world.updates[five]]
    rows = row_differences(before, database.table(), world.updates)
    assert f"row {gone} is gone" in rows
    assert f"row {two}: note is 'touched', not {before[two]['note']!r}" in rows
    assert f"row {three}: s3_key_processed is 'elsewhere', not {world.updates[three]!r}" in rows
    assert f"row {alone}: image_type is 'processed', not None" in rows
    assert {line.split(":")[0] for line in rows} == {
        f"row {gone} is gone",
        *(f"row {row}" for row in (two, three, alone)),
    }
    changes = "\n".join(change_differences(database.changes(), world.updates, stood))
    for words in (
        f"row {gone}: delete",
        f"row {one} was updated 2 times",
        f"row {alone} was updated, but nobody asked for it",
        f"s before its object stood: {world.updates[four]!r}",
        f"row {five} was updated whose object never stood",
    ):
        assert words in changes
    assert "never updated" not in changes
    unwritten = [change for change in database.changes() if change.row != one]
    assert f"row {one} was never updated" in change_differences(unwritten, world.updates)
    database.execute("ALTER TABLE s3_images DROP COLUMN image_type", "CREATE TABLE stray (a integer)")
    grown = {row for row in database.structure() if row[0] != "audit"}
    assert structure_differences(structure, grown) == [
        "nobody asked for the column stray.a",
        "the column s3_images.image_type is missing",
    ]


def test_a_row_that_points_to_nothing_is_seen_at_once(server: Server, database: Database) -> None:
    bucket = server.make_bucket(FIRST)
    try:
        world = build_world(3, database.kind, 20, large=100)
        database.make_table(world.rows)
        database.execute(ADD_COLUMNS)
        database.watch_table()
        one, two, three, *rest = sorted(world.updates)
        arrived = world.arrived()
        for row in (one, two, three):
            put_photo(bucket.client(), FIRST, world.updates[row], arrived[world.updates[row]])
        with Watcher(database, bucket, world) as watcher:
            update(database, one, world.updates[one])
        assert (watcher.looks, watcher.differences) == (1, [])
        bucket.client().put_object(Bucket=FIRST, Key=world.updates[two], Body=b"half")
        with Watcher(database, bucket, world) as watcher:
            update(database, two, world.updates[two])
            update(database, three, "elsewhere")
            update(database, rest[0], world.updates[rest[0]])
        assert watcher.looks == 4
        assert [line.partition(" points to ")[0] for line in watcher.differences] == [
            f"row {row}" for row in (two, three, rest[0])
        ]
    finally:
        for key in ("elsewhere", *world.arrived()):
            bucket.client().delete_object(Bucket=FIRST, Key=key)
        bucket.client().delete_bucket(Bucket=FIRST)


def test_when_an_object_stood_is_what_the_server_said(bucket: Bucket, server: Server) -> None:
    stood = Stood(bucket.name)
    with Proxy(server.address, rules=[stood.rule()]) as proxy:
        s3 = s3_client(proxy.url)
        begun = time.time()
        s3.put_object(Bucket=bucket.name, Key="a + \u00fc/put", Body=b"1")
        s3.copy_object(Bucket=bucket.name, Key="copied", CopySource={"Bucket": bucket.name, "Key": "a + \u00fc/put"})
        upload = {"Bucket": bucket.name, "Key": "parts"}
        upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
        etag = s3.upload_part(PartNumber=1, Body=b"1", **upload)["ETag"]
        with pytest.raises(s3.exceptions.ClientError):
            s3.head_object(Bucket=bucket.name, Key="absent")
        assert set(stood.since) == {"a + \u00fc/put", "copied"}
        s3.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}, **upload)
    assert set(stood.since) == {"a + \u00fc/put", "copied", "parts"}
    assert all(begun <= at <= time.time() for at in stood.since.values())


LEDGER = """
    CREATE TABLE sources (id INTEGER PRIMARY KEY, name);
    CREATE TABLE items (id INTEGER PRIMARY KEY, source, location, key, state, fault, message, stored_size, sha256);
    CREATE TABLE records (item, source, primary_key, state, fault, message, before_image, after_image);
    CREATE TABLE tallies (source, state, reason, items);
    CREATE TABLE record_tallies (source, state, reason, records);
    CREATE TABLE uploads (item, upload_id);
    CREATE TABLE problems (place, position, fault, message);
    CREATE TABLE variants (key, state, fault, message);
    INSERT INTO sources VALUES (1, 'originals'), (2, 'visualizations');
"""


def write_ledger(path: Path, world: World) -> None:
    """A ledger of a finished migration, as far as the oracle looks."""
    photos, number = {FIRST: world.first, SECOND: world.second}, {}
    before = {"s3_bucket": SECOND, "s3_key_processed": None, "image_type": None}
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(LEDGER)
        for key, move in world.moves.items():
            body = photos[move.bucket][move.key].body
            digest = hashlib.sha256(body).hexdigest() if len(body) % 2 else None
            values = (1 if move.source == "originals" else 2, f"s3://{move.bucket}/{move.key}", key, len(body), digest)
            put = "INSERT INTO items VALUES (NULL, ?, ?, ?, 'stored', NULL, NULL, ?, ?) RETURNING id"
            number[key] = database.execute(put, values).fetchone()[0]
        for row, key in world.updates.items():
            name = json.dumps([{"$uuid": row}] if "-" in row else [int(row)])
            after = {"s3_bucket": FIRST, "s3_key_processed": key, "image_type": "processed"}
            database.execute(
                "INSERT INTO records VALUES (?, 2, ?, 'recorded', NULL, NULL, ?, ?)",
                (number[key], name, json.dumps(before), json.dumps(after)),
            )
        thumbnails = [(key,) for key in world.thumbnails]
        database.executemany("INSERT INTO variants VALUES (?, 'stored', NULL, NULL)", thumbnails)
        database.execute("INSERT INTO tallies SELECT source, state, '', count(*) FROM items GROUP BY 1")
        database.execute("INSERT INTO record_tallies SELECT source, state, '', count(*) FROM records GROUP BY 1")


def ledger_of(path: Path, world: World, *statements: str) -> str:
    """What the oracle finds in a faultless ledger after these statements."""
    path.unlink(missing_ok=True)
    write_ledger(path, world)
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)
    before = {str(row["image_id"]): row for row in world.rows}
    return "\n".join(ledger_differences(path, world, before))


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_the_ledger_is_compared_with_the_moves_and_the_updates(tmp_path: Path, kind: str) -> None:
    world, path = build_world(4, kind, 20, large=100), tmp_path / "ledger.db"
    assert ledger_of(path, world) == ""
    stray = "INSERT INTO items VALUES (NULL, 1, 's3://a/b', 'UPPER/processed.png', 'stored', NULL, NULL, 1, NULL)"
    for statement, words in {
        "UPDATE items SET state = 'intended' WHERE id = 3": "intended in the ledger: 'plus+sign/original",
        "UPDATE items SET key = 'x/original.jpg' WHERE id = 1": "nobody asked for it in the ledger: 'x/original.jpg'",
        "DELETE FROM items WHERE id = 4": "missing in the ledger: 'plus+sign/processed.png'",
        "UPDATE items SET sha256 = 'a' WHERE id = 3": "wrong sha256 in the ledger: 'plus+sign/original",
        "UPDATE items SET stored_size = 12345 WHERE id = 3": "wrong size in the ledger: 'plus+sign/original",
        "UPDATE items SET location = location || 'x' WHERE id = 4": "from elsewhere in the ledger: 'plus+sign/proc",
        stray: "2 rows in the ledger: 'UPPER/processed.png'",
        "UPDATE tallies SET items = 19 WHERE source = 1": "the tallies say",
        "INSERT INTO uploads VALUES (1, 'u')": "the ledger still holds an upload",
        "INSERT INTO problems VALUES ('a', 'b', 'gone', 'c')": "a problem in the ledger",
        "UPDATE records SET state = 'ready' WHERE rowid = 1": "ready in the ledger: row",
        "UPDATE records SET item = 2 WHERE rowid = 3": "in the ledger, not to 'percent%20not decoded/processed.png'",
        "UPDATE records SET before_image = after_image WHERE rowid = 3": "has the before_image",
        "UPDATE records SET before_image = NULL WHERE rowid = 3": "has the before_image None",
        "UPDATE records SET after_image = before_image WHERE rowid = 3": "has the after_image",
        "DELETE FROM records WHERE rowid = 2": "has no record in the ledger",
        "INSERT INTO records SELECT * FROM records WHERE rowid = 2": "has 2 records in the ledger",
        "UPDATE records SET primary_key = '[5]' WHERE rowid = 2": "nobody asked for its record in the ledger: row 5",
        "UPDATE record_tallies SET records = 1": "the tallies of records say",
        "DELETE FROM variants WHERE rowid = 1": "missing variant in the ledger: 'plus+sign/thumbnail.jpg'",
        "UPDATE variants SET state = 'failed' WHERE rowid = 1": "wrong variant in the ledger: ('plus+sign/thumb",
    }.items():
        assert words in ledger_of(path, world, statement), statement


def test_thumbnails_must_show_their_originals(bucket: Bucket) -> None:
    world = build_world(4, "postgres", 20, large=100)
    right, small, other, *rest = world.thumbnails
    for key in (right, small, other):
        made = Image.open(io.BytesIO(world.thumbnails[rest[0] if key == other else key]))
        buffer = io.BytesIO()
        made.resize((200, 133) if key == small else (300, 200)).save(buffer, "JPEG")
        bucket.client().put_object(Bucket=bucket.name, Key=key, Body=buffer.getvalue())
    found, standing = thumbnail_differences(bucket, world)
    assert found == [
        f"wrong thumbnail: {small!r} is a JPEG of (200, 133)",
        f"wrong thumbnail: {other!r} shows something else",
        *(f"missing in the bucket: {key!r}" for key in rest),
    ]
    assert list(standing) == [right, small, other]
