"""Many small jobs at once, bounded, their results kept in batches: what `verify` and its like share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from migrator.core.errors import MigratorError
from migrator.engine.stopping import DRAIN, Stop, Stopped

T = TypeVar("T")
R = TypeVar("R")

KEEP_EVERY = 0.5
"""Seconds after which results are kept, however few."""


async def through_lanes(
    pages: AsyncIterator[Sequence[T]],
    work: Callable[[T], Awaitable[R]],
    keep: Callable[[list[R]], Awaitable[None]],
    lanes: int,
    stop: Stop,
) -> None:
    """Does `work` on every job of `pages`, at most `lanes` at once; `keep` gets each result once.

    When `stop` is requested nothing new begins, what is under way has DRAIN seconds left, and what is done is kept.
    Raises the first MigratorError of a job.
    """
    queue: asyncio.Queue[T] = asyncio.Queue(maxsize=2 * lanes)
    done: list[R] = []
    finished = asyncio.Event()

    async def feed() -> None:
        async for page in pages:
            for job in page:
                if stop.event.is_set():
                    return
                await queue.put(job)

    async def lane() -> None:
        while True:
            job = await queue.get()
            if not stop.event.is_set():
                with contextlib.suppress(Stopped):  # it waited for its next try: nothing is known of it
                    done.append(await work(job))
            queue.task_done()

    async def keep_all() -> None:
        batch = done[:]
        done.clear()
        if batch:
            await keep(batch)

    async def keep_regularly() -> None:
        # Never cancelled at its work: a batch that was handed over, and not written yet, would be forgotten.
        while not finished.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(finished.wait(), KEEP_EVERY)
            await keep_all()

    async def drain() -> None:
        await feed()
        await queue.join()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_regularly())
            workers = [group.create_task(lane()) for _ in range(lanes)]
            drained, stopped = group.create_task(drain()), group.create_task(stop.event.wait())
            await asyncio.wait((drained, stopped), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((drained,), timeout=DRAIN)
            for task in (*workers, drained, stopped):
                task.cancel()
            finished.set()
    except* MigratorError as errors:
        raise first_leaf(errors) from None
    finally:
        await keep_all()


def first_leaf(errors: BaseExceptionGroup[MigratorError]) -> MigratorError:
    """The error that ended a group of tasks: the first one; the others are its consequences."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, MigratorError)
    return error
