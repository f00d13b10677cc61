"""Collections to measure with: the auction lots of examples/auction-lots.toml, and items as a scan of them gives."""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from migrator.core.model import Item, Page

LOTS = 31_124
URLS = 256_694
HOST = "cdn.lots.test"
"""How many files the auction house's export has, and how many URLs stand in them."""


def write_lots(folder: Path, lots: int = LOTS, urls: int = URLS) -> None:
    """Writes `lots` files below `folder`/data/lots that hold `urls` URLs in all."""
    for lot in range(lots):
        # Spread evenly to the last one; every image has two URLs, and an odd one has no thumbnail.
        count = urls * (lot + 1) // lots - urls * lot // lots
        path = folder / "data" / "lots" / f"{lot // 500:03d}" / f"lot_{lot:06d}_images.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_lot(lot, count), indent=2))


def _lot(lot: int, urls: int) -> dict[str, object]:
    images: list[dict[str, object]] = []
    for number in range(0, urls, 2):
        scheme = "http" if number == 0 else "https"
        base = f"{scheme}://{HOST}/auctionimages/{lot // 500:03d}/{lot:06d}/lot_{lot:06d}_{number // 2:02d}"
        image: dict[str, object] = {"position": number // 2, "image_url": f"{base}.jpg"}
        if number + 1 < urls:
            image["thumb_url"] = f"{base}_t.jpg"
        images.append(image)
    return {"lot_id": lot, "title": f"Lot {lot}: oil on canvas, signed", "estimate": [100, 250], "images": images}


def pages(items: int, size: int = 2000, *, ordered: bool = True) -> Iterator[Page]:
    """`items` items in the order of a scan: keys of about 45 characters, URLs of about 75.

    Not `ordered`: their keys are drawn, as those of photographs that are named by a UUID.
    """
    make = _item if ordered else _drawn_item
    for start in range(0, items, size):
        end = min(start + size, items)
        page = tuple(make(number) for number in range(start, end))
        yield Page(page, (), cursor=f"data/lots/{end // 4000:05d}:{end}")


def _item(number: int) -> Item:
    key = f"lots/{number // 4000:05d}/{number // 8:08d}/lot_{number // 8:08d}_{number % 8:02d}_full.jpg"
    return Item(f"https://{HOST}/auctionimages/{key}", key)


def _drawn_item(number: int) -> Item:
    drawn = hashlib.md5(number.to_bytes(8)).hexdigest()
    key = f"photos/{drawn[:2]}/{drawn}.jpg"
    return Item(f"https://{HOST}/media/{key}", key)


if __name__ == "__main__":
    write_lots(Path(sys.argv[1]))
