"""The cost of variants is that of a sample, an image."""

from collections.abc import Sequence

from migrator.core.model import Failed, Fault
from migrator.core.variants import Rendered, Wanted
from migrator.engine.rendering_cost import RenderingCost, measure_rendering


class Sampled:
    """Renderer: half a second and as many bytes as the image has for each variant; what is empty fails."""

    async def render(self, data: bytes, wanted: Sequence[Wanted]) -> list[Rendered | Failed]:
        if not data:
            return [Failed(Fault.RENDER, "nothing there") for _ in wanted]
        return [Rendered(each.name, each.format, data, 1, 1, 85, 1, "image/jpeg", 0.5, (1, 1)) for each in wanted]

    async def close(self) -> None:
        pass


WANTED = [Wanted("a", "jpeg", 9, 9), Wanted("b", "jpeg", 5, 5)]


async def test_the_mean_of_the_sample() -> None:
    cost = await measure_rendering(Sampled(), [b"1234", b"12", b""], WANTED)
    assert cost == RenderingCost(images=3, seconds=2 / 3, bytes=4, failed=2)


async def test_no_sample_costs_nothing() -> None:
    assert await measure_rendering(Sampled(), [], WANTED) == RenderingCost(0, 0, 0, 0)
