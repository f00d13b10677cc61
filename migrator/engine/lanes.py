"""Many small jobs at once, bounded, their results kept in batches: what `verify` and its like share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from migrator.core.errors import MigratorError, first_leaf
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
    crowd: _Crowd[T, R] = _Crowd(work, keep, stop, asyncio.Queue(maxsize=2 * lanes))
    finished = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(crowd.keep_regularly(finished))
            workers = [group.create_task(crowd.lane()) for _ in range(lanes)]
            drained = group.create_task(crowd.drain(pages))
            await stop.until_done(drained, DRAIN)
            for task in (*workers, drained):
                task.cancel()
            finished.set()
    except BaseExceptionGroup as errors:
        # Not `except*`: what that raises is a group again before Python 3.11.4 (https://github.com/python/cpython/issues/103590).
        ours, others = errors.split(MigratorError)
        if ours is None or others is not None:
            raise
        raise first_leaf(ours) from None
    finally:
        await crowd.keep_all()


@dataclass(slots=True)
class _Crowd(Generic[T, R]):
    """The lanes of one call, the jobs that wait for one, and the results that were not kept yet."""

    work: Callable[[T], Awaitable[R]]
    keep: Callable[[list[R]], Awaitable[None]]
    stop: Stop
    queue: asyncio.Queue[T]
    done: list[R] = field(default_factory=list)

    async def drain(self, pages: AsyncIterator[Sequence[T]]) -> None:
        """Hands every job to a lane, and returns when all are done."""
        await self._feed(pages)
        await self.queue.join()

    async def _feed(self, pages: AsyncIterator[Sequence[T]]) -> None:
        async for page in pages:
            for job in page:
                if self.stop.event.is_set():
                    return
                await self.queue.put(job)

    async def lane(self) -> None:
        """One job after the other, until it is cancelled."""
        while True:
            job = await self.queue.get()
            if not self.stop.event.is_set():
                with contextlib.suppress(Stopped):  # it waited for its next try: nothing is known of it
                    self.done.append(await self.work(job))
            self.queue.task_done()

    async def keep_regularly(self, finished: asyncio.Event) -> None:
        """Never cancelled at its work: a batch that was handed over, and not written yet, would be forgotten."""
        while not finished.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(finished.wait(), KEEP_EVERY)
            await self.keep_all()

    async def keep_all(self) -> None:
        """Hands over what was done since the last time."""
        batch = self.done[:]
        self.done.clear()
        if batch:
            await self.keep(batch)
