"""What making variants costs: measured on a sample of the images, before there are a million of them."""

import asyncio
from collections.abc import Iterable, Sequence

from msgspec import Struct

from migrator.core.ports import Renderer
from migrator.core.variants import Rendered, Wanted

SAMPLE = 20
"""Images that tell enough of the others."""


class RenderingCost(Struct, frozen=True):
    """Means of a sample of `images`: CPU seconds and bytes of all variants of one; `failed` ones count nothing."""

    images: int
    seconds: float
    bytes: float
    failed: int


async def measure_rendering(renderer: Renderer, images: Iterable[bytes], wanted: Sequence[Wanted]) -> RenderingCost:
    """Renders the images; every one of them is held until it is done, so they are a sample."""
    results = await asyncio.gather(*(renderer.render(image, wanted) for image in images))
    made = [each for result in results for each in result if isinstance(each, Rendered)]
    count = max(1, len(results))
    return RenderingCost(
        images=len(results),
        seconds=sum(each.seconds for each in made) / count,
        bytes=sum(len(each.body) for each in made) / count,
        failed=sum(len(result) for result in results) - len(made),
    )
