"""The contact sheet of a report: a few small variants, read from the destination and believed only when they match."""

import asyncio
import hashlib
from collections.abc import Sequence

from migrator.clients import loop
from migrator.core.config import Config
from migrator.core.content import sniff
from migrator.core.errors import MigratorError
from migrator.core.ports import Store
from migrator.core.variants import CONTENT_TYPES, Picture
from migrator.ledger.view import LedgerView
from migrator.reports.sheet import BUDGET, LARGEST, MOST, Sheet, Shown
from migrator.wiring.adapters import open_store

PATIENCE = 20.0
"""Seconds that all images together may take: a report is not to wait for a server that does not answer."""


def contact_sheet(config: Config, view: LedgerView, bucket: str) -> Sheet:
    """Up to a dozen of the smallest kind of variant. Raises nothing: what cannot be read is said in the sheet."""
    pictures = _chosen(view)
    if not pictures:
        return Sheet()
    try:
        return loop.run(_read(config, bucket, pictures))
    except (MigratorError, OSError, TimeoutError) as error:
        why = str(error) or f"no answer within {PATIENCE:.0f} s"
        return Sheet(note=f"No images are shown: the destination could not be read when this was written ({why}).")


def _chosen(view: LedgerView) -> list[Picture]:
    """Stored variants of the kind with the fewest bytes a piece, as many as fit on a page."""
    sizes: dict[tuple[str, str], tuple[int, int]] = {}
    for tally in view.variant_tallies():
        if tally.state == "stored" and tally.variants:
            count, size = sizes.get((tally.name, tally.format), (0, 0))
            sizes[tally.name, tally.format] = (count + tally.variants, size + tally.bytes)
    if not sizes:
        return []
    kind = min(sizes, key=lambda named: (sizes[named][1] / sizes[named][0], named))
    chosen: list[Picture] = []
    room = BUDGET
    for picture in view.pictures(*kind, MOST, LARGEST):
        if picture.size <= room and picture.content_type == CONTENT_TYPES.get(picture.format):
            chosen.append(picture)
            room -= picture.size
    return chosen


async def _read(config: Config, bucket: str, pictures: Sequence[Picture]) -> Sheet:
    """Raises the first error where not one of them could be read."""
    async with asyncio.timeout(PATIENCE), open_store(config, bucket) as store:
        found = await asyncio.gather(*(_body(store, picture) for picture in pictures))
    errors = [body for body in found if isinstance(body, MigratorError)]
    if len(errors) == len(found):
        raise errors[0]
    return Sheet(tuple(_shown(picture, body) for picture, body in zip(pictures, found, strict=True)))


def _shown(picture: Picture, body: bytes | MigratorError) -> Shown:
    if isinstance(body, MigratorError):
        return Shown(picture, None, f"It could not be read: {body}")
    same = len(body) == picture.size and hashlib.sha256(body).hexdigest() == picture.sha256
    if not same or sniff(body) != picture.content_type:
        return Shown(picture, None, "Something else stands there now than was stored.")
    return Shown(picture, body)


async def _body(store: Store, picture: Picture) -> bytes | MigratorError:
    """The object's bytes; of a larger one than was stored only the beginning, which is enough to tell."""
    body = bytearray()
    try:
        async for piece in store.read(picture.key):
            body += piece
            if len(body) > picture.size:
                break
    except MigratorError as error:
        return error
    return bytes(body)
