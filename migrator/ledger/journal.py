"""What else a migration remembers: its name, runs, capabilities, open uploads, tallies, the destination's listing."""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson
from msgspec.structs import asdict

from migrator.core.model import OpenUpload, State, Tally, Task
from migrator.core.objects import Capabilities, Digest
from migrator.core.oddities import Oddity
from migrator.ledger.seal import Seal

_PACE_KEPT = 30 * 24 * 3600
_PLACES, _LOOKED_AT = 8, 1000


def get_meta(connection: sqlite3.Connection, key: str) -> str | None:
    """A remembered value."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def set_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Remembers a value."""
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value)
    )


def capabilities(connection: sqlite3.Connection) -> Capabilities | None:
    """What the destination was last seen to honour."""
    text = get_meta(connection, "capabilities")
    if text is None:
        return None
    values = orjson.loads(text)
    digests = {name: Digest(values[name]) for name in ("digest", "part_digest")}
    return Capabilities(**values | digests | {"alters": tuple(map(Oddity, values.get("alters", ())))})


def keep_capabilities(connection: sqlite3.Connection, found: Capabilities) -> None:
    """Replaces what was known."""
    set_meta(connection, "capabilities", orjson.dumps(asdict(found)).decode())


def source_numbers(connection: sqlite3.Connection) -> dict[int, str]:
    """Names of the sources by number."""
    return dict(connection.execute("SELECT id, name FROM sources").fetchall())


def chosen(connection: sqlite3.Connection, sources: Sequence[str] | None) -> dict[int, str]:
    """The numbers and names of `sources`; None: of all."""
    known = source_numbers(connection)
    return known if sources is None else {number: name for number, name in known.items() if name in sources}


def source_number(connection: sqlite3.Connection, name: str) -> int:
    """The number of a source, given on first sight."""
    connection.execute("INSERT INTO sources (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
    (number,) = connection.execute("SELECT id FROM sources WHERE name = ?", (name,)).fetchone()
    return int(number)


def note_removed(connection: sqlite3.Connection, sources: Sequence[str]) -> list[str]:
    """Keeps which sources the configuration no longer has; it has `sources`. Their names."""
    wanted = orjson.dumps(list(sources)).decode()
    connection.execute("UPDATE sources SET removed = name NOT IN (SELECT value FROM json_each(?))", (wanted,))
    return [name for (name,) in connection.execute("SELECT name FROM sources WHERE removed").fetchall()]


def removed_sources(connection: sqlite3.Connection) -> frozenset[int]:
    """The numbers of sources that the configuration no longer has."""
    return frozenset(number for (number,) in connection.execute("SELECT id FROM sources WHERE removed").fetchall())


def problem_count(connection: sqlite3.Connection) -> int:
    """How many problems the latest scans met."""
    (count,) = connection.execute("SELECT coalesce(sum(problems), 0) FROM scans").fetchone()
    return int(count)


def collision_count(connection: sqlite3.Connection) -> int:
    """How many items want a key that another one had first."""
    (count,) = connection.execute("SELECT coalesce(sum(collisions), 0) FROM scans").fetchone()
    return int(count)


def recount(connection: sqlite3.Connection) -> None:
    """Takes the counts of problems and collisions from their rows, once more than a page of a scan has changed them."""
    connection.execute("UPDATE scans SET problems = (SELECT count(*) FROM problems WHERE source = scans.source)")
    connection.execute(
        "WITH colliding AS MATERIALIZED (SELECT source, count(*) AS number FROM items WHERE collides IS NOT NULL"
        " GROUP BY source) UPDATE scans SET"
        " collisions = coalesce((SELECT number FROM colliding WHERE colliding.source = scans.source), 0)"
    )


def tallies(connection: sqlite3.Connection) -> list[Tally]:
    """By source, state and reason; only those that count something."""
    rows = connection.execute("SELECT source, state, reason, items, bytes FROM progress").fetchall()
    return [Tally(source, State(state), reason, items, size) for source, state, reason, items, size in rows]


def begin_run(connection: sqlite3.Connection, command: str, config_hash: str) -> int:
    """Opens a run; what is older than 30 days leaves the pace."""
    now = int(time.time())
    connection.execute("DELETE FROM pace WHERE at < ?", (now - _PACE_KEPT,))
    return int(
        connection.execute(
            "INSERT INTO runs (command, config_hash, started_at) VALUES (?, ?, ?)", (command, config_hash, now)
        ).lastrowid
        or 0
    )


def finish_run(
    connection: sqlite3.Connection, run: int, status: int, requests: Mapping[str, int], moved: tuple[int, int]
) -> None:
    """Closes a run."""
    connection.execute(
        "UPDATE runs SET finished_at = ?, status = ?, requests = ?, moved_items = ?, moved_bytes = ? WHERE id = ?",
        (int(time.time()), status, orjson.dumps(dict(requests)).decode(), *moved, run),
    )


def note_upload(connection: sqlite3.Connection, item: int, upload: OpenUpload) -> None:
    """An older upload of the same item stays listed until it is aborted."""
    connection.execute(
        "INSERT INTO uploads (item, upload_id, part_size, opened_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (item, upload.upload_id, upload.part_size, int(time.time())),
    )


def close_upload(connection: sqlite3.Connection, item: int) -> None:
    """Forgets the newest upload of an item: the one that is worked on."""
    connection.execute("DELETE FROM uploads WHERE id = (SELECT max(id) FROM uploads WHERE item = ?)", (item,))


def stale_uploads(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """(key, upload id) of uploads whose item is settled, or goes on with a newer one."""
    return connection.execute(
        "SELECT key, upload_id FROM uploads JOIN items ON items.id = uploads.item"
        " WHERE state NOT IN ('planned', 'intended')"
        " OR uploads.id < (SELECT max(id) FROM uploads AS newer WHERE newer.item = uploads.item) ORDER BY uploads.id"
    ).fetchall()


def forget_upload(connection: sqlite3.Connection, key: str, upload_id: str) -> None:
    """An upload that was aborted."""
    connection.execute(
        "DELETE FROM uploads WHERE upload_id = ? AND (SELECT key FROM items WHERE items.id = uploads.item) = ?",
        (upload_id, key),
    )


class StoredOne(NamedTuple):
    """An object that was stored. `cleaned`: its source was taken away since, and may come back."""

    task: Task
    run: int | None
    cleaned: bool


def some_stored(connection: sqlite3.Connection, seal: Seal) -> list[StoredOne]:
    """A few stored objects from all over the ledger, but for those that were found to be missing.

    At most _PLACES in each of so many places, among _LOOKED_AT items there, however large the ledger is.
    """
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM items").fetchone()
    step = max(1, last // _PLACES)
    return [
        StoredOne(Task(item, "", source, location, key, size, None, signed=seal.url(sealed)), run, bool(cleaned))
        for first in range(1, last + 1, step)
        for item, source, location, key, size, sealed, run, cleaned in connection.execute(
            "SELECT items.id, sources.name, location, key, size, sealed, run, EXISTS (SELECT 1 FROM cleaned_items"
            " JOIN cleaned ON cleaned.id = cleaned_items.cleaned WHERE item = items.id AND cleaned.state <> 'restored')"
            " FROM items JOIN sources ON sources.id = items.source"
            " WHERE items.id BETWEEN ? AND ? AND state = 'stored' AND without_original IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM verified WHERE item = items.id AND variant = 0 AND result = 'missing')"
            " ORDER BY items.id LIMIT ?",
            (first, first + min(step, _LOOKED_AT) - 1, _PLACES),
        )
    ]


def forget_destination_keys(connection: sqlite3.Connection) -> None:
    """Before a new listing."""
    connection.execute("DELETE FROM destination_keys")


def keep_destination_keys(connection: sqlite3.Connection, keys: Sequence[str]) -> None:
    """A piece of the listing."""
    connection.execute(
        "INSERT INTO destination_keys (key) SELECT value FROM json_each(?) WHERE 1 ON CONFLICT DO NOTHING",
        (orjson.dumps(list(keys)).decode(),),
    )
