"""How the size of an image depends on its quality, measured on generated photographs: what a search begins with.

A picture that is nothing like a photograph makes the first guess a worse one, which costs an encode and no more.
"""

import math
from bisect import bisect_right
from io import BytesIO

from msgspec import Struct
from PIL import Image

from migrator.images.opening import Picture

AVIF_LEVELS = (
    *(2, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 34, 36, 38, 39, 41, 43, 44, 46, 48, 49, 51, 53, 54),
    *(55, 57, 58, 59, 61, 62, 63, 65, 66, 67, 69, 70, 71, 73, 74, 75, 77, 78, 79, 81, 82, 83, 85, 86, 87, 89, 90, 91),
    *(93, 94, 95, 97, 98, 99, 100),
)
"""The last of each group of qualities that libavif makes the same bytes of: it has 64 quantizers for 101 qualities."""

_CURVES: dict[str, tuple[tuple[int, float], ...]] = {
    "jpeg": (
        *((10, -1.152), (20, -0.659), (25, -0.492), (30, -0.36), (35, -0.248), (40, -0.162), (45, -0.069), (50, 0.0)),
        *((55, 0.069), (60, 0.148), (65, 0.244), (70, 0.345), (75, 0.452), (80, 0.604), (85, 0.78), (90, 1.03)),
        *((95, 1.418), (100, 2.165)),
    ),
    "webp": (
        *((10, -0.837), (20, -0.566), (25, -0.451), (30, -0.353), (35, -0.255), (40, -0.163), (45, -0.078), (50, 0.0)),
        *((55, 0.075), (60, 0.149), (65, 0.217), (70, 0.288), (75, 0.368), (80, 0.61), (85, 0.874), (90, 1.223)),
        *((95, 1.686), (100, 2.075)),
    ),
    "avif": (
        *((9, -1.47), (19, -1.154), (21, -1.088), (25, -0.965), (31, -0.756), (34, -0.63), (39, -0.433), (44, -0.238)),
        *((49, 0.0), (54, 0.179), (59, 0.36), (62, 0.436), (65, 0.508), (70, 0.71), (75, 0.869), (79, 0.997)),
        *((85, 1.19), (90, 1.481), (95, 1.823), (99, 2.153)),
    ),
}
"""(quality, logarithm of the size against the one in the middle): means of 24 photographs in five sizes."""

_PROBES = (85, 30)
"""Qualities of two quick JPEGs, from whose sizes those of all formats are guessed."""

_WEIGHTS = {
    "jpeg": ((-0.913, -0.015, 0.346, -0.124, -0.151), (0.611, 0.014, 0.718, -0.2, 0.112)),
    "webp": ((-2.578, 0.031, 0.256, -0.848, -0.348), (0.249, 0.041, 0.76, -0.557, 0.004)),
    "avif": ((-1.474, -0.035, 0.473, -0.561, -0.218), (0.296, 0.063, 0.935, -0.35, 0.073)),
}
"""Least squares over the same photographs, for the offset and the slope of the line of each: of 1, the logarithm of
the pixels, those of the bytes a pixel of both probes, and the square of the last. Errors of the offset: 1.5, 6 and
2.5 %."""


class Line(Struct, frozen=True):
    """The logarithm of the size over the height of the quality on its curve."""

    offset: float
    slope: float


def levels(image_format: str, low: int, high: int) -> tuple[int, ...]:
    """The qualities from `low` to `high` that differ; `high` is one of them. PNG has one."""
    if image_format == "png":
        return (high,)
    if image_format == "avif":
        return (*(level for level in AVIF_LEVELS if low <= level < high), high)
    return tuple(range(low, high + 1))


def height(image_format: str, quality: int) -> float:
    """The logarithm of the size at `quality`, but for a constant and a factor near 1. 0 for PNG."""
    nodes = _CURVES.get(image_format)
    if nodes is None:
        return 0.0
    at = min(max(bisect_right([node for node, _ in nodes], quality), 1), len(nodes) - 1)
    (left, low), (right, high) = nodes[at - 1], nodes[at]
    return low + (high - low) * (quality - left) / (right - left)


def expected(image_format: str, picture: Picture) -> Line | None:
    """What the sizes of a picture will be, about; None where nothing is known of that."""
    if image_format not in _WEIGHTS or len(picture.frames) > 1:
        return None
    pixels = math.log(picture.size[0] * picture.size[1])
    fine, coarse = (math.log(_probe(picture.frames[0], quality)) - pixels for quality in _PROBES)
    values = (1.0, pixels, fine, coarse, coarse * coarse)
    offset, slope = (sum(a * b for a, b in zip(weights, values, strict=True)) for weights in _WEIGHTS[image_format])
    return Line(offset + pixels, max(0.5, min(2.0, slope)))


def _probe(image: Image.Image, quality: int) -> int:
    """Bytes of a JPEG that is made as fast as can be."""
    buffer = BytesIO()
    image.convert("L" if image.mode in ("L", "LA") else "RGB").save(buffer, "JPEG", quality=quality)
    return len(buffer.getvalue())
