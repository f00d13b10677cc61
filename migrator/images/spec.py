"""Where the pixels of a variant come from and go to. Arithmetic only: no image is touched here."""

import math

from msgspec import Struct

from migrator.core.variants import Fit, Wanted

SHRINK = 0.85
"""Factor between one size and the next smaller one, where even the lowest quality has too many bytes."""

Size = tuple[int, int]
"""Width and height in pixels."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


class Layout(Struct, frozen=True):
    """How one variant is laid out, upright.

    box     what of the image is seen, in its own pixels
    size    what that becomes
    canvas  the size of the variant; larger than `size` only where CONTAIN leaves a border
    """

    box: Box
    size: Size
    canvas: Size

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels made of one pixel of the image, across and down; at most 1."""
        left, top, right, bottom = self.box
        return self.size[0] / (right - left), self.size[1] / (bottom - top)


def layout(wanted: Wanted, image: Size, step: int = 0) -> Layout:
    """The layout of a variant of an image of this size, `step` times smaller by SHRINK than what was asked for."""
    shrink = SHRINK**step
    if wanted.fit is Fit.COVER:
        return _cover(wanted, image, shrink)
    bounds = (wanted.width or math.inf) / image[0], (wanted.height or math.inf) / image[1]
    factor = min(1.0, *bounds) * shrink
    size = _whole(image[0] * factor, image[1] * factor)
    canvas = size
    if wanted.fit is Fit.CONTAIN and wanted.width and wanted.height:
        canvas = _whole(wanted.width * shrink, wanted.height * shrink)
    return Layout(whole(image), size, canvas)


def whole(image: Size) -> Box:
    """The box that holds all of an image."""
    return 0.0, 0.0, float(image[0]), float(image[1])


def _cover(wanted: Wanted, image: Size, shrink: float) -> Layout:
    """The middle of the image in the shape that is wanted: as large as both allow, never stretched."""
    width, height = wanted.width or image[0], wanted.height or image[1]
    part = min(image[0] / width, image[1] / height)
    seen = width * part, height * part
    left, top = (image[0] - seen[0]) / 2, (image[1] - seen[1]) / 2
    factor = min(1.0, 1 / part) * shrink
    size = _whole(seen[0] * factor, seen[1] * factor)
    return Layout((left, top, left + seen[0], top + seen[1]), size, size)


def _whole(width: float, height: float) -> Size:
    return max(1, round(width)), max(1, round(height))
