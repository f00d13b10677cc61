"""Addresses of host names, and who looks them up. Which may be used is for the `Lookup` that is handed in."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

LOOKUPS_AT_ONCE = 128
"""Each takes a thread, until the resolver answers: half a minute where none of three does."""
_KEPT_SECONDS = 60.0
"""How long addresses that were looked up and checked are used again."""

AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]
Lookup = Callable[[str, int], Awaitable[list[AddressInfo]]]


class NameTimeout(TimeoutError):
    """No answer of a resolver came in time."""


class Addresses:
    """Of one host. Whoever gives up waiting leaves the lookup to those that come next.

    `turns` bounds the lookups of all hosts; `seconds` the waiting, once it is this one's turn.
    """

    def __init__(self, name: str, port: int, lookup: Lookup, turns: asyncio.Semaphore, seconds: float) -> None:
        self._name = name
        self._port = port
        self._lookup = lookup
        self._turns = turns
        self._seconds = seconds
        self._begun = asyncio.Event()
        self._looking: asyncio.Task[list[AddressInfo]] | None = None
        self._found: list[AddressInfo] = []
        self._until = 0.0

    @property
    def looking(self) -> bool:
        """Whether a lookup is under way."""
        return self._looking is not None

    async def known(self) -> list[AddressInfo]:
        """The addresses, fresh or kept for a minute. Raises NameTimeout, and what the lookup raises."""
        if asyncio.get_running_loop().time() < self._until:
            return self._found
        looking = self._looking
        if looking is None:
            self._begun.clear()
            looking = self._looking = asyncio.create_task(self._look())
            looking.add_done_callback(self._looked)
        await self._begun.wait()
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(looking)
        except TimeoutError as error:
            raise NameTimeout from error

    async def _look(self) -> list[AddressInfo]:
        async with self._turns:
            self._begun.set()
            return await self._lookup(self._name, self._port)

    def _looked(self, looking: "asyncio.Task[list[AddressInfo]]") -> None:
        self._looking = None
        if not looking.cancelled() and looking.exception() is None:
            self._found = looking.result()
            self._until = asyncio.get_running_loop().time() + _KEPT_SECONDS


async def look_up(host: str, port: int) -> list[AddressInfo]:
    """Every address of `host`, as the system knows it. Raises socket.gaierror, UnicodeError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return list(found)
