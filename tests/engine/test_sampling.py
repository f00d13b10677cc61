"""A sample of images tells what all of them will take, and never holds a plan up."""

import asyncio
from collections.abc import Sequence

from migrator.core.model import Failed, Fault
from migrator.core.variants import Rendered, Wanted
from migrator.engine.sampling import LARGEST, Sampled, sample

from .world import MemoryReader, a_task

JPEG = b"\xff\xd8\xff\xe0 a photograph"
WANTED = {"files": [Wanted("thumb", "jpeg", 10, 10), Wanted("full", "webp", 100, 100)]}


class Measured:
    """A renderer: half a second of CPU and ten bytes a variant; it cannot make those of `bad`, and may hang."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.hangs = hangs

    async def render(self, data: bytes, wanted: Sequence[Wanted]) -> list[Rendered | Failed]:
        if self.hangs and b"hang" in data:
            await asyncio.Event().wait()
        if b"bad" in data:
            return [Failed(Fault.RENDER, "broken") for _ in wanted]
        return [Rendered(w.name, w.format, bytes(10), 1, 1, 85, 1, "image/jpeg", 0.5, (1, 1)) for w in wanted]

    async def close(self) -> None: ...


async def test_images_are_counted_among_what_was_read() -> None:
    reader = MemoryReader(**{"a.jpg": JPEG, "b.jpg": JPEG + b"bad", "c.txt": b"words", "empty.jpg": b""})
    tasks = [a_task(name) for name in ("a.jpg", "b.jpg", "c.txt", "empty.jpg", "absent.jpg")]
    found = await sample(reader, Measured(), tasks, WANTED)
    assert found["files"] == Sampled(looked=3, images=2, seconds=1.0, bytes=20, failed=2)


async def test_what_is_known_when_patience_ends_has_to_do() -> None:
    reader = MemoryReader(**{"a.jpg": JPEG, "b.jpg": JPEG + b"hang"})
    tasks = [a_task("a.jpg"), *[a_task("b.jpg")] * 4]
    found = await sample(reader, Measured(hangs=True), tasks, WANTED, patience=0.2)
    assert found["files"].looked == 1


async def test_an_object_that_is_too_large_is_left_out() -> None:
    reader = MemoryReader(**{"a.jpg": JPEG + bytes(LARGEST)})
    assert (await sample(reader, Measured(), [a_task("a.jpg")], WANTED))["files"] == Sampled()
