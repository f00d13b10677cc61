"""The event loop that everything runs in."""

import asyncio
import functools
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

from migrator.core.threads import in_thread

T = TypeVar("T")


class Loop(asyncio.SelectorEventLoop):
    """Looks names up in threads that nobody waits for at the end.

    A resolver may take half a minute to give up. In asyncio's own threads, of which there are few, that would hold up
    whatever else has to be done in one, and the end of the process.
    """

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        """As socket.getaddrinfo."""
        ask = functools.partial(socket.getaddrinfo, host, port, family, type, proto, flags)
        return await in_thread(ask, "migrator-names")


def runner() -> asyncio.Runner:
    """For several coroutines one after the other."""
    return asyncio.Runner(loop_factory=Loop)


def run(work: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run."""
    with runner() as one:
        return one.run(work)
