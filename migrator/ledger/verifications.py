"""What `verify` found, object by object. The row of each object is overwritten by the next verification."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from msgspec import Struct

from migrator.core.secrets import mask_text
from migrator.core.verification import Expected, Match, Proof, Verification, VerificationSummary
from migrator.ledger.rows import change_rows, plain
from migrator.ledger.seal import Seal

Fetch = Callable[[str, tuple[object, ...]], list[tuple[Any, ...]]]
"""All rows of a query with its parameters."""

_COLUMNS = {Match.MATCH: "matching", Match.DIFFER: "differing", Match.MISSING: "missing", Match.UNKNOWN: "unknown"}
_PROOFS = {Proof.CHECKSUM: "by_checksum", Proof.READ: "by_reading"}

STANDS = "(+items.state = 'stored' OR (+items.state = 'skipped' AND items.fault = 'identical'))"
"""Whose object is to be looked at: stored by us, or found there with the same bytes. In place, it is its own source."""

_UNEXPLAINED = (
    "NOT EXISTS (SELECT 1 FROM items WHERE key = value AND collides IS NULL)"
    " AND NOT EXISTS (SELECT 1 FROM variants WHERE key = value)"
    " AND NOT EXISTS (SELECT 1 FROM temp.here AS own WHERE own.key = value)"
)
"""A condition on a key: no row of the ledger has it, as a key or as a location."""

_AWAY = (
    "EXISTS (SELECT 1 FROM cleaned_items JOIN cleaned ON cleaned.id = cleaned_items.cleaned"
    " WHERE cleaned_items.item = items.id AND cleaned.state <> 'restored')"
)
"""Whose source a cleanup took away."""

_PAGE = 1_000
"""Differences that are read at once."""

_BUCKETS = 1_000_000
"""Steps in which a sample's share is measured."""


class Objects(Struct, frozen=True):
    """What the verification `number` looks at: all that stands of `sources`; `unseal`: with their whole URLs."""

    number: int
    sources: Mapping[int, str]
    ledger_id: str
    seal: Seal
    unseal: bool


def begin(connection: sqlite3.Connection, scope: str, sample: float, run: int) -> tuple[int, int]:
    """See the port."""
    row = connection.execute(
        "SELECT id FROM verifications WHERE finished_at IS NULL AND scope = ? AND id = (SELECT max(id) FROM"
        " verifications)",
        (scope,),
    ).fetchone()
    if row is None:
        connection.execute("DELETE FROM extras")
        started = connection.execute(
            "INSERT INTO verifications (run, scope, sample, started_at) VALUES (?, ?, ?, ?)",
            (run, scope, sample, int(time.time())),
        )
        return int(started.lastrowid or 0), 0
    (number,) = row
    # The second condition lets SQLite take the small index of what does not match.
    connection.execute("DELETE FROM verified WHERE verification = ? AND result = 'unknown' AND result <> 'match'", row)
    connection.execute("UPDATE verifications SET run = ?, unknown = 0 WHERE id = ?", (run, number))
    (done,) = connection.execute(
        "SELECT matching + differing + missing FROM verifications WHERE id = ?", row
    ).fetchone()
    return number, done


def finish(connection: sqlite3.Connection, number: int) -> None:
    """See the port."""
    connection.execute("UPDATE verifications SET finished_at = ? WHERE id = ?", (int(time.time()), number))


def unverified(
    connection: sqlite3.Connection, of: Objects, after: int, limit: int
) -> tuple[list[Expected], int | None]:
    """See the port: the item's own object first (variant 0), then its variants.

    A window of item ids at a time: each row is looked at once, however little of it is to be done.
    """
    (sample,) = connection.execute("SELECT sample FROM verifications WHERE id = ?", (of.number,)).fetchone()
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM items").fetchone()
    # A multiplicative hash spreads neighbours apart; the number of the verification in it makes each take another part.
    share = max(1, round(sample * _BUCKETS))
    chosen = f"((items.id * 2654435761 + {of.number} * 40503) % {_BUCKETS}) < {share}"
    common = f"items.id > ? AND items.id <= ? AND items.source IN ({', '.join(map(str, of.sources))}) AND {chosen}"
    left = f"AND verified.verification = {of.number} WHERE {common} AND verified.item IS NULL"
    rows = connection.execute(
        "SELECT items.id, 0, items.source, location, items.key, coalesce(stored_size, items.size), items.sha256,"
        " items.etag, items.state = 'stored', items.content_type, fingerprint, fields, sealed, '',"
        f" {_AWAY}"
        f" FROM items LEFT JOIN verified ON verified.item = items.id AND verified.variant = 0 {left}"
        f" AND {STANDS} AND without_original IS NULL"
        " UNION ALL SELECT items.id, variants.id, items.source, location, variants.key, variants.size, variants.sha256,"
        # One that was found there is not ours to say what it carries.
        " variants.etag, variants.adopted IS NOT 1, variants.content_type, NULL, fields, NULL,"
        " '/' || variants.name || '.' || variants.format, 0"
        " FROM items JOIN variants ON variants.item = items.id"
        f" LEFT JOIN verified ON verified.item = items.id AND verified.variant = variants.id {left}"
        " AND variants.state = 'stored' ORDER BY 1, 2",
        (after, after + limit) * 2,
    ).fetchall()
    return [_expected(of, row) for row in rows], after + limit if after + limit < last else None


def _expected(of: Objects, row: tuple[Any, ...]) -> Expected:
    item, variant, source, location, key, size, sha256, etag, ours, kind, fingerprint, fields, sealed, mark, away = row
    return Expected(
        item=item,
        variant=variant,
        source=of.sources[source],
        location=location,
        key=key,
        size=size,
        sha256=bytes.fromhex(sha256) if sha256 else None,
        put_id=f"{of.ledger_id}/{item}{mark}" if ours else None,
        content_type=kind,
        fingerprint=fingerprint,
        etag=etag or None,
        fields=orjson.loads(fields) if fields else None,
        signed=of.seal.url(sealed) if of.unseal or not sha256 else None,
        source_away=bool(away),
    )


def keep(connection: sqlite3.Connection, number: int, done: Sequence[Verification]) -> None:
    """See the port. Of objects that a server copied the digest is known now: it is kept with them."""
    now = int(time.time())
    change_rows(
        connection,
        "INSERT INTO verified (item, variant, verification, result, proof, message, verified_at) VALUES ",
        "(?, ?, ?, ?, ?, ?, ?)",
        " ON CONFLICT DO UPDATE SET verification = excluded.verification, result = excluded.result,"
        " proof = excluded.proof, message = excluded.message, verified_at = excluded.verified_at",
        [
            (
                one.expected.item,
                one.expected.variant,
                number,
                one.result,
                one.proof,
                plain(mask_text(one.message)) or None,
                now,
            )
            for one in done
        ],
    )
    change_rows(
        connection,
        "UPDATE items SET sha256 = v.column2 FROM (VALUES ",
        "(?, ?)",
        ") AS v WHERE items.id = v.column1 AND items.sha256 IS NULL",
        [
            (one.expected.item, one.sha256.hex())
            for one in done
            if one.sha256 and one.result is Match.MATCH and one.expected.sha256 is None and not one.expected.variant
        ],
    )
    counts = {column: sum(one.result is result for one in done) for result, column in _COLUMNS.items()}
    counts |= {column: sum(one.proof is proof for one in done) for proof, column in _PROOFS.items()}
    changes = ", ".join(f"{column} = {column} + {count}" for column, count in counts.items())
    connection.execute(f"UPDATE verifications SET {changes} WHERE id = ?", (number,))


def begin_extras(connection: sqlite3.Connection, number: int, here: str, prefixes: Sequence[str]) -> None:
    """See the port. Of locations only those are gathered whose keys a listing of `prefixes` can show."""
    connection.execute("UPDATE verifications SET extra = coalesce(extra, 0) WHERE id = ?", (number,))
    gather_here(connection, here, prefixes)


def gather_here(connection: sqlite3.Connection, here: str, prefixes: Sequence[str]) -> None:
    """Notes, as long as the ledger is open, the keys of locations that lie in the destination: for `_UNEXPLAINED`."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS here (key TEXT PRIMARY KEY) WITHOUT ROWID")
    connection.execute("DELETE FROM temp.here")
    for prefix in prefixes if here else ():
        start = here + prefix
        connection.execute(
            "INSERT OR IGNORE INTO temp.here SELECT substr(location, ?) FROM items WHERE substr(location, 1, ?) = ?",
            (len(here) + 1, len(start), start),
        )


def keep_extras(connection: sqlite3.Connection, number: int, keys: Sequence[str], reserved: str) -> None:
    """See the port."""
    extra = connection.execute(
        "INSERT OR IGNORE INTO extras (key, verification) SELECT value, ? FROM json_each(?)"
        f" WHERE substr(value, 1, ?) <> ? AND {_UNEXPLAINED}",
        (number, orjson.dumps(list(keys)).decode(), len(reserved), reserved),
    ).rowcount
    connection.execute("UPDATE verifications SET extra = extra + ? WHERE id = ?", (extra, number))


def unexplained(connection: sqlite3.Connection, keys: Sequence[str]) -> set[str]:
    """Those of `keys` that no row explains; `gather_here` comes first."""
    rows = connection.execute(
        f"SELECT value FROM json_each(?) WHERE {_UNEXPLAINED}", (orjson.dumps(list(keys)).decode(),)
    )
    return {key for (key,) in rows}


def skip_extras(connection: sqlite3.Connection, number: int) -> None:
    """See the port."""
    connection.execute("UPDATE verifications SET extra = NULL WHERE id = ?", (number,))
    connection.execute("DELETE FROM extras")


def summaries(connection: sqlite3.Connection) -> list[VerificationSummary]:
    """All verifications, the oldest first."""
    columns = ", ".join((*_COLUMNS.values(), *_PROOFS.values()))
    rows = connection.execute(
        f"SELECT id, run, scope, sample, extra, started_at, finished_at, {columns} FROM verifications ORDER BY id"
    )
    return [
        VerificationSummary(
            number=number,
            run=run,
            scope=scope,
            sample=sample,
            results=dict(zip(_COLUMNS, counts[: len(_COLUMNS)], strict=True)),
            proofs=dict(zip(_PROOFS, counts[len(_COLUMNS) :], strict=True)),
            extra=extra,
            started_at=started,
            finished_at=finished,
        )
        for number, run, scope, sample, extra, started, finished, *counts in rows
    ]


def differences(fetch: Fetch) -> Iterator[tuple[str, str, str, str | None, str | None]]:
    """(result, key, variant, location, message) of the last verification, in the order of the scan; extra keys last."""
    place: tuple[object, ...] = (0, -1)
    while rows := fetch(
        "SELECT result, coalesce(variants.key, items.key), coalesce(variants.name || '.' || variants.format, ''),"
        " location, verified.message, verified.item, variant FROM (SELECT *"
        " FROM verified WHERE verification = (SELECT max(id) FROM verifications) AND result <> 'match'"
        f" AND (item, variant) > (?, ?) ORDER BY item, variant LIMIT {_PAGE}) AS verified"
        " JOIN items ON items.id = verified.item LEFT JOIN variants ON variants.id = verified.variant"
        " ORDER BY verified.item, variant",
        place,
    ):
        yield from (row[:5] for row in rows)
        place = rows[-1][5:]
    last = ""
    while rows := fetch(f"SELECT key FROM extras WHERE key > ? ORDER BY key LIMIT {_PAGE}", (last,)):
        yield from (("extra", key, "", None, None) for (key,) in rows)
        (last,) = rows[-1]
