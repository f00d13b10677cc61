"""A picture whose pixels are known: four fields of one colour each, none of them like another."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from PIL import Image

SIZE = (160, 120)
Pixel = tuple[int, ...]
FIELDS: Mapping[tuple[int, int], Pixel] = {
    (0, 0): (200, 40, 30),
    (1, 0): (40, 180, 60),
    (0, 1): (30, 60, 200),
    (1, 1): (240, 220, 90),
}
"""(column, row) -> colour, upright."""


def chart(size: tuple[int, int] = SIZE) -> Image.Image:
    """The picture in RGB."""
    image = Image.new("RGB", size)
    half = size[0] // 2, size[1] // 2
    for (column, row), colour in FIELDS.items():
        image.paste(colour, (column * half[0], row * half[1], (column + 1) * half[0], (row + 1) * half[1]))
    return image


def grays() -> dict[tuple[int, int], Pixel]:
    """The fields as Pillow's `L` has them. (ITU-R 601-2 luma)"""
    return {at: (round((299 * r + 587 * g + 114 * b) / 1000),) for at, (r, g, b) in FIELDS.items()}


def fields(image: Image.Image) -> dict[tuple[int, int], Pixel]:
    """What stands in the middle of each field."""
    found = {}
    for column, row in FIELDS:
        pixel = image.getpixel(((2 * column + 1) * image.width // 4, (2 * row + 1) * image.height // 4))
        found[column, row] = pixel if isinstance(pixel, tuple) else (int(pixel or 0),)
    return found


def saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """The bytes of a file."""
    buffer = BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    """The image in a file, decoded."""
    image = Image.open(BytesIO(data))
    image.load()
    return image
