"""The first connection to an origin is made before an attempt takes a place: it may be long in coming, or never."""

import asyncio
import contextlib

from migrator.core.errors import ObjectError
from migrator.core.model import Failed, Task
from migrator.core.ports import Reader
from migrator.engine.guard import failed
from migrator.engine.origins import Waiting, origin_of

PATIENCE = 1.0
"""Seconds after which others go on in the place of an object that waits for a connection."""
MOST_STOOD_IN_FOR = 256
"""Objects that wait for a connection while others go on; each takes a thread or a socket."""
MOST_REACHED = 100_000
"""Origins of which it is remembered that they were reached."""


class Reaching:
    """Connects to what nobody has reached yet. Nothing is asked of it: requests wait for their places."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._reached: set[str] = set()
        self._stood_in_for = 0

    async def __call__(self, task: Task, waiting: Waiting) -> Failed | None:
        """What keeps the origin of `task` from being reached, if anything does; within `waiting` when that takes long.

        Raises Fatal.
        """
        name = origin_of(task.location)
        if name in self._reached:
            return None
        with contextlib.ExitStack() as standing_in:
            timer = asyncio.get_running_loop().call_later(PATIENCE, self._let_others_go_on, standing_in, waiting)
            try:
                await self._reader.reach(task)
            except ObjectError as error:
                return failed(error)
            finally:
                timer.cancel()
        if len(self._reached) >= MOST_REACHED:
            self._reached.clear()
        self._reached.add(name)
        return None

    def _let_others_go_on(self, standing_in: contextlib.ExitStack, waiting: Waiting) -> None:
        if self._stood_in_for < MOST_STOOD_IN_FOR:
            self._stood_in_for += 1
            standing_in.callback(self._no_longer)
            standing_in.enter_context(waiting())

    def _no_longer(self) -> None:
        self._stood_in_for -= 1
