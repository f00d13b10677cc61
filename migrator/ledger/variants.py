"""Variants as they are written, counted and looked for. Their rows hang on the row of their item."""

import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence

import orjson

from migrator.core.model import Lacking, Made, State, Stood, Task, VariantOutcome, VariantTally
from migrator.core.secrets import mask_text
from migrator.ledger.rows import change_rows, plain
from migrator.ledger.seal import Seal

Named = tuple[str, str]
"""(name, format) of a variant."""

_COLUMNS = (
    "item, name, format, key, state, fault, message, size, sha256, etag, version_id, content_type, width, height,"
    " quality, encodes, seconds, adopted, replaced, run, settled_at"
)
_UNKNOWN = ("planned", None)
"""State and ETag of a variant that was never looked for."""
_SOURCE = "(SELECT source FROM items WHERE items.id = variants.item)"
_ADDED = " ON CONFLICT DO UPDATE SET variants = variants + excluded.variants, bytes = bytes + excluded.bytes"
_REPLACED = ", ".join(
    # One that fails keeps the ETag of what was stored of it before: only that may be replaced.
    "etag = iif(excluded.state = 'failed', variants.etag, excluded.etag)"
    if column == "etag"
    else f"{column} = excluded.{column}"
    for column in _COLUMNS.split(", ")[3:]
)


def require(connection: sqlite3.Connection, source: int, needed: Sequence[Named]) -> None:
    """Replaces what the rows of `source` refer to."""
    connection.execute("DELETE FROM needed_variants WHERE source = ?", (source,))
    change_rows(
        connection,
        "INSERT INTO needed_variants (source, name, format) VALUES ",
        "(?, ?, ?)",
        " ON CONFLICT DO NOTHING",
        [(source, *named) for named in needed],
    )


def write(connection: sqlite3.Connection, settled: Sequence[tuple[int, Sequence[VariantOutcome]]], run: int) -> None:
    """Outcomes of the variants of items, in place of what was known of them."""
    now = int(time.time())
    _write(connection, [_row(item, outcome, run, now) for item, outcomes in settled for outcome in outcomes])


def write_skipped(connection: sqlite3.Connection, items: Sequence[tuple[int, Sequence[Named]]], run: int) -> None:
    """Items that are no images: nobody need look at them again."""
    now = int(time.time())
    blank = (None,) * 14
    _write(
        connection,
        [(item, *named, "", "skipped", *blank, run, now) for item, wanted in items for named in wanted],
    )


def _write(connection: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    if not rows:
        return
    names = orjson.dumps([[row[0], row[1], row[2]] for row in rows]).decode()
    count(connection, names, -1)
    change_rows(
        connection,
        f"INSERT INTO variants ({_COLUMNS}) VALUES ",
        "(" + ", ".join("?" * 21) + ")",
        f" ON CONFLICT (item, name, format) DO UPDATE SET {_REPLACED}",
        rows,
    )
    count(connection, names, 1)


def count(connection: sqlite3.Connection, names: str, sign: int) -> None:
    """Adds what these variants, [[item, name, format], ...], are now to the tallies, or takes it away."""
    connection.execute(
        "INSERT INTO variant_tallies (source, name, format, state, reason, variants, bytes)"
        " SELECT items.source, variants.name, format, variants.state, coalesce(variants.fault, ''),"
        " ? * count(*), ? * coalesce(sum(variants.size), 0) FROM json_each(?) AS wanted"
        " JOIN variants ON variants.item = json_extract(wanted.value, '$[0]')"
        " AND variants.name = json_extract(wanted.value, '$[1]') AND format = json_extract(wanted.value, '$[2]')"
        f" JOIN items ON items.id = variants.item GROUP BY 1, 2, 3, 4, 5{_ADDED}",
        (sign, sign, names),
    )


def _row(item: int, outcome: VariantOutcome, run: int, now: int) -> tuple[object, ...]:
    if not isinstance(outcome, Made):
        blank = (None,) * 12
        message = plain(mask_text(outcome.message))
        name = (item, outcome.name, outcome.format, outcome.key)
        return (*name, "failed", outcome.fault.value, message, *blank, run, now)
    return (
        item,
        outcome.name,
        outcome.format,
        outcome.key,
        "stored",
        None,
        None,
        outcome.size,
        outcome.sha256.hex(),
        outcome.etag,
        outcome.version_id,
        outcome.content_type,
        outcome.width,
        outcome.height,
        outcome.quality,
        outcome.encodes,
        outcome.seconds,
        1 if outcome.adopted else None,
        outcome.replaced,
        run,
        now,
    )


def retry(connection: sqlite3.Connection, faults: Sequence[str] | None, wanted: Mapping[int, Sequence[Named]]) -> int:
    """Failed variants that are `wanted` of their source, by its number, planned again: how many."""
    if faults is None:
        return plan_again(connection, "failed", wanted)
    named = orjson.dumps(list(faults)).decode()
    return plan_again(connection, "failed", wanted, "fault IN (SELECT value FROM json_each(?))", named)


def plan_stored(connection: sqlite3.Connection, wanted: Mapping[int, Sequence[Named]]) -> int:
    """The same of stored ones. What is made anew takes the place of the object with their ETag, and of nothing else."""
    known = "etag IS NOT NULL"
    these = f"SELECT item, id FROM variants WHERE {_chosen('stored', known)}"
    connection.execute(f"DELETE FROM verified WHERE (item, variant) IN ({these})", (_triples(wanted),))
    return plan_again(connection, "stored", wanted, known)


def plan_again(
    connection: sqlite3.Connection,
    state: str,
    wanted: Mapping[int, Sequence[Named]],
    condition: str = "1",
    *values: str,
) -> int:
    """Variants in `state` that are `wanted`, and meet a `condition` with these `values`, planned again: how many."""
    chosen, parameters = _chosen(state, condition), (*values, _triples(wanted))
    moved = connection.execute(
        f"SELECT {_SOURCE}, name, format, coalesce(fault, ''), count(*), coalesce(sum(size), 0) FROM variants"
        f" WHERE {chosen} GROUP BY 1, 2, 3, 4",
        parameters,
    ).fetchall()
    nothing = "fault = NULL, message = NULL"
    connection.execute(f"UPDATE variants SET state = 'planned', {nothing} WHERE {chosen}", parameters)
    change_rows(
        connection,
        "INSERT INTO variant_tallies (source, name, format, state, reason, variants, bytes) VALUES ",
        "(?, ?, ?, ?, ?, ?, ?)",
        _ADDED,
        [
            row
            for *one, fault, number, size in moved
            for row in ((*one, state, fault, -number, -size), (*one, "planned", "", number, size))
        ],
    )
    return sum(number for *_, number, _ in moved)


def _chosen(state: str, condition: str) -> str:
    """A condition on variants, whose last value is what `_triples` gives."""
    names = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(3))
    return f"state = '{state}' AND {condition} AND ({_SOURCE}, name, format) IN (SELECT {names} FROM json_each(?))"


def _triples(wanted: Mapping[int, Sequence[Named]]) -> str:
    return orjson.dumps([(source, *named) for source, pairs in wanted.items() for named in pairs]).decode()


def change_state(connection: sqlite3.Connection, names: Sequence[tuple[int, str, str]], now: str, then: str) -> None:
    """Moves those of these variants, (item, name, format), that are in the state `now` to `then`."""
    found = connection.execute(
        "SELECT variants.item, name, format FROM json_each(?) AS wanted"
        " JOIN variants ON variants.item = json_extract(wanted.value, '$[0]')"
        " AND name = json_extract(wanted.value, '$[1]') AND format = json_extract(wanted.value, '$[2]')"
        " WHERE state = ?",
        (orjson.dumps(names).decode(), now),
    ).fetchall()
    texts = orjson.dumps(found).decode()
    count(connection, texts, -1)
    change_rows(
        connection,
        f"UPDATE variants SET state = '{then}' FROM (VALUES ",
        "(?, ?, ?)",
        ") AS v WHERE item = v.column1 AND name = v.column2 AND format = v.column3",
        found,
    )
    count(connection, texts, 1)


def tallies(connection: sqlite3.Connection) -> list[VariantTally]:
    """By source, name, format, state and reason; only those that count something."""
    return [VariantTally(*row) for row in connection.execute("SELECT * FROM variant_progress")]


def lacking(
    connection: sqlite3.Connection,
    wanted: Mapping[int, tuple[str, Sequence[Named]]],
    after: int,
    limit: int,
    *,
    planned_only: bool,
    ledger_id: str,
    seal: Seal,
) -> tuple[list[Lacking], int | None]:
    """See the port; `wanted` is source number -> (source name, variants)."""
    numbers = ", ".join(map(str, wanted))
    # What a scan found in place was never claimed: its variants are made here, whoever asks.
    asked = "(EXISTS (SELECT 1 FROM variants WHERE item = items.id AND +state = 'planned') OR fault = 'in-place')"
    only = f" AND {asked}" if planned_only else ""
    rows = connection.execute(
        "SELECT id, source, location, key, size, fingerprint, fields, sealed, coalesce(stored_size, size), sha256,"
        " content_type, without_original, (SELECT json_group_array(json_array(name, format, state, etag)) FROM variants"
        " WHERE item = items.id) FROM items WHERE id > ?"
        f" AND source IN ({numbers}) AND (+state = '{State.STORED}' OR (+state = '{State.SKIPPED}'"
        f" AND fault IN ('identical', 'in-place'))){only} ORDER BY id LIMIT ?",
        (after, limit),
    ).fetchall()
    found = []
    for row in rows:
        item, source, location, key, size, fingerprint, fields, sealed, stored, sha256, kind, without, states = row
        name, named = wanted[source]
        known = {(one, image_format): (state, etag) for one, image_format, state, etag in orjson.loads(states)}
        left = tuple(one for one in named if known.get(one, _UNKNOWN)[0] == "planned")
        if not left or (kind and not kind.startswith("image/")):
            continue
        task = Task(
            item,
            f"{ledger_id}/{item}",
            name,
            location,
            key,
            size,
            fingerprint,
            fields=orjson.loads(fields) if fields else None,
            signed=seal.url(sealed),
            again=True,
            stood=_stood((one, known.get(one, _UNKNOWN)[1]) for one in left),
        )
        digest = bytes.fromhex(sha256) if sha256 else None
        found.append(Lacking(task, stored or 0, digest, kind or "", not without, left))
    return found, rows[-1][0] if len(rows) == limit else None


def _stood(wanted: Iterable[tuple[Named, str | None]]) -> Stood | None:
    """What was stored of variants that are to be made anew."""
    stored = tuple((named, etag) for named, etag in wanted if etag)
    return Stood("", None, variants=stored) if stored else None
