"""The best quality that fits: against every quality there is, in at most four encodes."""

import math
from collections.abc import Callable
from functools import partial

import pytest
from PIL import Image

from benchmarks.photographs import photograph
from migrator.core.errors import Unrendered
from migrator.images import curves
from migrator.images.encoding import encoded
from migrator.images.opening import Picture
from migrator.images.quality import FLOOR, MOST_ENCODES, NEAR, Found, best
from migrator.images.spec import SHRINK

TOP = {"jpeg": 85, "webp": 85, "avif": 60}


def smaller(picture: Picture, step: int) -> Picture:
    width, height = (max(1, round(side * SHRINK**step)) for side in picture.size)
    return Picture((picture.frames[0].resize((width, height)),)) if step else picture


def found(image_format: str, picture: Picture, max_bytes: int, top: int = 0) -> Found:
    encode = partial(encoded, image_format)
    return best(image_format, top or TOP[image_format], max_bytes, partial(smaller, picture), encode)


def exhaustive(image_format: str, picture: Picture, max_bytes: int) -> int:
    """The highest quality that fits, tried one by one from the top."""
    tried = reversed(curves.levels(image_format, FLOOR, TOP[image_format]))
    return next(level for level in tried if len(encoded(image_format, picture, level)) <= max_bytes)


@pytest.mark.parametrize("image_format", TOP)
@pytest.mark.parametrize("seed", range(700, 702))
def test_it_is_near_the_best_there_is(image_format: str, seed: int) -> None:
    image = photograph(seed, (1200, 900)).resize((480, 360))
    picture = Picture((image,))
    whole = len(encoded(image_format, picture, TOP[image_format]))
    for part in (0.4, 0.8):
        limit = int(whole * part)
        made = found(image_format, picture, limit)
        assert len(made.body) <= limit
        assert made.encodes <= MOST_ENCODES
        assert made.picture is picture
        assert made.quality >= NEAR * exhaustive(image_format, picture, limit)


Size = Callable[[int, Picture], int]


def invented(size: Size, max_bytes: int, top: int = 85, image_format: str = "jpeg") -> tuple[Found, list[int]]:
    """What is found where `size` tells how many bytes a quality has, and the qualities that were tried."""
    tried: list[int] = []

    def encode(picture: Picture, quality: int) -> bytes:
        tried.append(quality)
        return bytes(size(quality, picture))

    picture = Picture((Image.new("RGB", (400, 300)),))
    return best(image_format, top, max_bytes, partial(smaller, picture), encode), tried


@pytest.mark.parametrize("steepness", [0.01, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("base", [300, 5_000, 80_000])
@pytest.mark.parametrize("best_quality", [20, 21, 33, 50, 77, 84, 85])
def test_whatever_the_sizes_are_it_ends_near_the_best(steepness: float, base: int, best_quality: int) -> None:
    def size(quality: int, picture: Picture) -> int:
        return round(base * math.exp(steepness * quality))

    picture = Picture((Image.new("RGB", (4, 4)),))
    made, tried = invented(size, size(best_quality, picture))
    assert len(tried) == made.encodes <= MOST_ENCODES
    best_there_is = max(q for q in range(FLOOR, 86) if size(q, picture) <= size(best_quality, picture))
    assert made.quality >= 0.9 * best_there_is


def test_what_fits_at_once_is_encoded_once() -> None:
    picture = Picture((photograph(3, (480, 360)),))
    made = found("jpeg", picture, 1_000_000)
    assert (made.quality, made.encodes) == (85, 1)


def test_without_a_bound_nothing_is_searched() -> None:
    picture = Picture((Image.new("RGB", (9, 9)),))
    made = best("webp", 12, None, partial(smaller, picture), partial(encoded, "webp"))
    assert (made.quality, made.encodes) == (12, 1)


def test_dimensions_shrink_only_below_the_lowest_quality() -> None:
    picture = Picture((photograph(4, (1200, 900)).resize((480, 360)),))
    least = len(encoded("jpeg", picture, FLOOR))
    assert found("jpeg", picture, least).picture is picture
    made = found("jpeg", picture, least // 3)
    assert made.quality == FLOOR
    assert made.encodes <= MOST_ENCODES
    width = made.picture.size[0]
    assert width < 480
    larger = smaller(picture, round(math.log(width / 480) / math.log(SHRINK)) - 1)
    assert len(encoded("jpeg", larger, FLOOR)) > least // 3


def test_a_lower_quality_than_the_floor_may_be_asked_for() -> None:
    picture = Picture((photograph(4, (480, 360)),))
    limit = len(encoded("jpeg", picture, 10))
    assert found("jpeg", picture, limit, top=10).quality == 10


def test_png_has_dimensions_only() -> None:
    picture = Picture((photograph(5, (480, 360)),))
    whole = len(encoded("png", picture, 100))
    made = found("png", picture, whole // 2, top=100)
    assert len(made.body) <= whole // 2
    assert made.picture.size[0] < 480


def test_what_never_fits_is_refused_in_words() -> None:
    with pytest.raises(
        Unrendered, match=r"cannot be made to fit in 500 bytes: still 9000 bytes at quality 20 and \d+ x"
    ):
        invented(lambda *_: 9000, 500)


def test_avif_is_tried_only_where_its_bytes_differ() -> None:
    picture = Picture((photograph(6, (96, 72)),))
    bodies = [encoded("avif", picture, level) for level in curves.levels("avif", 40, 60)]
    assert len(set(bodies)) == len(bodies)
