"""The real side of the model test: a folder, a bucket on a server, a table in SQLite, a ledger; read from outside.

Shares no code with the tool.
"""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.s3 import S3Server

FILES = ("a", "b", "c")
ROWS = (1, 2, 3)
CONTENTS = (b"one", b"two", b"a longer one", b"")
"""Two have the same length, one has none."""

KEYS = {f"files/{name}": f"tree/{name}" for name in FILES} | {f"rows/{number}": f"uploads/{number}" for number in ROWS}
"""The file that each key comes from."""

CONFIG = """
name = "model"
[destination]
bucket = "{bucket}"
endpoint_url = "{endpoint}"
on_conflict = "{on_conflict}"
[transfer]
concurrency = 4
timeout = "20s"
[cleanup]
grace = "0s"
[[sources]]
name = "files"
type = "directory"
root = "tree"
key = "files/{{path}}"
[[sources]]
name = "rows"
type = "table"
database_url = "sqlite:///rows.sqlite"
query = "SELECT id FROM photos"
primary_key = ["id"]
root = "uploads"
location = "{{id}}"
key = "rows/{{id}}"
[sources.update]
table = "photos"
set = {{ s3_key = "{{key}}" }}
"""

MISCOUNTED = """
WITH counted AS (SELECT source, state, coalesce(fault, '') AS reason, count(*) AS number FROM items GROUP BY 1, 2, 3),
 told AS (SELECT source, state, reason, items FROM tallies WHERE items <> 0),
 rows_counted AS (SELECT source, state, coalesce(fault, ''), count(*) FROM records GROUP BY 1, 2, 3),
 rows_told AS (SELECT source, state, reason, records FROM record_tallies WHERE records <> 0)
SELECT * FROM (SELECT * FROM counted EXCEPT SELECT * FROM told)
UNION ALL SELECT * FROM (SELECT * FROM told EXCEPT SELECT * FROM counted)
UNION ALL SELECT * FROM (SELECT * FROM rows_counted EXCEPT SELECT * FROM rows_told)
UNION ALL SELECT * FROM (SELECT * FROM rows_told EXCEPT SELECT * FROM rows_counted)
"""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object; `body` None is a delete marker."""

    key: str
    id: str
    body: bytes | None
    latest: bool


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the ledger says: state and fault of items by key and of records by row; what it says twice, differently."""

    items: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    records: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    scans: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    """Source -> (begun, complete)."""
    problems: frozenset[str] = frozenset()
    verified: Mapping[str, str] = field(default_factory=dict)
    left: frozenset[str] = frozenset()
    miscounted: tuple[tuple[Any, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything at one moment. `rows` holds (s3_key, note) by id; `files` and `trash` the bytes by path."""

    versions: tuple[Version, ...]
    rows: Mapping[int, tuple[str | None, str]]
    files: Mapping[str, bytes]
    trash: Mapping[str, bytes]
    ledger: Ledger

    @property
    def objects(self) -> dict[str, bytes]:
        """What stands under each key, but for the tool's own."""
        return {
            each.key: each.body
            for each in self.versions
            if each.latest and each.body is not None and not each.key.startswith("_migrator/")
        }

    @property
    def reserved(self) -> dict[str, bytes]:
        """Backups and canaries that stand."""
        return {
            each.key: each.body
            for each in self.versions
            if each.latest and each.body is not None and each.key.startswith("_migrator/")
        }


class World:
    """One migration, and what anybody may do to its surroundings."""

    def __init__(self, folder: Path, server: S3Server, client: Any, bucket: str, on_conflict: str, *, versioned: bool):
        self.folder = folder
        self.bucket = bucket
        self._s3 = client
        self._copies = [folder / f"model.db{end}" for end in ("", "-wal", "-journal", "-shm")]
        self._clock = 1_600_000_000
        s3_versions = {"Status": "Enabled"}
        client.create_bucket(Bucket=bucket)
        if versioned:
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=s3_versions)
        for name in ("tree", "uploads"):
            (folder / name / "others").mkdir(parents=True)  # an empty root is that of a disk that is not mounted
        text = CONFIG.format(bucket=bucket, endpoint=server.endpoint, on_conflict=on_conflict)
        (folder / "migrator.toml").write_text(text)
        with closing(self._database()) as database, database:
            database.execute("CREATE TABLE photos (id INTEGER PRIMARY KEY, s3_key TEXT, note TEXT NOT NULL)")
            database.executemany("INSERT INTO photos VALUES (?, NULL, 'as it was')", [(number,) for number in ROWS])

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.folder / "rows.sqlite")

    def write(self, path: str, body: bytes) -> None:
        """A source with these bytes, and a time of its own."""
        self._clock += 1
        (self.folder / path).write_bytes(body)
        os.utime(self.folder / path, (self._clock, self._clock))

    def remove(self, path: str) -> None:
        """A source goes."""
        (self.folder / path).unlink(missing_ok=True)

    def put(self, key: str, body: bytes) -> None:
        """Somebody else puts an object."""
        self._s3.put_object(
            Bucket=self.bucket, Key=key, Body=body, ContentType="application/octet-stream", Metadata={"who": "them"}
        )

    def delete(self, key: str) -> None:
        """Somebody else deletes an object."""
        self._s3.delete_object(Bucket=self.bucket, Key=key)

    def change_row(self, number: int, column: str, value: str) -> None:
        """Somebody else sets a column of a row."""
        with closing(self._database()) as database, database:
            database.execute(f"UPDATE photos SET {column} = ? WHERE id = ?", (value, number))

    def delete_row(self, number: int) -> None:
        """Somebody else deletes a row."""
        with closing(self._database()) as database, database:
            database.execute("DELETE FROM photos WHERE id = ?", (number,))

    def look(self) -> Seen:
        """Everything, as it is now."""
        with closing(self._database()) as database:
            rows = {number: (key, note) for number, key, note in database.execute("SELECT * FROM photos")}
        files, trash = self._files(""), self._files(".migrator-trash")
        return Seen(self._versions(), rows, files, trash, self._ledger())

    def _files(self, below: str) -> dict[str, bytes]:
        return {
            f"{name}/{path.name}": path.read_bytes()
            for name in ("tree", "uploads")
            for path in (self.folder / name / below).glob("*")
            if path.is_file()
        }

    def _versions(self) -> tuple[Version, ...]:
        answer = self._s3.list_object_versions(Bucket=self.bucket)
        assert not answer["IsTruncated"]
        found = [
            Version(each["Key"], each["VersionId"], self._body(each), each["IsLatest"])
            for each in answer.get("Versions", [])
        ]
        found += [
            Version(each["Key"], each["VersionId"], None, each["IsLatest"]) for each in answer.get("DeleteMarkers", [])
        ]
        return tuple(found)

    def _body(self, entry: Mapping[str, Any]) -> bytes:
        """The server makes the ETag of the bytes it holds: those that are known need not be fetched."""
        known = _BY_ETAG.get(entry["ETag"].strip('"'))
        if known is None:
            version = {} if entry["VersionId"] == "null" else {"VersionId": entry["VersionId"]}
            known = self._s3.get_object(Bucket=self.bucket, Key=entry["Key"], **version)["Body"].read()
        return known

    def _ledger(self) -> Ledger:
        path = self.folder / "checkpoints" / "model.db"
        if not path.exists():
            return Ledger()
        # A copy: whoever opens a ledger that was killed puts it right, and that is for the tool to do.
        for old in self._copies:
            old.unlink(missing_ok=True)
        for part in path.parent.glob("model.db*"):
            shutil.copy(part, self.folder / part.name)
        with closing(sqlite3.connect(self.folder / path.name)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            if not {"items", "records", "verified", "left_alone"} <= tables:
                return Ledger()
            names = dict(database.execute("SELECT id, name FROM sources"))
            items = database.execute("SELECT id, key, state, coalesce(fault, '') FROM items").fetchall()
            keys = {number: key for number, key, _, _ in items}
            records = database.execute("SELECT primary_key, state, coalesce(fault, '') FROM records")
            verified = database.execute(
                "SELECT item, result FROM verified WHERE verification = (SELECT max(id) FROM verifications)"
            )
            scans = database.execute("SELECT source, cursor IS NOT NULL, complete FROM scans")
            return Ledger(
                {key: (state, fault) for _, key, state, fault in items},
                {int(row.strip("[]")): (state, fault) for row, state, fault in records},
                {names[source]: (bool(begun), bool(complete)) for source, begun, complete in scans},
                frozenset(place for (place,) in database.execute("SELECT place FROM problems")),
                {keys[item]: result for item, result in verified if item in keys},
                frozenset(name for (name,) in database.execute("SELECT name FROM left_alone")),
                tuple(database.execute(MISCOUNTED).fetchall()),
            )


_BY_ETAG = {hashlib.md5(body).hexdigest(): body for body in CONTENTS}
