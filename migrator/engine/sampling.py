"""What the variants of some images cost: read and rendered as a run would, so that a plan can tell of all of them."""

import asyncio
from collections.abc import Mapping, Sequence

from msgspec import Struct

from migrator.core.errors import ObjectError
from migrator.core.model import Task
from migrator.core.ports import Reader, Renderer
from migrator.core.variants import Wanted
from migrator.engine.rendering_cost import measure_rendering
from migrator.engine.variants import is_image

PATIENCE = 20.0
"""Seconds after which whatever is known by then has to do."""
LARGEST = 64 * 1024 * 1024
"""Bytes of an object beyond which it is not looked at."""
_LANES = 4


class Sampled(Struct, frozen=True):
    """What was seen of one source.

    looked   objects that were read
    images   those of them that are images
    seconds  CPU of all variants of these images
    bytes    of all these variants
    failed   variants that could not be made
    """

    looked: int = 0
    images: int = 0
    seconds: float = 0.0
    bytes: float = 0.0
    failed: int = 0

    def __add__(self, other: "Sampled") -> "Sampled":
        return Sampled(
            self.looked + other.looked,
            self.images + other.images,
            self.seconds + other.seconds,
            self.bytes + other.bytes,
            self.failed + other.failed,
        )


async def sample(
    reader: Reader,
    renderer: Renderer,
    tasks: Sequence[Task],
    wanted: Mapping[str, Sequence[Wanted]],
    patience: float = PATIENCE,
) -> dict[str, Sampled]:
    """What could be seen of `tasks` in time, by source; what cannot be read is left out. `wanted` is by source too."""
    found: dict[str, Sampled] = {}
    left = iter(tasks)

    async def lane() -> None:
        for task in left:
            seen = await _look(reader, renderer, task, wanted[task.source])
            found[task.source] = found.get(task.source, Sampled()) + seen

    try:
        async with asyncio.timeout(patience), asyncio.TaskGroup() as group:
            for _ in range(_LANES):
                group.create_task(lane())
    except TimeoutError:
        pass
    return found


async def _look(reader: Reader, renderer: Renderer, task: Task, wanted: Sequence[Wanted]) -> Sampled:
    try:
        async with reader.open(task) as body:
            data = b"" if (body.size or 0) > LARGEST else await body.read(LARGEST + 1)
    except ObjectError:
        return Sampled()
    if len(data) > LARGEST or not data:
        return Sampled()
    if not is_image(data):
        return Sampled(looked=1)
    cost = await measure_rendering(renderer, [data], wanted)
    return Sampled(looked=1, images=1, seconds=cost.seconds, bytes=cost.bytes, failed=cost.failed)
