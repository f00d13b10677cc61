"""A small world made from a seed: a tree of files with odd names, lots of URLs, and what must come of them."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.faults.proxy import Proxy
from tests.faults.wire import Answer

MIB = 1024 * 1024

ODD_NAMES = (
    "plus+percent%20hash#question?and&.jpg",
    " leading and trailing space ",
    "two  spaces/ and a folder with one /x.jpg",
    "nfc-\u00e9/nfd-e\u0301.png",
    "nfd-e\u0301.png",
    "nfc-\u00e9.png",
    "emoji-\U0001f4f7\U0001f3fd/\u4e2d\u6587.jpg",
    "quotes'\"`.txt",
    "back\\slash.txt",
    "semi;colon,comma=equals@at.txt",
    "star*brackets[1](2){3}.txt",
    "percent%2Fslash.txt",
    "tilde~caret^pipe|less<greater>.txt",
    "...three.dots",
    ".hidden",
    "no-extension",
    "UPPER.JPG",
    "upper.jpg",
)


@dataclass(frozen=True, slots=True)
class World:
    """What was made: the content of the bucket that a whole migration of it leaves."""

    tree: Path
    lots: str
    """Glob of the manifest's files."""
    pages: dict[str, Answer]
    expected: dict[str, bytes]

    def write_lots(self, origin: str) -> None:
        """Writes the lot files, now that the origin's URL is known."""
        folder = Path(self.lots).parent
        folder.mkdir(parents=True, exist_ok=True)
        paths = list(self.pages)
        for number, start in enumerate(range(0, len(paths), 6)):
            images = [
                {"image_url": origin + full, "thumb_url": origin + thumb, "note": None, "number": number}
                for full, thumb in zip(paths[start : start + 6 : 2], paths[start + 1 : start + 6 : 2], strict=False)
            ]
            (folder / f"lot_{number}.json").write_text(json.dumps({"lot": {"id": number, "images": images}}))


def build_world(folder: Path, seed: int, *, files: int = 90, urls: int = 48, large: int = 20 * MIB) -> World:
    """Makes `files` small files beside the odd names, one of `large` bytes, and `urls` pages (an even number)."""
    draw = random.Random(seed)
    tree = folder / "tree"
    expected: dict[str, bytes] = {}
    names = [*ODD_NAMES, *(f"dir{draw.randrange(7)}/sub{draw.randrange(3)}/file{i}.bin" for i in range(files))]
    size = _sizes(draw)
    contents = {name: draw.randbytes(size()) for name in names}
    contents["empty.bin"] = b""
    if large:
        contents["large/recording.bin"] = draw.randbytes(large)
    for name, body in contents.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    expected |= contents
    pages: dict[str, Answer] = {}
    for i in range(urls):
        name = f"cdn/lot {i // 6}/image-{i}+\u00fc.jpg"
        expected[name] = draw.randbytes(size())
        pages["/" + quote(name)] = Answer(200, [("Content-Type", "image/jpeg")], expected[name])
    return World(tree, str(folder / "lots" / "*.json"), pages, expected)


def _sizes(draw: random.Random) -> Callable[[], int]:
    return lambda: draw.choice((1, 100, 5_000, 50_000, 120_000)) + draw.randrange(50)


def small_tree(folder: Path, count: int = 12, size: int = 3000, seed: int = 1) -> dict[str, bytes]:
    """A plain tree below `folder`/tree: bytes by key."""
    draw = random.Random(seed)
    contents = {f"dir{i % 3}/file{i}.bin": draw.randbytes(size) for i in range(count)}
    return write_tree(folder / "tree", contents)


def write_tree(root: Path, contents: dict[str, bytes]) -> dict[str, bytes]:
    """Writes the files and hands their contents back."""
    for name, body in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return contents


def write_lot(path: Path, urls: list[str]) -> None:
    """One lot file that lists `urls`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": [{"image_url": url} for url in urls]}))


def origin_of(contents: dict[str, bytes], content_type: str = "image/jpeg") -> Proxy:
    """An HTTP origin that serves `contents` by key."""
    return Proxy(
        {"/" + quote(key): Answer(200, [("Content-Type", content_type)], body) for key, body in contents.items()}
    )
