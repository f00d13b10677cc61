"""Connections to the hosts of sources, kept between requests. `names` tells which of their addresses may be used."""

import asyncio
import ssl

from aiohappyeyeballs import start_connection

from migrator.clients.fetching import ClosedEarly, Line, NotHttp
from migrator.clients.idle import Idle, Kept
from migrator.clients.names import Addresses


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
        self._kept: Kept[Line] = Kept(idle)
        self._busy = 0

    async def reach(self, scratch: "memoryview[int]") -> None:
        """Has a line ready for the first who asks. Raises as connecting does."""
        await self._take_place()
        line: Line | None = None
        try:
            line = self._kept.take() or await self._connect(scratch)
        finally:
            self.give(line)

    async def ask(self, head: bytes, seconds: float, scratch: "memoryview[int]") -> Line:
        """The line on which the answer to `head` has begun; to be given back. Raises as Line.ask and connecting do."""
        await self._take_place()
        line: Line | None = None
        try:
            while line := self._kept.take():
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
        if line is not None:
            self._kept.give(line)

    def sweep(self) -> bool:
        """Closes lines that were idle for long; whether nothing is left that is worth keeping."""
        self._kept.sweep()
        return not self._kept and not self._busy and not self._addresses.looking

    def close(self) -> None:
        """Closes what is idle. Idempotent."""
        self._kept.close()

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
