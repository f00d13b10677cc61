"""Whatever an image does to the process that decodes it: its variant fails, the others are made, the pool goes on."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PIL import Image

from migrator.core.model import Failed, Fault
from migrator.core.variants import Rendered, Wanted
from migrator.images.messages import Limits
from migrator.images.pool import RenderPool
from tests.images.chart import SIZE, chart, saved

ROGUE = Path(__file__).with_name("rogue.py")
WANTED = [Wanted("small", image_format, 40, 40) for image_format in ("jpeg", "webp", "png")]
JPEG = saved(chart(), "JPEG", quality=95)


@asynccontextmanager
async def pool(how: str = "", size: int = 1, limits: Limits | None = None) -> AsyncIterator[RenderPool]:
    command = (sys.executable, str(ROGUE), how)
    made = RenderPool(size, limits, command) if how else RenderPool(size, limits)
    try:
        yield made
    finally:
        await made.close()


def rendered(results: Sequence[Rendered | Failed]) -> list[str]:
    return [each.format for each in results if isinstance(each, Rendered)]


def only_failure(results: Sequence[Rendered | Failed]) -> Failed:
    (failed,) = (each for each in results if isinstance(each, Failed))
    assert failed.fault is Fault.RENDER
    return failed


async def test_variants_come_in_the_order_in_which_they_are_wanted() -> None:
    wanted = [Wanted("a", "png", 10, None), Wanted("b", "avif", None, 90), Wanted("c", "jpeg", 30, 30)]
    async with pool() as made:
        results = await made.render(JPEG, wanted)
    assert [(each.name, each.format, each.width) for each in results if isinstance(each, Rendered)] == [
        ("a", "png", 10),
        ("b", "avif", 120),
        ("c", "jpeg", 30),
    ]
    kinds = [each.content_type for each in results if isinstance(each, Rendered)]
    assert kinds == ["image/png", "image/avif", "image/jpeg"]


@pytest.mark.parametrize(("how", "message"), [("crash", "its process died (SIGSEGV)"), ("gorge", "MiB of memory")])
async def test_a_crash_costs_its_variant_only(how: str, message: str) -> None:
    async with pool(how) as made:
        results = await made.render(JPEG, WANTED)
        failed = only_failure(results)
        assert rendered(results) == ["jpeg", "png"]
        assert message in failed.message
        assert failed.retryable == (how == "crash")
        assert rendered(await made.render(JPEG, WANTED[:1])) == ["jpeg"]


@pytest.mark.parametrize("how", ["hang", "spin"])
async def test_a_hang_costs_its_variant_only(how: str) -> None:
    async with pool(how, limits=Limits(seconds=3)) as made:
        results = await made.render(JPEG, WANTED)
    failed = only_failure(results)
    assert (failed.message, failed.retryable) == ("while it was made 3 s went by", True)
    assert rendered(results) == ["jpeg", "png"]


async def test_a_decoder_that_crashes_costs_its_image_only() -> None:
    async with pool("decoder") as made:
        results = await made.render(JPEG, WANTED)
        assert {str(each) for each in results if isinstance(each, Failed)} == {
            str(Failed(Fault.RENDER, "while it was decoded its process died (SIGSEGV)", retryable=True))
        }
        assert len(results) == 3
        assert len(rendered(await made.render(saved(chart(), "PNG"), WANTED))) == 3


@pytest.mark.parametrize("how", ["nonsense", "pretend"])
async def test_a_worker_that_was_taken_over_is_not_believed(how: str) -> None:
    async with pool(how) as made:
        results = await made.render(JPEG, WANTED)
    only_failure(results)
    assert rendered(results) == ["jpeg", "png"]


async def test_workers_that_retire_are_replaced() -> None:
    async with pool("brief", size=2) as made:
        many = await asyncio.gather(*(made.render(JPEG, WANTED) for _ in range(7)))
        assert [len(rendered(each)) for each in many] == [3] * 7
        assert not children()


async def test_idle_workers_that_were_killed_are_replaced() -> None:
    async with pool(size=2) as made:
        for _ in range(3):
            results = await asyncio.gather(*(made.render(JPEG, WANTED) for _ in range(4)))
            assert [len(rendered(each)) for each in results] == [3] * 4
            for pid in children():
                os.kill(pid, signal.SIGKILL)


async def test_workers_that_cannot_start_are_told_of() -> None:
    async with pool("absent") as made:
        results = await made.render(JPEG, WANTED)
    assert [each.message for each in results if isinstance(each, Failed)] == ["its process could not be started"] * 3


async def test_an_image_of_too_many_pixels_is_not_decoded() -> None:
    async with pool(limits=Limits(pixels=SIZE[0] * SIZE[1] - 1)) as made:
        results = await made.render(JPEG, WANTED[:1])
    assert only_failure(results).message == "160 x 120 pixels; at most 19199 are decoded"


async def test_memory_that_runs_out_is_a_fault_with_a_name() -> None:
    """A picture of 256 MB in 256 MiB."""
    data = saved(Image.new("RGB", (8000, 8000)), "PNG", compress_level=1)
    async with pool(limits=Limits(memory=256 << 20)) as made:
        failed = only_failure(await made.render(data, WANTED[:1]))
        assert "256 MiB of memory" in failed.message
        assert rendered(await made.render(JPEG, WANTED)) == ["jpeg", "webp", "png"]


async def test_a_render_that_is_given_up_leaves_the_pool_usable() -> None:
    async with pool("hang") as made:
        given_up = asyncio.create_task(made.render(JPEG, WANTED))
        await begun()
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        assert rendered(await made.render(JPEG, WANTED[::2])) == ["jpeg", "png"]
    assert not children()


async def test_closing_ends_what_is_at_work() -> None:
    made = RenderPool(1, Limits(), (sys.executable, str(ROGUE), "hang"))
    waiting = asyncio.create_task(made.render(JPEG, WANTED[1:2]))
    await begun()
    await made.close()
    await made.close()
    failed = only_failure(await waiting)
    assert failed.retryable
    assert not children()


async def test_no_more_processes_than_places() -> None:
    async with pool(size=2) as made:
        many = [asyncio.create_task(made.render(JPEG, WANTED)) for _ in range(12)]
        most = 0
        while not all(task.done() for task in many):
            most = max(most, len(children()))
            await asyncio.sleep(0.005)
        assert most == 2
        assert all(len(rendered(task.result())) == 3 for task in many)


async def test_the_loop_goes_on_while_images_are_made() -> None:
    """Not one turn of the loop waits for an image: each of these would take hundreds of milliseconds of CPU."""
    large = saved(chart((3000, 2000)).effect_spread(90), "JPEG", quality=90)
    async with pool(size=2) as made:
        many = [asyncio.create_task(made.render(large, [Wanted("x", "webp", 2000, 2000)])) for _ in range(4)]
        busy = 0.0
        while not all(task.done() for task in many):
            began = time.thread_time()
            await asyncio.sleep(0.001)
            busy = max(busy, time.thread_time() - began)
        assert busy < 0.1, "CPU seconds of this thread in one turn"


async def begun() -> None:
    """Returns once a worker is there."""
    for _ in range(6000):
        if children():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("no worker was started")


def children() -> list[int]:
    """Render processes of this one that have not ended; servers of other tests are its children too."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            renders = b"migrator.images.worker" in command or b"rogue" in command
            if renders and int(fields[1]) == os.getpid() and fields[0] != "Z":
                found.append(int(entry.name))
    return found
