"""`examples/local-photos.toml` as an operator runs it: photographs, a table that names them, what must come of both.

The oracle reads raw S3, the database by its driver and the ledger as plain SQLite, looks at variants with Pillow, and
shares no code with the tool.
"""

import hashlib
import io
import random
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

from PIL import Image, ImageChops, ImageOps, ImageStat

from benchmarks.photographs import photograph_jpeg
from tests.ended import Ended
from tests.faults.checker import Bucket, audit_differences, tally_differences
from tests.faults.harness import TIMEOUT, Migration, finish
from tests.faults.two_buckets_database import Database

EXAMPLE = Path(__file__).parents[2] / "examples" / "local-photos.toml"
BUCKET = "inventory-photos"
CDN = "https://cdn.example.com/"
FORMATS = ("avif", "webp", "jpeg")
LONGEST = 100_000
"""Bytes that a `full` may have."""

COUNTER = """
import os, sys
if "migrator.images.worker" in sys.orig_argv:
    import hashlib
    from PIL import Image
    opened = Image.open

    def counted(file, *arguments, **options):
        line = hashlib.sha256(file.getvalue()).hexdigest() + chr(10)
        log = os.open(os.environ["RENDERS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, line.encode())
        os.close(log)
        return opened(file, *arguments, **options)

    Image.open = counted
"""
"""Loaded by every Python that starts: each image that is opened to be rendered is a line in the file RENDERS."""

TABLES = (
    """CREATE TABLE item_photos (id serial PRIMARY KEY, item_id integer NOT NULL, original_url text NOT NULL,
      thumbnail_url text, optimized_url text, file_size bigint, processing_status text DEFAULT 'pending', note text)""",
    """CREATE TABLE audit (number bigserial PRIMARY KEY, what text, id integer, at float8)""",
    """CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO audit (what, id, at) VALUES (lower(TG_OP), coalesce(NEW.id, OLD.id),
        extract(epoch from clock_timestamp())); RETURN NULL; END $$""",
)
TRIGGER = """CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON item_photos
  FOR EACH ROW EXECUTE FUNCTION note_change()"""
COLUMNS = ("id", "item_id", "original_url", "thumbnail_url", "optimized_url", "file_size", "processing_status", "note")


@dataclass(frozen=True, slots=True)
class Photo:
    """One photograph and its row."""

    id: int
    item: int
    path: str
    body: bytes
    size: tuple[int, int]
    """Upright."""

    @property
    def folder(self) -> str:
        """What all of its keys begin with."""
        return f"items/{self.item}/photos/{self.id}/"

    @property
    def original(self) -> str:
        """Key of the photograph itself."""
        return f"{self.folder}original.{self.path.rpartition('.')[2]}"

    @property
    def variants(self) -> dict[str, tuple[str, str]]:
        """Name and format by key."""
        names = {"full": "full", "thumbnail": "thumb"}
        return {f"{self.folder}{file}.{form}": (name, form) for name, file in names.items() for form in FORMATS}

    @property
    def referred(self) -> tuple[str, ...]:
        """Keys of all that has to stand before the row is updated."""
        return (self.original, *(f"{self.folder}{file}" for file in ("full.jpeg", "thumb.jpeg", "full.avif")))

    @property
    def row(self) -> dict[str, object]:
        """The columns that must be updated, as they must be then."""
        return {
            "original_url": f"{CDN}{self.folder}full.jpeg",
            "thumbnail_url": f"{CDN}{self.folder}thumb.jpeg",
            "optimized_url": f"{CDN}{self.folder}full.avif",
            "file_size": len(self.body),
            "processing_status": "completed",
        }


@dataclass(slots=True)
class Album:
    """What stands before the migration. `before` is the whole table by primary key."""

    photos: list[Photo] = field(default_factory=list)
    before: dict[int, dict[str, Any]] = field(default_factory=dict)


def build_album(folder: Path, seed: int, count: int, database: Database) -> Album:
    """`count` photographs below public/uploads and their rows, among others that nobody may touch."""
    draw = random.Random(seed)
    database.execute(*TABLES)
    album = Album()
    with closing(database.connect()) as connection, closing(connection.cursor()) as cursor:
        for number in range(count):
            # Some are large enough to be made smaller and to need a lower quality; some lie on their side.
            size = (1500, 1100) if number % 25 == 3 else draw.choice(((400, 300), (300, 400), (120, 90)))
            orientation = draw.choice((1, 1, 6))
            body = photograph_jpeg(draw.randrange(2**32), size, orientation=orientation)
            name = draw.choice(("IMG {}.jpg", "caf\u00e9-{}.jpeg", "a+b%20{}.JPG", "{}.jpg")).format(number)
            path = f"{number % 7}/{name}"
            cursor.execute(
                "INSERT INTO item_photos (item_id, original_url, note) VALUES (%s, %s, %s) RETURNING id",
                (item := draw.randrange(1, 999), path, f"note {number}"),
            )
            upright = size if orientation == 1 else (size[1], size[0])
            album.photos.append(Photo(cursor.fetchone()[0], item, path, body, upright))
            if number % 9 == 0:
                cursor.execute(
                    "INSERT INTO item_photos (item_id, original_url, processing_status) VALUES (%s, %s, 'completed')",
                    (item, f"{CDN}done/{number}.jpg"),
                )
    for photo in album.photos:
        file = folder / "public" / "uploads" / photo.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(photo.body)
    database.execute(TRIGGER)
    album.before = table_of(database)
    return album


def table_of(database: Database) -> dict[int, dict[str, Any]]:
    """Every row by its primary key."""
    rows = database.ask(f"SELECT {', '.join(COLUMNS)} FROM item_photos")
    return {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in rows}


class LocalPhotos(Migration):
    """The example as it stands; what differs here (endpoint, database, short waits) comes from the environment.

    `opened` has the digests of the images that were opened by each run, `settled` those of the photographs that the
    ledger called stored before it.
    """

    def __init__(self, folder: Path, bucket: Bucket, album: Album, database: Database, *, endpoint: str = "") -> None:
        super().__init__(folder, bucket, endpoint=endpoint)
        self.ledger = folder / "checkpoints" / "local-photos.db"
        self.log = self.ledger.with_suffix(".log")
        self._digests = {photo.original: hashlib.sha256(photo.body).hexdigest() for photo in album.photos}
        self.settled: list[set[str]] = []
        self.intended: list[int] = []
        (folder / "sitecustomize.py").write_text(COUNTER)
        self.environment |= {
            "DATABASE_URL": database.url,
            "PYTHONPATH": str(folder),
            "MIGRATOR_TRANSFER__CONCURRENCY": "8",
            "MIGRATOR_TRANSFER__TIMEOUT": "10s",
            "MIGRATOR_TRANSFER__CONNECT_TIMEOUT": "5s",
        }

    def configure(
        self, sources: Sequence[Mapping[str, Any]], destination: Mapping[str, Any], transfer: Mapping[str, Any]
    ) -> None:
        """Takes the example, which has all of these."""
        self.config.write_text(EXAMPLE.read_text())

    def start(self, *arguments: str, **options: Any) -> "Popen[str]":
        """Notes what is done and what is on its way before each run, then starts it."""
        states: list[tuple[str, str]] = []
        if self.ledger.exists():
            with_tables = self.rows("SELECT 1 FROM sqlite_master WHERE name = 'items'")
            states = self.rows("SELECT key, state FROM items") if with_tables else []
        self.settled.append({self._digests[key] for key, state in states if state == "stored"})
        self.intended.append(sum(state == "intended" for _, state in states))
        self.environment["RENDERS"] = str(self.folder / f"renders-{len(self.settled)}")
        return super().start(*arguments, **options)

    def run(self, *arguments: str, **options: Any) -> Ended:
        """Rendering hundreds of photographs takes its time."""
        return finish(self.start(*arguments, **options), 10 * TIMEOUT)

    def opened(self) -> list[Counter[str]]:
        """How often each image was opened, run by run."""
        logs = (self.folder / f"renders-{number}" for number in range(1, len(self.settled) + 1))
        return [Counter(log.read_text().split() if log.exists() else ()) for log in logs]


def render_differences(migration: LocalPhotos, album: Album) -> list[str]:
    """Nothing is rendered again but what was on its way when a run was killed, and that once a run."""
    found = []
    runs = migration.opened()
    for number, (opened, settled) in enumerate(zip(runs, migration.settled, strict=True), 1):
        found += [f"run {number} opened {digest} {times} times" for digest, times in opened.items() if times > 1]
        found += [f"run {number} rendered {digest}, whose variants all stood" for digest in opened.keys() & settled]
    total = sum(map(len, runs))
    if total > len(album.photos) + sum(migration.intended):
        found.append(f"{total} were opened for {len(album.photos)} photographs, {migration.intended} on their way")
    if missing := len(album.photos) - len(set().union(*runs)):
        found.append(f"{missing} photographs were never opened: the counter does not count")
    return found


def object_differences(bucket: Bucket, album: Album) -> list[str]:
    """The bucket: every photograph and its six variants, each once and right, and nothing else."""
    client = bucket.client()
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket.name)
    versions = Counter(each["Key"] for page in pages for each in page.get("Versions", []))
    expected = {photo.original for photo in album.photos} | {key for photo in album.photos for key in photo.variants}
    found = [f"missing: {key}" for key in sorted(expected - versions.keys())]
    found += [f"nobody asked for it: {key}" for key in sorted(versions.keys() - expected)]
    found += [f"stored {times} times: {key}" for key, times in sorted(versions.items()) if times > 1]
    if found:
        return found
    with ThreadPoolExecutor(4) as pool:
        wrong = pool.map(lambda photo: _photo_differences(client, photo), album.photos)
        return [line for lines in wrong for line in lines]


def _photo_differences(client: Any, photo: Photo) -> list[str]:
    found = []
    if _get(client, photo.original)["Body"].read() != photo.body:
        found.append(f"wrong bytes: {photo.original}")
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(photo.body))).convert("RGB")
    for key, (name, form) in photo.variants.items():
        answer = _get(client, key)
        body = answer["Body"].read()
        made = Image.open(io.BytesIO(body))
        width, height = photo.size
        share = min(1, 1200 / max(width, height))
        side = min(width, height, 150)
        ought = (round(width * share), round(height * share)) if name == "full" else (side, side)
        about = (made.format, answer["ContentType"], answer.get("CacheControl"))
        if about != (form.upper(), f"image/{form}", "public, max-age=31536000, immutable"):
            found.append(f"{key} is {about}")
        if max(abs(a - b) for a, b in zip(made.size, ought, strict=True)) > (1 if name == "full" else 0):
            found.append(f"{key} has {made.size}, not {ought}")
        if name == "full" and len(body) > LONGEST:
            found.append(f"{key} has {len(body)} bytes")
        if made.getexif():
            found.append(f"{key} still has EXIF")
        same = ImageOps.fit(upright, made.size) if name == "thumbnail" else upright.resize(made.size)
        small, other = (each.convert("RGB").resize((16, 16), Image.Resampling.BOX) for each in (same, made))
        if max(ImageStat.Stat(ImageChops.difference(small, other)).mean) > 8:
            found.append(f"{key} shows something else")
    return found


def _get(client: Any, key: str) -> Any:
    return client.get_object(Bucket=BUCKET, Key=key)


def row_differences(album: Album, database: Database, stood: Mapping[str, float]) -> list[str]:
    """Each row updated once, rightly, and only after all that it refers to stood; no other row or column touched."""
    expected = {number: dict(row) for number, row in album.before.items()}
    for photo in album.photos:
        expected[photo.id] |= photo.row
    after = table_of(database)
    wrong = [number for number, row in expected.items() if after.get(number) != row]
    found = [f"row {number} is {after.get(number)}, not {expected[number]}" for number in wrong]
    found += [f"row {number} is new" for number in after.keys() - expected.keys()]
    changes = database.ask("SELECT what, id, at FROM audit ORDER BY number")
    found += [f"row {number}: {what}" for what, number, _ in changes if what != "update"]
    times = Counter(number for _, number, _ in changes)
    photos = {photo.id: photo for photo in album.photos}
    found += [f"row {number} was updated {count} times" for number, count in times.items() if count > 1]
    found += [f"row {number} was updated, but nobody asked for it" for number in times.keys() - photos.keys()]
    for _, number, at in changes:
        for key in photos[number].referred if number in photos else ():
            if stood.get(key, at) >= at:
                found.append(f"row {number} was updated before {key} stood")
    return found


def ledger_differences(ledger: Path, album: Album) -> list[str]:
    """The ledger: photographs and variants stored once under their keys, every record written, tallies to match."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as database:
        items = database.execute("SELECT key, state, sha256 FROM items").fetchall()
        variants = database.execute("SELECT key, state, name, format FROM variants").fetchall()
        records = database.execute("SELECT state, count(*) FROM records GROUP BY 1").fetchall()
        tallies = database.execute(
            "SELECT name, format, state, sum(variants) FROM variant_tallies WHERE variants <> 0 GROUP BY 1, 2, 3"
        ).fetchall()
        found = [*tally_differences(database), *audit_differences(ledger)]
    ought = sorted((photo.original, "stored", hashlib.sha256(photo.body).hexdigest()) for photo in album.photos)
    if sorted(items) != ought:
        found.append(f"items: {sorted(set(items) ^ set(ought))[:4]}")
    made = sorted((key, "stored", *each) for photo in album.photos for key, each in photo.variants.items())
    if sorted(variants) != made:
        found.append(f"variants: {sorted(set(variants) ^ set(made))[:4]}")
    if records != [("recorded", len(album.photos))]:
        found.append(f"records: {records}")
    counted = sorted((name, form, "stored", len(album.photos)) for name in ("full", "thumbnail") for form in FORMATS)
    if sorted(tallies) != counted:
        found.append(f"tallies of variants: {tallies}")
    return found
