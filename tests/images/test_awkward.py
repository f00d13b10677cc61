"""Images that surprise: each gives the pixels that it stands for, or is refused by name; and none ends a worker."""

import asyncio
import re
from collections.abc import Mapping

import pytest
from PIL import Image

from migrator.core.model import Failed, Fault
from migrator.core.variants import Rendered, Wanted
from migrator.images.pool import RenderPool
from tests.images import awkward, hostile
from tests.images.chart import fields, opened

GOOD = awkward.cases()
BAD = hostile.cases()
EXACT = Wanted("exact", "png", 80, 60)
LOSSY = [Wanted("lossy", image_format, 80, 60, quality=95) for image_format in ("jpeg", "webp", "avif")]
LOSS = 6
"""Steps of 255 that a quality of 95 may cost in a field of one colour, beside the tolerance of the source."""

Results = Mapping[str, list[Rendered | Failed]]


@pytest.fixture(scope="module")
def results() -> Results:
    """All of them, through one pool."""

    async def render() -> Results:
        pool = RenderPool()
        try:
            data = {name: case.data for name, case in GOOD.items()} | {name: case[0] for name, case in BAD.items()}
            made = await asyncio.gather(*(pool.render(each, [EXACT, *LOSSY]) for each in data.values()))
            return dict(zip(data, made, strict=True))
        finally:
            await pool.close()

    return asyncio.run(render())


def test_there_are_enough_of_them() -> None:
    assert len(GOOD.keys() | BAD.keys()) == len(GOOD) + len(BAD) >= 60


@pytest.mark.parametrize("name", GOOD)
def test_the_pixels_are_right(name: str, results: Results) -> None:
    case = GOOD[name]
    for made in results[name]:
        assert isinstance(made, Rendered), made
        image = opened(made.body)
        assert image.size == (made.width, made.height) == (80, 60)
        assert "exif" not in image.info
        seen = fields(over_white(image))
        tolerance = case.tolerance + (0 if made.format == "png" else LOSS)
        for at, colour in case.expected.items():
            wanted = colour if len(colour) == 3 else colour * 3
            far = max(abs(a - b) for a, b in zip(seen[at], wanted, strict=True))
            assert far <= tolerance, f"{made.format} {at}: {seen[at]}, not {wanted}"


@pytest.mark.parametrize("name", [name for name, case in GOOD.items() if len(case.expected[0, 0]) == 1])
def test_gray_stays_gray(name: str, results: Results) -> None:
    exact, lossy, *_ = results[name]
    assert isinstance(exact, Rendered)
    assert isinstance(lossy, Rendered)
    assert opened(exact.body).mode in ("L", "LA")
    assert opened(lossy.body).mode == "L"


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_decoded_is_refused_by_name(name: str, results: Results) -> None:
    pattern = BAD[name][1]
    for made in results[name]:
        assert isinstance(made, Failed), made
        assert (made.fault, made.retryable) == (Fault.RENDER, False), made
        assert re.search(pattern, made.message), made.message
        assert "\n" not in made.message


def over_white(image: Image.Image) -> Image.Image:
    """What one sees of it on a white page."""
    page = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(page, image.convert("RGBA")).convert("RGB")
