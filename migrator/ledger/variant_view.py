"""Variants, and images to try them on, as reports and plans read them from a ledger."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import orjson
from msgspec import Struct

from migrator.core.model import Fault, Skip, State, Task
from migrator.core.variants import Picture, VariantMeans
from migrator.ledger.seal import Seal

Ask = Callable[[str, tuple[object, ...]], list[tuple[Any, ...]]]
"""Runs a query with its values."""
Pages = Callable[[str], Iterator[tuple[Any, ...]]]
"""Runs a query whose first column is an id, page by page, and hands out its rows without it."""
Named = tuple[str, str]
"""(name, format) of a variant."""

_SAMPLED = 5_000
"""Variants whose qualities are looked at: the mean of more would say the same."""
_NEAR = 1_000
"""Rows among which a picture is looked for, in each part of the ledger."""

_IN_PLACE = f"(state = '{State.SKIPPED}' AND fault = '{Skip.IN_PLACE}')"
_ARRIVED = f"(state = '{State.STORED}' OR (state = '{State.SKIPPED}' AND fault = '{Skip.IDENTICAL}'))"


class FailedVariant(Struct, frozen=True):
    """A variant that could not be made or stored; `original` is the key of the image, `key` may be empty."""

    source: str
    name: str
    format: str
    key: str
    original: str
    location: str
    fault: Fault
    message: str


def failed(pages: Pages, faults: Iterable[Fault]) -> Iterator[FailedVariant]:
    """Those of each fault in turn."""
    for fault in faults:
        for values in pages(
            "SELECT variants.id, sources.name, variants.name, format, variants.key, items.key, location,"
            " variants.message FROM variants JOIN items ON items.id = variants.item"
            " JOIN sources ON sources.id = items.source WHERE variants.state = 'failed'"
            f" AND variants.fault = '{fault}' AND variants.id > ? ORDER BY variants.id"
        ):
            source, name, image_format, key, original, location, message = values
            yield FailedVariant(source, name, image_format, key, original, location, fault, message or "")


def means(ask: Ask) -> dict[Named, VariantMeans]:
    """Of stored variants by (name, format): of all, or of some thousands spread over the ledger."""
    ((last,),) = ask("SELECT coalesce(max(id), 0) FROM variants", ())
    # Evenly spaced ids would meet the same variant of each image again and again.
    chosen = sorted(random.Random(0).sample(range(1, last + 1), _SAMPLED)) if last > _SAMPLED else range(1, last + 1)
    rows = ask(
        "SELECT name, format, avg(quality), avg(coalesce(stored_size, items.size)) FROM json_each(?) AS chosen"
        " JOIN variants ON variants.id = chosen.value JOIN items ON items.id = variants.item"
        " WHERE variants.state = 'stored' GROUP BY 1, 2",
        (orjson.dumps(list(chosen)).decode(),),
    )
    return {(name, image_format): VariantMeans(quality, original) for name, image_format, quality, original in rows}


def pictures(ask: Ask, name: str, image_format: str, limit: int, largest: int) -> list[Picture]:
    """Up to `limit` of them, the first one in each part of the ledger; looks at a few thousand rows at most."""
    ((last,),) = ask("SELECT coalesce(max(id), 0) FROM variants", ())
    found: dict[str, Picture] = {}
    for part in range(limit):
        begin = last * part // limit
        for values in ask(
            "SELECT v.key, items.key, coalesce(stored_size, items.size), v.size, v.sha256, v.content_type, width,"
            " height, quality FROM (SELECT * FROM variants WHERE id > ? AND id <= ? ORDER BY id) AS v"
            " JOIN items ON items.id = v.item WHERE v.state = 'stored' AND v.name = ? AND v.format = ?"
            " AND v.size <= ? AND v.sha256 IS NOT NULL LIMIT 1",
            (begin, min(begin + _NEAR, last * (part + 1) // limit), name, image_format, largest),
        ):
            found[values[0]] = Picture(name, image_format, *values)
    return list(found.values())


def waiting_rows(ask: Ask) -> int:
    """Rows whose object stands, and a variant that they refer to does not. Looks at items that are not settled."""
    ((needed,),) = ask("SELECT EXISTS (SELECT 1 FROM needed_variants)", ())
    if not needed:
        return 0
    ((waiting,),) = ask(
        "SELECT coalesce(sum(records), 0) FROM record_tallies WHERE state = 'planned'"
        " AND source IN (SELECT source FROM needed_variants)",
        (),
    )
    if not waiting:
        return 0
    ((others,),) = ask(
        "SELECT count(*) FROM items JOIN records ON records.item = items.id AND records.state = 'planned'"
        " WHERE (items.state = 'planned' OR items.state = 'intended' OR items.state = 'failed')"
        " AND records.source IN (SELECT source FROM needed_variants)",
        (),
    )
    return int(waiting) - int(others)


def lacking(ask: Ask, source: str, wanted: Sequence[Named], *, in_place: bool) -> tuple[int, int]:
    """(images, variants) of `source` that stand without all of `wanted`: those found in place, or those that arrived.

    Looks at each item of the source. What its content type does not tell to be no image counts; variants that were
    asked for again do not.
    """
    stands = _IN_PLACE if in_place else _ARRIVED
    ((images, variants),) = ask(
        "SELECT count(*), coalesce(sum(lacking), 0) FROM (SELECT ? - (SELECT count(*) FROM variants"
        " WHERE variants.item = items.id AND (name, format) IN (VALUES "
        + ", ".join(["(?, ?)"] * len(wanted))
        + f")) AS lacking FROM items WHERE source = (SELECT id FROM sources WHERE name = ?) AND {stands}"
        " AND coalesce(content_type, 'image/') LIKE 'image/%') WHERE lacking > 0",
        (len(wanted), *(part for named in wanted for part in named), source),
    )
    return int(images), int(variants)


def sample(ask: Ask, source: str, count: int, ledger_id: str, seal: Seal) -> list[Task]:
    """Up to `count` planned items of `source`, spread over all of them in the order of the scan."""
    planned = "state = 'planned' AND source = (SELECT id FROM sources WHERE name = ?) AND fault IS NULL"
    ((first, last),) = ask(f"SELECT min(id), max(id) FROM items WHERE {planned}", (source,))
    if first is None:
        return []
    found: dict[int, Task] = {}
    for step in range(count):
        start = max(first + (last - first + 1) * step // count, max(found, default=0) + 1)
        for item, location, key, size, fingerprint, fields, sealed in ask(
            "SELECT id, location, key, size, fingerprint, fields, sealed FROM items"
            f" WHERE {planned} AND id >= ? ORDER BY id LIMIT 1",
            (source, start),
        ):
            found[item] = Task(
                item,
                f"{ledger_id}/{item}",
                source,
                location,
                key,
                size,
                fingerprint,
                fields=orjson.loads(fields) if fields else None,
                signed=seal.url(sealed),
            )
    return list(found.values())
