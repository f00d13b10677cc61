"""Where the pixels of a variant come from and go to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.core.variants import Fit, Wanted
from migrator.images.spec import Layout, Size, layout, whole

SIDES = st.integers(1, 16_383)


def wanted(width: int | None, height: int | None, fit: Fit = Fit.INSIDE) -> Wanted:
    return Wanted("v", "jpeg", width, height, fit)


@pytest.mark.parametrize(
    ("bounds", "image", "size"),
    [
        ((300, 300), (4000, 3000), (300, 225)),
        ((300, 300), (3000, 4000), (225, 300)),
        ((300, None), (3000, 6000), (300, 600)),
        ((None, 300), (4000, 3000), (400, 300)),
        ((300, 300), (200, 100), (200, 100)),
        ((300, 50), (200, 100), (100, 50)),
        ((10, 10), (10_000, 3), (10, 1)),
    ],
)
def test_inside(bounds: tuple[int | None, int | None], image: Size, size: Size) -> None:
    assert layout(wanted(*bounds), image) == Layout(whole(image), size, size)


@pytest.mark.parametrize(
    ("bounds", "image", "box", "size"),
    [
        ((150, 150), (4000, 3000), (500, 0, 3500, 3000), (150, 150)),
        ((150, 150), (3000, 4000), (0, 500, 3000, 3500), (150, 150)),
        ((150, 150), (400, 100), (150, 0, 250, 100), (100, 100)),
        ((200, 100), (50, 50), (0, 12.5, 50, 37.5), (50, 25)),
    ],
)
def test_cover(bounds: Size, image: Size, box: tuple[float, ...], size: Size) -> None:
    laid = layout(wanted(*bounds, Fit.COVER), image)
    assert laid.box == pytest.approx(box)
    assert laid.size == laid.canvas == size


@pytest.mark.parametrize(
    ("image", "size"), [((4000, 3000), (200, 150)), ((300, 3000), (20, 200)), ((50, 40), (50, 40))]
)
def test_contain(image: Size, size: Size) -> None:
    assert layout(wanted(200, 200, Fit.CONTAIN), image) == Layout(whole(image), size, (200, 200))


def test_a_step_is_a_factor_for_all_of_it() -> None:
    assert layout(wanted(300, 300), (4000, 3000), 2).size == (217, 163)
    assert layout(wanted(300, 300), (100, 100), 1).size == (85, 85)
    assert layout(wanted(100, 100, Fit.COVER), (4000, 3000), 1).size == (85, 85)
    smaller = layout(wanted(200, 200, Fit.CONTAIN), (4000, 3000), 1)
    assert (smaller.size, smaller.canvas) == ((170, 128), (170, 170))


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(Fit), st.integers(0, 3))
def test_nothing_is_enlarged_or_leaves_the_image(
    width: int, height: int, across: int, down: int, fit: Fit, step: int
) -> None:
    laid = layout(wanted(width, height, fit), (across, down), step)
    left, top, right, bottom = laid.box
    assert -1e-6 <= left < right <= across + 1e-6
    assert -1e-6 <= top < bottom <= down + 1e-6
    assert 1 <= laid.size[0] <= max(1, min(width, across))
    assert 1 <= laid.size[1] <= max(1, min(height, down))
    assert laid.canvas == laid.size or (fit is Fit.CONTAIN and laid.canvas[0] <= width and laid.canvas[1] <= height)
