"""The best quality that fits `max_bytes`, with few encodes: the logarithm of the size is predicted."""

import math
from collections.abc import Callable, Sequence

from msgspec import Struct

from migrator.core.errors import Unrendered
from migrator.images import curves
from migrator.images.opening import Picture
from migrator.images.spec import SHRINK

MOST_ENCODES = 4
"""Encodes of one variant."""

FLOOR = 20
"""The lowest quality that is tried, unless a lower one was asked for; then dimensions shrink."""

NEAR = 0.97
"""A quality that fits is good enough when it is at least this part of the best one that would."""

MOST_STEPS = 12
"""Times that the dimensions shrink, to a seventh: what is smaller still is no use to anybody."""

_MARGINS = (0.035, 0.012, 0.01, 0.02)
"""How far below the limit the first, second, ... encode aims (natural logarithm): about the error of its prediction.
The last one had better fit, or it was for nothing."""

_SAFE_MARGIN = 0.12
"""The same at most for the last encode when nothing has fitted yet; less where the limit is near."""

_STEEPNESS = 0.3
_STEEPNESS_OF_JPEG = 0.15
"""The part of its expected slope that a size surely has: what is predicted to be too large with this, is. One more
encode of a JPEG costs next to nothing."""

_NOISE = 0.03
"""Height on the curve within which the slope between two sizes says little: both are whole steps of a quantizer."""

_AREA = 1.6
"""Exponent of the side length by which the size falls: smaller images have more detail in each pixel."""

Encode = Callable[[Picture, int], bytes]
Ready = Callable[[int], Picture]
"""The picture, this many times smaller by SHRINK than what was asked for."""


class Found(Struct, frozen=True):
    """What fits: the bytes, the picture that they are of, and what it took."""

    picture: Picture
    body: bytes
    quality: int
    encodes: int


def best(image_format: str, quality: int, max_bytes: int | None, ready: Ready, encode: Encode) -> Found:
    """The best that has at most `max_bytes`, from `quality` down to FLOOR, then of smaller dimensions.

    Raises Unrendered when nothing fitted.
    """
    picture = ready(0)
    if max_bytes is None:
        return Found(picture, encode(picture, quality), quality, 1)
    levels = curves.levels(image_format, min(FLOOR, quality), quality)
    search = _Search(image_format, levels, math.log(max_bytes), curves.expected(image_format, picture))
    bodies: dict[int, bytes] = {}
    while (index := search.following()) is not None:
        bodies = {index: encode(picture, levels[index]), **{at: bodies[at] for at in bodies if at == search.fits}}
        search.learn(index, len(bodies[index]))
    if search.fits >= 0:
        return Found(picture, bodies[search.fits], levels[search.fits], search.encodes)
    return _smaller(levels[0], max_bytes, search.smallest, search.encodes, ready, encode)


class _Search:
    """Among `levels`, which rise, the highest whose size is within `limit` (a logarithm, as all sizes here)."""

    def __init__(self, image_format: str, levels: Sequence[int], limit: float, expected: curves.Line | None) -> None:
        self.fits = -1
        """Index of the highest level that fits; -1 while none does."""
        self.encodes = 0
        self.smallest = math.inf
        self._exceeds = len(levels)
        self._levels = levels
        self._steepness = _STEEPNESS_OF_JPEG if image_format == "jpeg" else _STEEPNESS
        self._limit = limit
        self._curve = [curves.height(image_format, level) for level in levels]
        self._line = expected
        self._sizes: dict[int, float] = {}

    def learn(self, index: int, size: int) -> None:
        """The level at `index` has `size` bytes."""
        self.encodes += 1
        self._sizes[index] = math.log(size)
        self.smallest = min(self.smallest, self._sizes[index])
        if self._sizes[index] <= self._limit:
            self.fits = max(self.fits, index)
        else:
            self._exceeds = min(self._exceeds, index)
        self._line = self._fitted()

    def following(self) -> int | None:
        """The next index to try; None when there is no more to gain, or no encode left."""
        if self.encodes == MOST_ENCODES or self.fits >= len(self._levels) - 1 or self._exceeds <= self.fits + 1:
            return None
        if self._line is None:
            return len(self._levels) - 1
        if self.fits >= 0 and self._near_enough(self._line):
            return None
        margin = _MARGINS[self.encodes]
        if self.encodes == MOST_ENCODES - 1 and self.fits < 0:
            margin = min(_SAFE_MARGIN, margin + (self.smallest - self._limit) / 3)
        index = self._highest(self._line, self._limit - margin)
        return max(self.fits + 1, min(self._exceeds - 1, index))

    def _fitted(self) -> curves.Line:
        """The line through what is known: the two sizes around the limit, or the two next to it, or the one."""
        near = sorted(self._sizes, key=lambda index: abs(self._sizes[index] - self._limit))[:2]
        if self.fits >= 0 and self._exceeds in self._sizes:
            near = [self.fits, self._exceeds]
        base = near[0]
        slope = self._line.slope if self._line else 1.0
        if len(near) == 2:
            low, high = sorted(near)
            run, rise = self._curve[high] - self._curve[low], self._sizes[high] - self._sizes[low]
            slope = (rise + _NOISE * slope) / (run + _NOISE)
        slope = max(0.1, min(8.0, slope))
        return curves.Line(self._sizes[base] - slope * self._curve[base], slope)

    def _highest(self, line: curves.Line, aim: float) -> int:
        within = [index for index, height in enumerate(self._curve) if line.offset + line.slope * height <= aim]
        return within[-1] if within else 0

    def _near_enough(self, line: curves.Line) -> bool:
        """Whether nothing better than what fits by more than NEAR can fit too."""
        size, height = self._sizes[self.fits], self._curve[self.fits]
        steep = line.slope * self._steepness
        rest = range(self.fits + 1, self._exceeds)
        highest = max((i for i in rest if size + steep * (self._curve[i] - height) <= self._limit), default=self.fits)
        return self._levels[self.fits] >= NEAR * self._levels[highest]


def _smaller(quality: int, max_bytes: int, full: float, encodes: int, ready: Ready, encode: Encode) -> Found:
    """The largest dimensions that fit at `quality`, of which the full ones have `full` bytes (a logarithm)."""
    limit = math.log(max_bytes)
    too_large, size, exponent = 0, full, _AREA
    found: tuple[int, Picture, bytes] | None = None
    while encodes < MOST_ENCODES:
        fall = -exponent * math.log(SHRINK)
        if found is None:
            cautious = encodes == MOST_ENCODES - 1 and too_large > 0
            step = min(MOST_STEPS, too_large + max(1, math.ceil((size - limit) / fall)) + cautious)
            if step == too_large:
                break
        elif found[0] - 1 > too_large and math.log(len(found[2])) + fall <= limit + _MARGINS[0]:
            step = found[0] - 1
        else:
            break
        picture = ready(step)
        body = encode(picture, quality)
        encodes += 1
        if len(body) <= max_bytes:
            found = step, picture, body
            continue
        before, size = size, math.log(len(body))
        exponent = max(0.5, (before - size) / -math.log(SHRINK) / (step - too_large))
        too_large = step
    if found is None:
        width, height = ready(too_large).size
        reached = f"{round(math.exp(size))} bytes at quality {quality} and {width} x {height}"
        raise Unrendered(f"cannot be made to fit in {max_bytes} bytes: still {reached}")
    return Found(found[1], found[2], quality, encodes)
