"""Connections to the hosts of sources, kept between requests. `names` tells which of their addresses may be used."""

import asyncio
import ssl

from aiohappyeyeballs import start_connection

from migrator.clients.fetching import ClosedEarly, Line, NotHttp
from migrator.clients.idle import Idle
from migrator.clients.names import Addresses

_LONGEST_IDLE = 15.0
"""Seconds; servers close idle connections after 20 and more."""


class ConnectTimeout(TimeoutError):
    """No connection stood in time."""


class Host:
    """Connections to one host, kept between requests: at most `most` at once."""

    def __init__(
        self,
        name: str,
        addresses: Addresses,
        tls: ssl.SSLContext | None,
        idle: Idle,
        most: int,
        connect_seconds: float,
    ) -> None:
        self._name = name
        self._addresses = addresses
        self._tls = tls
        self._connect_seconds = connect_seconds
        self._places = asyncio.Semaphore(most)
        self._idle: list[Line] = []
        self._idle_of_all = idle
        self._busy = 0

    async def reach(self, scratch: "memoryview[int]") -> None:
        """Has a line ready for the first who asks. Raises as connecting does."""
        await self._take_place()
        line: Line | None = None
        try:
            line = self._kept() or await self._connect(scratch)
        finally:
            self.give(line)

    async def ask(self, head: bytes, seconds: float, scratch: "memoryview[int]") -> Line:
        """The line on which the answer to `head` has begun; to be given back. Raises as Line.ask and connecting do."""
        await self._take_place()
        line: Line | None = None
        try:
            while line := self._kept():
                try:
                    await line.ask(head, seconds)
                    return line
                except (ClosedEarly, ConnectionError, NotHttp):
                    line.close()  # the server was just closing it: a GET may be asked again
            line = await self._connect(scratch)
            await line.ask(head, seconds)
            return line
        except BaseException:
            self.give(line)
            raise

    async def _take_place(self) -> None:
        self._busy += 1  # before anything is awaited: nobody may forget this host meanwhile
        try:
            await self._places.acquire()
        except BaseException:
            self._busy -= 1
            raise

    def give(self, line: Line | None) -> None:
        """Keeps `line` for the next request, or closes it when its answer was not read to the end."""
        self._busy -= 1
        self._places.release()
        if line is None:
            return
        if line.reusable:
            line.idle_since = asyncio.get_running_loop().time()
            self._idle.append(line)
            self._idle_of_all.keep(line)
        else:
            line.close()

    def sweep(self, now: float) -> bool:
        """Closes lines that were idle for long; whether nothing is left that is worth keeping."""
        for line in [line for line in self._idle if now - line.idle_since >= _LONGEST_IDLE or not line.reusable]:
            self._idle.remove(line)
            self._idle_of_all.forget(line)
            line.close()
        return not self._idle and not self._busy and not self._addresses.looking

    def close(self) -> None:
        """Closes what is idle. Idempotent."""
        while self._idle:
            line = self._idle.pop()
            self._idle_of_all.forget(line)
            line.close()

    def _kept(self) -> Line | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            line = self._idle.pop()  # the one used last is the least likely to have been closed
            self._idle_of_all.forget(line)
            if line.reusable and now - line.idle_since < _LONGEST_IDLE:
                return line
            line.close()
        return None

    async def _connect(self, scratch: "memoryview[int]") -> Line:
        loop = asyncio.get_running_loop()
        addresses = await self._addresses.known()
        try:
            async with asyncio.timeout(self._connect_seconds):
                connected = await start_connection(addresses, happy_eyeballs_delay=0.25)
                name = self._name.rstrip(".") if self._tls else None
                _, line = await loop.create_connection(
                    lambda: Line(scratch), sock=connected, ssl=self._tls, server_hostname=name
                )
                return line
        except TimeoutError as error:
            raise ConnectTimeout from error
