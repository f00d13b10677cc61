"""Two buckets and a table made from a seed, as `examples/two-buckets.toml` finds them, and what must come of them."""

import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

from benchmarks.photographs import photograph_jpeg
from tests.faults.checker import Bucket
from tests.faults.two_buckets_database import Database

MIB = 1024 * 1024

FIRST = "demeter-photos-original"
SECOND = "demeter-photos-viz"

ODD_SESSIONS = (
    "lot 7 & more",
    "plus+sign",
    "percent%20not decoded",
    "question?and#hash",
    "nfc-\u00e9",
    "nfd-e\u0301",
    "emoji-\U0001f4f7",
    "quote'\"double",
    "{braces}",
    "...dots",
    "UPPER",
    "upper",
)


@dataclass(frozen=True, slots=True)
class Photo:
    """An object as its owner stored it: bytes, headers by the names of boto3, user metadata, tags."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Move:
    """One item that a migration has to make: the source of the configuration, and where its object stood."""

    source: str
    bucket: str
    key: str


@dataclass(slots=True)
class World:
    """What stands before the migration, and what has to happen.

    first, second  the content of both buckets
    rows           of the table, by column
    moves          key in the destination -> where its object comes from
    updates        primary key (as text) -> key that its row must hold afterwards; no other row changes
    thumbnails     key in the destination -> the photograph that it must show; other originals are no images
    """

    first: dict[str, Photo] = field(default_factory=dict)
    second: dict[str, Photo] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    moves: dict[str, Move] = field(default_factory=dict)
    updates: dict[str, str] = field(default_factory=dict)
    thumbnails: dict[str, bytes] = field(default_factory=dict)

    def arrived(self) -> dict[str, Photo]:
        """The whole content of the destination when all is done: nothing of what stood there is gone."""
        buckets = {FIRST: self.first, SECOND: self.second}
        return self.first | {key: buckets[move.bucket][move.key] for key, move in self.moves.items()}


def build_world(seed: int, kind: str, count: int, large: int = 12 * MIB) -> World:
    """`count` originals and as many visualizations with rows, and what nobody may touch. `kind` is the database's."""
    draw = random.Random(seed)
    world = World()
    row = _rows(draw, kind)
    regular = (f"2019-{draw.randrange(12):02d}-{number:05d}" for number in range(count))
    sessions = [*ODD_SESSIONS, *regular][:count]
    for number, session in enumerate(sessions):
        # The first few are large, and one is empty: both ends of what a copy has to do.
        size = large if number in (20, 21) else 0 if number == 22 else None
        extension = draw.choice(("jpg", "jpg", "jpeg", "JPG", "tif"))
        _original(world, draw, f"{session}/IMG {number}.{extension}", f"{session}/original.{extension}", size)
        if size is None and number % 4 == 1:
            _photograph(world, number, f"{session}/IMG {number}.{extension}", f"{session}/thumbnail.jpg")
        key = f"{session}/viz_scan+{number}.png"
        _visualization(world, draw, key, f"{session}/processed.png", size)
        for _ in range(2 if number % 50 == 7 else 1):
            made = row(SECOND, key)
            world.rows.append(made)
            world.updates[str(made["image_id"])] = f"{session}/processed.png"
        if number % 8 == 0:
            original = f"{session}/IMG {number}.{extension}"
            world.rows += [row(draw.choice((FIRST, "elsewhere", None)), original), row(FIRST, None)]
    _bystanders(world, draw)
    draw.shuffle(world.rows)
    return world


def _original(world: World, draw: random.Random, key: str, target: str, size: int | None) -> None:
    world.first[key] = _photo(draw, "image/jpeg", size)
    world.moves[target] = Move("originals", FIRST, key)


def _photograph(world: World, number: int, key: str, thumbnail: str) -> None:
    """Makes the object that stands under `key` a real image, of which there must be a thumbnail."""
    body = photograph_jpeg(number, (360, 240))
    world.first[key] = replace(world.first[key], body=body)
    world.thumbnails[thumbnail] = body


def _visualization(world: World, draw: random.Random, key: str, target: str, size: int | None) -> None:
    world.second[key] = _photo(draw, "image/png", size)
    world.moves[target] = Move("visualizations", SECOND, key)


def _bystanders(world: World, draw: random.Random) -> None:
    """Objects that the configuration does not mean: they stay as they are."""
    for key in ("readme.txt", "deep/er/IMG 1.jpg", "no extension/IMG", "done before/original.jpg"):
        world.first[key] = _photo(draw, "text/plain", None)
    for key in ("2019/viz_of no row.png", "readme.txt"):
        world.second[key] = _photo(draw, "text/plain", None)


def _photo(draw: random.Random, content_type: str, size: int | None) -> Photo:
    if size is None:
        size = draw.choices((1, 100, 5_000, 100_000), (2, 10, 20, 1))[0] + draw.randrange(50)
    headers = {"ContentType": content_type}
    if draw.random() < 0.2:
        headers |= {
            "CacheControl": f"max-age={draw.randrange(9999)}",
            "ContentDisposition": 'inline; filename="photo.jpg"',
            "ContentLanguage": "da",
        }
    about = {"camera": f"No. {draw.randrange(99)}", "room": "B 12", "mtime": "1546300800.25"}
    metadata = about if draw.random() < 0.3 else {}
    tags = {"lot": str(draw.randrange(99)), "who": "a b+c"} if draw.random() < 0.1 else {}
    return Photo((b"\x01" + draw.randbytes(size))[:size], headers, metadata, tags)


def _rows(draw: random.Random, kind: str) -> Callable[[str | None, str | None], dict[str, Any]]:
    """Makes rows with columns of many types, some of them NULL."""
    numbers = iter(draw.sample(range(1, 2_000_000_000), 20_000))
    zone = UTC if kind == "postgres" else None

    def row(bucket: str | None, key: str | None) -> dict[str, Any]:
        number = next(numbers)
        known = draw.random() < 0.8
        taken = datetime(2019, 1, 1, tzinfo=zone) + timedelta(
            seconds=number % 30_000_000, microseconds=number % 999_983
        )
        return {
            "image_id": uuid.UUID(int=draw.getrandbits(128), version=4) if kind == "postgres" else number,
            "s3_bucket": bucket,
            "s3_key_original": key,
            "taken_at": taken if known else None,
            "details": f'{{"lot": {number}, "words": ["\u00e6", null]}}' if known else None,
            "price": Decimal(number) / 10_000 if known else None,
            "kind": draw.choice(("photo", "scan")) if known else None,
            "note": f"note {number} \U0001f4f7" if known else None,
        }

    return row


def put_world(world: World, database: Database, first: Bucket, second: Bucket) -> None:
    """Fills both buckets and the table."""
    for bucket, photos in ((first, world.first), (second, world.second)):
        s3 = bucket.client()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda entry, s3=s3, name=bucket.name: put_photo(s3, name, *entry), photos.items()))
    database.make_table(world.rows)


def put_photo(s3: Any, bucket: str, key: str, photo: Photo) -> None:
    """Stores it as its owner did: a large one in parts, so that its ETag is no MD5."""
    tagging = {"Tagging": _query(photo.tags)} if photo.tags else {}
    about = {"Bucket": bucket, "Key": key, "Metadata": dict(photo.metadata), **photo.headers, **tagging}
    if len(photo.body) < 8 * MIB:
        s3.put_object(Body=photo.body, **about)
        return
    upload = {"Bucket": bucket, "Key": key, "UploadId": s3.create_multipart_upload(**about)["UploadId"]}
    parts = []
    for number, start in enumerate(range(0, len(photo.body), 5 * MIB), 1):
        piece = photo.body[start : start + 5 * MIB]
        answer = s3.upload_part(PartNumber=number, Body=piece, **upload)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)


def _query(tags: Mapping[str, str]) -> str:
    return urlencode(tags, quote_via=quote)  # Ceph takes a plus for a plus


def remove_bucket(bucket: Bucket) -> None:
    """Deletes the bucket with all of its versions and open uploads."""
    s3 = bucket.client()
    for upload in s3.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []):
        s3.abort_multipart_upload(Bucket=bucket.name, Key=upload["Key"], UploadId=upload["UploadId"])
    for batch in _versions(s3, bucket.name):
        s3.delete_objects(Bucket=bucket.name, Delete={"Objects": batch, "Quiet": True})
    s3.delete_bucket(Bucket=bucket.name)


def _versions(s3: Any, name: str) -> Iterator[list[dict[str, str]]]:
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        entries = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if entries:
            yield [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
