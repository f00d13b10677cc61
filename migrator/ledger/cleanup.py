"""What `cleanup` asks of the ledger: sources with all their items, and what verification and rows say of these."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from msgspec import Struct

from migrator.core.cleaning import Arrived, Candidate, Claim, Wanted
from migrator.core.model import Skip, State, Task
from migrator.core.verification import Match
from migrator.ledger.rows import MAY_STAND

_STANDS = ("stored", "skipped")
_AWAY = "cleaned.state <> 'restored'"

_MAY_BE_OURS = f"state IN ('stored', 'intended', 'skipped') OR {MAY_STAND}"
"""Items under whose key stands what this ledger has put there, may have put there, or counts on."""


class Naming(Struct, frozen=True):
    """What turns rows into claims: names of sources by number, configured variants by name, the ledger's id."""

    sources: Mapping[int, str]
    wanted: Wanted
    ledger_id: str


_SHARING = (
    "CREATE TEMP TABLE IF NOT EXISTS shared (location TEXT PRIMARY KEY, first INTEGER NOT NULL)",
    "CREATE TEMP TABLE IF NOT EXISTS shared_items (location TEXT NOT NULL, item INTEGER NOT NULL,"
    " PRIMARY KEY (location, item)) WITHOUT ROWID",
    "CREATE TEMP TABLE IF NOT EXISTS twins (fingerprint TEXT NOT NULL, location TEXT NOT NULL, item INTEGER NOT NULL,"
    " PRIMARY KEY (fingerprint, item)) WITHOUT ROWID",
    "DELETE FROM temp.shared",
    "DELETE FROM temp.shared_items",
    "DELETE FROM temp.twins",
    "INSERT INTO temp.shared SELECT location, min(id) FROM items WHERE substr(location, 1, 4) <> 'http'"
    " GROUP BY location HAVING count(*) > 1",
    "INSERT INTO temp.shared_items SELECT location, id FROM items WHERE location IN (SELECT location FROM temp.shared)",
    # One file under several names, by hard or symbolic links: time, size and inode are the same.
    "INSERT INTO temp.twins SELECT fingerprint, location, id FROM items WHERE fingerprint IN (SELECT fingerprint"
    " FROM items WHERE substr(location, 1, 5) = 'file:' AND fingerprint IS NOT NULL"
    " GROUP BY fingerprint HAVING min(location) <> max(location)) AND substr(location, 1, 5) = 'file:'",
    "INSERT OR IGNORE INTO temp.shared SELECT location, min(item) FROM temp.twins GROUP BY location",
    "INSERT OR IGNORE INTO temp.shared_items SELECT DISTINCT one.location, other.item FROM temp.twins AS one"
    " JOIN temp.twins AS other ON other.fingerprint = one.fingerprint",
)


def begin(connection: sqlite3.Connection) -> None:
    """See the port. A sort of all locations, and one of fingerprints: an index over them would cost every scan more."""
    for statement in _SHARING:
        connection.execute(statement)


def candidates(
    connection: sqlite3.Connection, naming: Naming, after: int, limit: int, sources: Sequence[str]
) -> tuple[list[Candidate], int | None]:
    """See the port."""
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM items").fetchone()
    found = connection.execute(
        "SELECT items.id, items.location, shared.first FROM items"
        " LEFT JOIN temp.shared AS shared ON shared.location = items.location"
        " WHERE items.id > ? AND items.id <= ? AND coalesce(shared.first, items.id) = items.id"
        f" AND NOT EXISTS (SELECT 1 FROM cleaned WHERE cleaned.location = items.location AND {_AWAY})"
        " ORDER BY items.id",
        (after, after + limit),
    ).fetchall()
    members = {item: [item] for item, _, first in found if first is None}
    members |= {item: _sharing(connection, location) for item, location, first in found if first is not None}
    claims = claims_of(connection, naming, [one for group in members.values() for one in group])
    groups = [_group(location, [claims[one] for one in members[item]]) for item, location, _ in found]
    if sources:
        groups = [group for group in groups if any(claim.task.source in sources for claim in group.claims)]
    return groups, after + limit if after + limit < last else None


def _group(location: str, claims: Sequence[Claim]) -> Candidate:
    """Those of this very name come first: the others tell only whether it may go."""
    return Candidate(location, tuple(sorted(claims, key=lambda claim: claim.task.location != location)))


def _sharing(connection: sqlite3.Connection, location: str) -> list[int]:
    rows = connection.execute("SELECT item FROM temp.shared_items WHERE location = ? ORDER BY item", (location,))
    return [item for (item,) in rows]


def claims_of(connection: sqlite3.Connection, naming: Naming, items: Sequence[int]) -> dict[int, Claim]:
    """What is known of `items`, by id."""
    numbers = orjson.dumps(list(items)).decode()
    rows = connection.execute(
        "SELECT items.id, source, location, key, items.size, fingerprint, state, coalesce(fault, ''),"
        " coalesce(stored_size, items.size), sha256, etag, version_id, settled_at, content_type, without_original,"
        " result, proof, verified_at FROM items"
        " LEFT JOIN verified ON verified.item = items.id AND verified.variant = 0"
        " WHERE items.id IN (SELECT value FROM json_each(?))",
        (numbers,),
    ).fetchall()
    variants = _variants_of(connection, numbers)
    waiting = dict(
        connection.execute(
            "SELECT item, count(*) FROM records WHERE item IN (SELECT value FROM json_each(?)) AND state <> 'recorded'"
            " GROUP BY item",
            (numbers,),
        ).fetchall()
    )
    return {row[0]: _claim(row, naming, variants.get(row[0], {}), waiting.get(row[0], 0)) for row in rows}


_Variants = dict[tuple[str, str], tuple[str, Arrived]]
"""State, and what stands, by (name, format)."""


def _variants_of(connection: sqlite3.Connection, numbers: str) -> dict[int, _Variants]:
    found: dict[int, _Variants] = {}
    for item, name, image_format, state, *rest in connection.execute(
        "SELECT variants.item, name, format, state, key, size, sha256, etag, version_id, settled_at, result, proof,"
        " verified_at FROM variants LEFT JOIN verified ON verified.item = variants.item"
        " AND verified.variant = variants.id WHERE variants.item IN (SELECT value FROM json_each(?))"
        " ORDER BY variants.id",
        (numbers,),
    ):
        found.setdefault(item, {})[name, image_format] = (state, _arrived(*rest))
    return found


def _arrived(
    key: str,
    size: int | None,
    sha256: str | None,
    etag: str | None,
    version_id: str | None,
    settled_at: int | None,
    result: str | None,
    proof: str | None,
    verified_at: int | None,
) -> Arrived:
    looked_at = result is not None and settled_at is not None and (verified_at or 0) >= settled_at
    proven = looked_at and result == Match.MATCH and proof is not None
    return Arrived(
        key,
        size,
        bytes.fromhex(sha256) if sha256 else None,
        etag or "",
        version_id,
        verified_at if proven else None,
        looked_at and result != Match.MATCH,
    )


def _claim(row: tuple[Any, ...], naming: Naming, variants: _Variants, waiting: int) -> Claim:
    item, number, location, key, size, fingerprint, state, fault, *rest = row
    stored_size, sha256, etag, version_id, settled_at, kind, without, result, proof, verified_at = rest
    source = naming.sources[number]
    own = _arrived(key, stored_size, sha256, etag, version_id, settled_at, result, proof, verified_at)
    wanted = naming.wanted.get(source, ())
    task = Task(item, f"{naming.ledger_id}/{item}", source, location, key, size, fingerprint)
    return Claim(
        task,
        State(state),
        fault,
        None if without or state not in _STANDS else own,
        tuple(variants[name][1] for name in wanted if name in variants and variants[name][0] == "stored"),
        _lacking(wanted, variants, kind),
        waiting,
    )


def _lacking(wanted: Iterable[tuple[str, str]], variants: _Variants, kind: str | None) -> int:
    """Variants that do not stand. What is known to be no image needs none."""
    states = [variants[name][0] if name in variants else "" for name in wanted]
    image = not kind or kind.startswith("image/")
    return sum(state not in _STANDS and (bool(state) or image) for state in states)


def owns(connection: sqlite3.Connection, key: str) -> bool:
    """See the port."""
    (found,) = connection.execute(
        f"SELECT EXISTS (SELECT 1 FROM items WHERE key = ? AND collides IS NULL AND ({_MAY_BE_OURS})"
        f" AND NOT (state = 'skipped' AND fault IN ('{Skip.IN_PLACE}', '{Skip.EXISTS}')))"
        " OR EXISTS (SELECT 1 FROM variants WHERE key = ?"
        " AND (state = 'stored' OR fault IN ('transient', 'throttled')))",
        (key, key),
    ).fetchone()
    return bool(found)
