"""What `verify` found, object by object. The row of each object is overwritten by the next verification."""

import sqlite3
import time
from collections.abc import Mapping, Sequence

import orjson

from migrator.core.model import Expected, Match, Verification, VerificationSummary
from migrator.core.secrets import mask_text
from migrator.ledger.rows import change_rows, plain
from migrator.ledger.seal import Seal

_COLUMNS = {Match.MATCH: "matching", Match.DIFFER: "differing", Match.MISSING: "missing", Match.UNKNOWN: "unknown"}

_STANDS = "(+items.state = 'stored' OR (+items.state = 'skipped' AND items.fault = 'identical'))"
"""Whose object is to be looked at: stored by us, or found there with the same bytes. In place, it is its own source."""

_BUCKETS = 1_000_000
"""Steps in which a sample's share is measured."""


def begin(connection: sqlite3.Connection, scope: str, sample: float) -> int:
    """See the port."""
    row = connection.execute(
        "SELECT id FROM verifications WHERE finished_at IS NULL AND scope = ? AND id = (SELECT max(id) FROM"
        " verifications)",
        (scope,),
    ).fetchone()
    if row:
        return int(row[0])
    connection.execute("DELETE FROM extras")
    return int(
        connection.execute(
            "INSERT INTO verifications (scope, sample, started_at) VALUES (?, ?, ?)", (scope, sample, int(time.time()))
        ).lastrowid
        or 0
    )


def finish(connection: sqlite3.Connection, number: int) -> None:
    """See the port."""
    connection.execute("UPDATE verifications SET finished_at = ? WHERE id = ?", (int(time.time()), number))


def unverified(
    connection: sqlite3.Connection,
    number: int,
    after: tuple[int, int],
    limit: int,
    sources: Mapping[int, str],
    *,
    ledger_id: str,
    seal: Seal,
) -> list[Expected]:
    """See the port: the item's own object first (variant 0), then its variants."""
    (sample,) = connection.execute("SELECT sample FROM verifications WHERE id = ?", (number,)).fetchone()
    # A multiplicative hash spreads neighbours apart; the number of the verification in it makes each take another part.
    chosen = f"((items.id * 2654435761 + {number} * 40503) % {_BUCKETS}) < {int(sample * _BUCKETS)}"
    numbers = ", ".join(map(str, sources))
    common = f"items.source IN ({numbers}) AND {_STANDS} AND {chosen}"
    left = "(verified.verification IS NULL OR verified.verification <> ?)"
    rows = connection.execute(
        "SELECT * FROM (SELECT items.id AS item, 0 AS variant, items.source, location, items.key, coalesce(stored_size,"
        " items.size), items.sha256, items.state = 'stored' AS ours, items.content_type, fingerprint, fields, sealed,"
        " '' AS mark"
        " FROM items LEFT JOIN verified ON verified.item = items.id AND verified.variant = 0"
        f" WHERE {common} AND without_original IS NULL AND items.id >= ? AND (items.id, 0) > (?, ?) AND {left}"
        " ORDER BY items.id LIMIT ?)"
        " UNION ALL SELECT * FROM (SELECT items.id, variants.id, items.source, location, variants.key, variants.size,"
        " variants.sha256, 1, variants.content_type, NULL, NULL, NULL, '/' || variants.name || '.' || variants.format"
        " FROM items JOIN variants ON variants.item = items.id LEFT JOIN verified ON verified.item = items.id"
        f" AND verified.variant = variants.id WHERE {common} AND variants.state = 'stored' AND items.id >= ?"
        f" AND (items.id, variants.id) > (?, ?) AND {left} ORDER BY items.id, variants.id LIMIT ?)"
        " ORDER BY 1, 2 LIMIT ?",
        (after[0], *after, number, limit, after[0], *after, number, limit, limit),
    ).fetchall()
    return [
        Expected(
            item=item,
            variant=variant,
            source=sources[source],
            location=location,
            key=key,
            size=size,
            sha256=bytes.fromhex(sha256) if sha256 else None,
            put_id=f"{ledger_id}/{item}{mark}" if ours else None,
            content_type=kind,
            fingerprint=fingerprint,
            fields=orjson.loads(fields) if fields else None,
            signed=seal.open(sealed)[0] if sealed else None,
        )
        for item, variant, source, location, key, size, sha256, ours, kind, fingerprint, fields, sealed, mark in rows
    ]


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
    for result, column in _COLUMNS.items():
        count = sum(one.result is result for one in done)
        if count:
            connection.execute(f"UPDATE verifications SET {column} = {column} + ? WHERE id = ?", (count, number))


def begin_extras(connection: sqlite3.Connection, here: str) -> None:
    """Gathers the keys of the destination that are themselves locations: those beginning with `here` (empty: none)."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS here (key TEXT PRIMARY KEY) WITHOUT ROWID")
    connection.execute("DELETE FROM temp.here")
    if here:
        connection.execute(
            "INSERT OR IGNORE INTO temp.here SELECT substr(location, ?) FROM items WHERE substr(location, 1, ?) = ?",
            (len(here) + 1, len(here), here),
        )


def keep_extras(connection: sqlite3.Connection, number: int, keys: Sequence[str], reserved: str) -> None:
    """See the port."""
    extra = connection.execute(
        "INSERT OR IGNORE INTO extras (key, verification) SELECT value, ? FROM json_each(?)"
        " WHERE substr(value, 1, ?) <> ?"
        " AND NOT EXISTS (SELECT 1 FROM items WHERE key = value AND collides IS NULL)"
        " AND NOT EXISTS (SELECT 1 FROM variants WHERE key = value)"
        " AND NOT EXISTS (SELECT 1 FROM temp.here AS own WHERE own.key = value)",
        (number, orjson.dumps(list(keys)).decode(), len(reserved), reserved),
    ).rowcount
    connection.execute("UPDATE verifications SET extra = extra + ? WHERE id = ?", (extra, number))


def summaries(connection: sqlite3.Connection) -> list[VerificationSummary]:
    """All verifications, the oldest first."""
    return [
        VerificationSummary(number, scope, dict(zip(Match, results, strict=True)), extra, started, finished)
        for number, scope, *results, extra, started, finished in connection.execute(
            "SELECT id, scope, matching, differing, missing, unknown, extra, started_at, finished_at"
            " FROM verifications ORDER BY id"
        )
    ]


def differences(connection: sqlite3.Connection, limit: int | None) -> list[tuple[str, str, str | None, str | None]]:
    """(result, key, location, message) of the last verification, in the order of the scan; extra keys last."""
    return connection.execute(
        "SELECT result, key, location, message FROM (SELECT result, coalesce(variants.key, items.key) AS key, location,"
        " verified.message, verified.item AS place FROM verified JOIN items ON items.id = verified.item"
        " LEFT JOIN variants ON variants.id = verified.variant WHERE result <> 'match'"
        " AND verification = (SELECT max(id) FROM verifications)"
        " UNION ALL SELECT 'extra', key, NULL, NULL, 9223372036854775807 FROM extras) ORDER BY place, key LIMIT ?",
        (-1 if limit is None else limit,),
    ).fetchall()
