"""GET over one HTTP/1.1 connection: first the head of an answer, then its body, straight into memory of its own.

No redirects, cookies, compression or proxies. Which connections there are is told by `hosts`.
"""

import asyncio

import httptools

from migrator.clients.connection import SLOWEST, header_name

SHORT = 256 * 1024
"""Bytes of a body up to which it is received together with its head, in one go."""

_LONGEST_HEAD = 256 * 1024


class NotHttp(Exception):
    """What came is no HTTP."""


class ClosedEarly(Exception):
    """The connection ended before what was to come."""


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
        self._unused = True
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
        self._unused = False
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
    def is_open(self) -> bool:
        """Whether a request may go over it: the last answer was whole, and the server keeps the connection."""
        free = self._unused or (self._ended and self._keep)
        return free and self.transport is not None and not self.transport.is_closing()

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
