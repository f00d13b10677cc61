"""GET over kept HTTP/1.1 connections: first the head of an answer, then its body, straight into memory of its own.

No redirects, cookies, compression or proxies. Which addresses a host has is for the caller to look up (and to check).
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

import httptools
from aiohappyeyeballs import start_connection

from migrator.clients.connection import header_name

SHORT = 256 * 1024
"""Bytes of a body up to which it is received together with its head, in one go."""

SLOWEST = 100
"""Bytes a second below which an answer counts as none: one byte now and then would keep a place for days."""

_LONGEST_HEAD = 256 * 1024
_LONGEST_IDLE = 15.0
"""Seconds; servers close idle connections after 20 and more."""
_ADDRESSES_SECONDS = 60.0
"""How long addresses that were looked up and checked are used again."""

AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]
Lookup = Callable[[str, int], Awaitable[list[AddressInfo]]]


class NotHttp(Exception):
    """What came is no HTTP."""


class ClosedEarly(Exception):
    """The connection ended before what was to come."""


class ConnectTimeout(TimeoutError):
    """No connection stood in time."""


class TooSlow(TimeoutError):
    """Fewer than SLOWEST bytes a second came."""


class Line(asyncio.BufferedProtocol):
    """One connection; one GET at a time: `ask`, then `read`. `scratch` may be shared by all lines of a loop."""

    def __init__(self, scratch: "memoryview[int]") -> None:
        self.transport: asyncio.Transport | None = None
        self.idle_since = 0.0
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        self.size: int | None = None
        self._loop = asyncio.get_running_loop()
        self._scratch = scratch
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._seconds = self._seen = 0.0
        self._measured_since, self._measured_from = 0.0, 0
        self._failure: Exception | None = None
        self._begin()

    def _begin(self) -> None:
        self.status, self.reason, self.headers, self.size = 0, "", {}, None
        self._ended = self._headed = self._keep = False
        self._pieces: list[bytes] = []
        """Of the body: parsed, not given out yet."""
        self._held = self._given = self._came = 0
        self._buffer: bytearray | None = None
        """What comes now goes here, past the parser: bytes of a body of known size."""
        self._filled = 0

    async def ask(self, head: bytes, seconds: float) -> None:
        """Sends a request; returns once the head of its answer is here, and of a short body the rest as well.

        `seconds` bound the silence, here and in `read`, and are as long as it may be slow. Raises NotHttp, ClosedEarly,
        TimeoutError or OSError.
        """
        assert self.transport is not None
        self._begin()
        self._parser = httptools.HttpResponseParser(self)
        self._seconds = seconds
        self._measure()
        self.transport.write(head)
        if not self._failure:
            await self._wait()
        if self._failure and not self._headed:
            raise self._failure

    async def read(self, limit: int) -> bytes:
        """The next bytes of the body: `limit` of them, or fewer at its end. Raises as `ask` does."""
        if self.size is not None:
            limit = min(limit, self.size - self._given)
        if limit <= 0:
            return b""
        self._measure()
        while self._held < limit and not self._ended:
            if self._failure:
                raise self._failure
            self._make_room(limit)
            self._resume()
            await self._wait()
            self._check_speed()
        data = self._take(min(limit, self._held))
        self._given += len(data)
        return data

    @property
    def reusable(self) -> bool:
        """Whether another request may go over it: the answer was whole and the server keeps the connection."""
        return self._ended and self._keep and self.transport is not None and not self.transport.is_closing()

    def close(self) -> None:
        """Idempotent."""
        self._parser = None
        if self.transport and not self.transport.is_closing():
            self.transport.abort()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        self._seen = self._loop.time()
        self._timer = self._loop.call_later(self._seconds, self._look)
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._timer.cancel()

    def _look(self) -> None:
        """Something may have come since the timer was set."""
        left = self._seen + self._seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
            self._check_speed()
        else:
            self._fail(TimeoutError())

    def _measure(self) -> None:
        self._measured_since, self._measured_from = self._loop.time(), self._came

    def _check_speed(self) -> None:
        """Fails the line when too little came while somebody waited for it."""
        seconds = self._loop.time() - self._measured_since
        if self._ended or seconds < self._seconds:
            return
        if self._came - self._measured_from < SLOWEST * seconds:
            self._fail(TooSlow())
        self._measure()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        if not self._ended and not self._failure:
            self._failure = error
        self._wake()
        self.close()

    def _resume(self) -> None:
        if self.transport and not self.transport.is_closing():
            self.transport.resume_reading()

    # the body -------------------------------------------------------------------------------------------------------

    def _make_room(self, wanted: int) -> None:
        """Of a body of known size the next `wanted` bytes need no parser."""
        if self.size is None or self._buffer is not None:
            return
        # One byte more at the end of the body tells whether the server keeps to the size that it announced.
        spare = 1 if self._given + wanted == self.size else 0
        self._buffer = bytearray(wanted + spare)
        early = b"".join(self._pieces)
        self._buffer[: len(early)] = early
        self._pieces, self._filled = [], len(early)

    def _take(self, count: int) -> bytes:
        if self._buffer is not None:
            whole, self._buffer, self._filled = bytes(memoryview(self._buffer)[: self._held]), None, 0
            self._pieces = [whole]
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = [data[count:]] if len(data) > count else []
        self._held = len(data) - count
        return data[:count]

    def _received(self, count: int) -> None:
        assert self._buffer is not None
        assert self.size is not None
        self._filled += count
        room = self.size - self._given
        if self._filled > room:
            self._keep = False
        self._held = min(self._filled, room)
        if self._held == room:
            self._end()
        elif self._filled == len(self._buffer):
            self._pause()

    def _pause(self) -> None:
        if self.transport and not self.transport.is_closing():
            self.transport.pause_reading()
        self._wake()

    def _end(self) -> None:
        self._ended = True
        self._parser = None
        self._wake()

    # what asyncio calls ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def get_buffer(self, _sizehint: int) -> "memoryview[int]":
        if self._buffer is not None and not self._ended:
            return memoryview(self._buffer)[self._filled :]
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        self._seen = self._loop.time()
        self._came += nbytes
        if self._buffer is not None and not self._ended:
            self._received(nbytes)
        elif self._parser is not None:
            self._feed(self._parser, nbytes)
        else:
            self.close()  # nobody asked

    def _feed(self, parser: httptools.HttpResponseParser, count: int) -> None:
        try:
            parser.feed_data(self._scratch[:count])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, ValueError):
            self._keep = False  # more came than was announced, if it came after the end
            self._fail(NotHttp())
            return
        if not self._headed and self._came > _LONGEST_HEAD:
            self._fail(NotHttp())
        elif self._headed and not self._ended:
            if self.size is not None and self.size <= SHORT and self.status == 200:
                self._make_room(self.size)
            elif self.size is not None or self._held >= SHORT:
                self._pause()
            else:
                self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        until_end = self._headed and self.size is None and "transfer-encoding" not in self.headers
        if until_end and exc is None and self._parser is not None:
            self._end()
        self._keep = False
        self._fail(exc or ClosedEarly())

    # what the parser calls ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._ended:
            raise ValueError("two answers to one request")

    def on_status(self, status: bytes) -> None:
        self.reason += status.decode("utf-8", "replace")

    def on_header(self, name: bytes, value: bytes) -> None:
        name_text, text = header_name(name), value.decode("utf-8", "surrogateescape")
        before = self.headers.get(name_text)
        self.headers[name_text] = text if before is None else f"{before}, {text}"

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self.status = int(self._parser.get_status_code())
        if self.status < 200:
            return  # 100 Continue and the like: the answer is still to come
        self._headed, self._keep = True, bool(self._parser.should_keep_alive())
        length = self.headers.get("content-length")
        self.size = int(length) if length is not None and "transfer-encoding" not in self.headers else None

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._held += len(piece)

    def on_message_complete(self) -> None:
        if self._headed:
            self._end()
        else:
            self.headers, self.reason = {}, ""


class Host:
    """Connections to one host and port, kept between requests: at most `most` at once."""

    def __init__(
        self, name: str, port: int, tls: ssl.SSLContext | None, lookup: Lookup, most: int, connect_seconds: float
    ) -> None:
        self._name = name
        self._port = port
        self._tls = tls
        self._lookup = lookup
        self._connect_seconds = connect_seconds
        self._places = asyncio.Semaphore(most)
        self._idle: list[Line] = []
        self._busy = 0
        self._looking_up = asyncio.Lock()
        self._addresses: list[AddressInfo] = []
        self._addresses_until = 0.0

    async def ask(self, head: bytes, seconds: float, scratch: "memoryview[int]") -> Line:
        """The line on which the answer to `head` has begun; to be given back. Raises as Line.ask and connecting do."""
        self._busy += 1  # before anything is awaited: nobody may forget this host meanwhile
        try:
            await self._places.acquire()
        except BaseException:
            self._busy -= 1
            raise
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

    def give(self, line: Line | None) -> None:
        """Keeps `line` for the next request, or closes it when its answer was not read to the end."""
        self._busy -= 1
        self._places.release()
        if line is None:
            return
        if line.reusable:
            line.idle_since = asyncio.get_running_loop().time()
            self._idle.append(line)
        else:
            line.close()

    def sweep(self, now: float) -> bool:
        """Closes lines that were idle for long; whether nothing is left that is worth keeping."""
        for line in [line for line in self._idle if now - line.idle_since >= _LONGEST_IDLE]:
            self._idle.remove(line)
            line.close()
        return not self._idle and not self._busy

    def close(self) -> None:
        """Closes what is idle. Idempotent."""
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> Line | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            line = self._idle.pop()  # the one used last is the least likely to have been closed
            if line.reusable and now - line.idle_since < _LONGEST_IDLE:
                return line
            line.close()
        return None

    async def _connect(self, scratch: "memoryview[int]") -> Line:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_seconds):
                connected = await start_connection(await self._known_addresses(), happy_eyeballs_delay=0.25)
                name = self._name.rstrip(".") if self._tls else None
                _, line = await loop.create_connection(
                    lambda: Line(scratch), sock=connected, ssl=self._tls, server_hostname=name
                )
                return line
        except TimeoutError as error:
            raise ConnectTimeout from error

    async def _known_addresses(self) -> list[AddressInfo]:
        async with self._looking_up:
            now = asyncio.get_running_loop().time()
            if now >= self._addresses_until:
                self._addresses = await self._lookup(self._name, self._port)
                self._addresses_until = now + _ADDRESSES_SECONDS
            return self._addresses


async def look_up(host: str, port: int) -> list[AddressInfo]:
    """Every address of `host`, as the system knows it. Raises socket.gaierror, UnicodeError."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return list(found)
