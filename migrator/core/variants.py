"""The values of image variants: what a renderer is asked for and what it gives back. Frozen, small, picklable."""

from collections.abc import Mapping
from enum import StrEnum
from urllib.parse import quote

from msgspec import Struct

CONTENT_TYPES: Mapping[str, str] = {
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "avif": "image/avif",
    "png": "image/png",
}
"""Formats that a variant may have, and how each is stored."""


class Fit(StrEnum):
    """How an image meets the bounds of a variant; never by being enlarged."""

    INSIDE = "inside"
    COVER = "cover"
    CONTAIN = "contain"


class Wanted(Struct, frozen=True):
    """One image to be made: a variant in one of its formats.

    format      "jpeg", "webp", "avif" or "png"
    width       pixels, or None where only `height` bounds it; one of the two is a number, both but for INSIDE
    quality     what it is made at where `max_bytes` allows, 1 to 100
    max_bytes   None: no bound
    background  red, green and blue under transparency that the format has not, and around CONTAIN
    """

    name: str
    format: str
    width: int | None
    height: int | None
    fit: Fit = Fit.INSIDE
    quality: int = 85
    max_bytes: int | None = None
    strip: bool = True
    background: tuple[int, int, int] = (255, 255, 255)
    animated: bool = False


class Rendered(Struct, frozen=True):
    """A variant in one format, ready to be put.

    quality  what it was encoded at; None where the format loses nothing (png)
    encodes  how often it was encoded until it fitted
    seconds  CPU that it took, with its share of what all variants of the image need (decoding)
    source   width and height of the image that it was made of, upright
    """

    name: str
    format: str
    body: bytes
    width: int
    height: int
    quality: int | None
    encodes: int
    content_type: str
    seconds: float
    source: tuple[int, int]


class VariantMeans(Struct, frozen=True):
    """Means over stored variants of one kind: their quality (None where there is none), bytes of their originals."""

    quality: float | None
    original: float | None


class Picture(Struct, frozen=True):
    """A stored variant that may be shown. `original` is the key of its image; `sha256` is hex."""

    name: str
    format: str
    key: str
    original: str
    original_size: int | None
    size: int
    sha256: str
    content_type: str | None
    width: int
    height: int
    quality: int | None


def names_of(keys: Mapping[tuple[str, str], str], public_url: str) -> dict[str, str | None]:
    """What templates call these variants, (name, format) -> key: `variant.<name>.<format>.key` and `.url`.

    The format may be left out where a name has one only. `public_url` is the base of URLs; empty: they have no value.
    """
    formats = [name for name, _ in keys]
    values: dict[str, str | None] = {}
    for (name, image_format), key in keys.items():
        for step in (f".{image_format}", *([""] if formats.count(name) == 1 else ())):
            values[f"variant.{name}{step}.key"] = key
            values[f"variant.{name}{step}.url"] = f"{public_url}/{quote(key)}" if public_url else None
    return values
