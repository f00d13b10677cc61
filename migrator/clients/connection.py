"""One HTTP/1.1 connection of the hot path: one request at a time, one whole answer, sent exactly once.

What aiohttp does at three times the CPU; no redirects, cookies, compression or streams. httptools parses.
"""

import asyncio
import fcntl
import os
import socket
import sys
import termios
from contextlib import suppress
from typing import NamedTuple

import httptools

from migrator.core.model import MIB

PIECE = 256 * 1024
"""Bytes of a body after which its progress is looked at."""

_LONGEST_ANSWER = 16 * MIB
"""Bytes of an answer that is not an object's content; a page of 1,000 long keys has some three million."""
SLOWEST = 100
"""Bytes a second below which nothing moves: one byte now and then would keep a place for days."""
_LOOKS = 4
"""How often it is looked, within the time that nothing may move, whether something did."""
_MOST_NAMES = 500
_NAMES: dict[bytes, str] = {}


class WireError(Exception):
    """No answer came. `handed_over`: the server may have the whole request."""

    handed_over = False


class NoConnection(WireError):
    """Nothing was sent."""


class Untrusted(NoConnection):
    """The server's certificate is not to be trusted."""


class BrokenOff(WireError):
    """The connection broke, or what came is no HTTP."""


class NoProgress(WireError):
    """Nothing moved for too long."""


class Answer(NamedTuple):
    """A whole answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection(asyncio.BufferedProtocol):
    """One connection; one request at a time. `scratch` may be shared by all connections of a loop.

    Without it asyncio would take fresh memory of 256 KiB for each answer, which costs more than to parse it.
    """

    def __init__(self, scratch: "memoryview[int]") -> None:
        self.transport: asyncio.Transport | None = None
        self.idle_since = 0.0
        self.reusable = False
        self._loop = asyncio.get_running_loop()
        self._scratch = scratch
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._seconds = self._until = 0.0
        self._moved = self._given = 0
        """Bytes of this request and its answer when it was last seen to go on, and of the request given out so far."""
        self._handed_over = False
        self._bodiless = False
        self._until_end = False
        self._headers: dict[str, str] = {}
        self._pieces: list[bytes] = []
        self._size = 0

    # the request ----------------------------------------------------------------------------------------------------

    async def exchange(self, head: bytes, body: bytes, seconds: float, *, bodiless: bool) -> Answer:
        """Sends a request and returns its answer. `bodiless`: no body follows (HEAD). Raises WireError.

        `seconds` bound the time in which next to nothing moves: of the request out of this system, then of the answer.
        """
        assert self.transport is not None
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._answer = answer
        self._parser = httptools.HttpResponseParser(self)
        self._bodiless, self._handed_over, self.reusable = bodiless, False, False
        self._size = self._moved = self._given = 0
        self._watch(seconds)
        try:
            if len(body) <= PIECE:
                self._handed_over = True
                self._given = len(head) + len(body)
                self._write_small(self.transport, head, body)
            else:
                await self._write_large(self.transport, head, memoryview(body))
            return await answer
        finally:
            self._answer = None

    def _write_small(self, transport: asyncio.Transport, head: bytes, body: bytes) -> None:
        """The transport takes one piece only, and putting head and body together would copy the body."""
        if not body or not _passable(transport):
            transport.write(head + body)
            return
        try:
            sent = os.writev(transport.get_extra_info("socket").fileno(), (head, body))
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._fail(BrokenOff(reason(error)))
            return
        if sent < len(head):
            transport.write(head[sent:] + body)
        elif sent < len(head) + len(body):
            transport.write(memoryview(body)[sent - len(head) :])

    async def _write_large(self, transport: asyncio.Transport, head: bytes, body: memoryview) -> None:
        write = self._write_past if _passable(transport) else self._write_through
        await write(transport, memoryview(head))
        for start in range(0, len(body), PIECE):
            if self._answer is None or self._answer.done():
                return  # refused before all of it was sent
            self._handed_over = start + PIECE >= len(body)
            await write(transport, body[start : start + PIECE])

    async def _write_through(self, transport: asyncio.Transport, piece: memoryview) -> None:
        self._given += len(piece)
        transport.write(piece)
        if self._writable:
            await self._writable

    async def _write_past(self, transport: asyncio.Transport, piece: memoryview) -> None:
        """The transport copies whatever the system does not take at once, and moves it about."""
        if self._socket is None:
            self._socket = transport.get_extra_info("socket").dup()  # no loop lets two wait for the same one
        while piece and self._answer is not None and not self._answer.done():
            try:
                sent = self._socket.send(piece)
                self._given += sent
                piece = piece[sent:]
            except BlockingIOError:
                await self._room(self._socket)
            except OSError as error:
                self._fail(BrokenOff(reason(error)))
        if piece:
            self.reusable = False  # answered before all of it was sent: the rest would be taken for the next request

    async def _room(self, target: socket.socket) -> None:
        self._writable = writable = self._loop.create_future()
        self._loop.add_writer(target, self._let_write)
        try:
            await writable
        finally:
            if target.fileno() >= 0:
                self._loop.remove_writer(target)

    def _watch(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = self._loop.time() + seconds
        # The timer of an earlier request does for the next ones, too.
        if self._timer and self._timer.when() > self._until:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_later(seconds / _LOOKS, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._answer is None:
            return
        now, moved = self._loop.time(), self._size + self._gone()
        if moved - self._moved >= SLOWEST * self._seconds:
            self._moved, self._until = moved, now + self._seconds
        if now < self._until:
            self._timer = self._loop.call_at(min(self._until, now + self._seconds / _LOOKS), self._look)
        else:
            self._fail(NoProgress("no progress within transfer.timeout"))

    def _gone(self) -> int:
        """Bytes of the request that the other end has."""
        assert self.transport is not None
        waiting = bytearray(4)
        with suppress(OSError, ValueError):  # closed meanwhile
            fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, waiting)
        return self._given - self.transport.get_write_buffer_size() - int.from_bytes(waiting, sys.byteorder)

    def _fail(self, error: WireError) -> None:
        error.handed_over = self._handed_over
        if self._answer and not self._answer.done():
            self._answer.set_exception(error)
        self.close()

    def close(self) -> None:
        """Idempotent."""
        self._parser = None
        self._let_write()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self.transport and not self.transport.is_closing():
            self.transport.abort()
        if self._socket is not None:
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None

    @property
    def is_open(self) -> bool:
        """Whether another request may go over it."""
        return self.reusable and self.transport is not None and not self.transport.is_closing()

    # what asyncio calls ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def get_buffer(self, _sizehint: int) -> "memoryview[int]":
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        if self._parser is None:
            self.close()  # nobody asked
            return
        try:
            self._parser.feed_data(self._scratch[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, ValueError):
            self._fail(BrokenOff("the answer is no HTTP"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._until_end and exc is None and self._parser is not None:
            self._finish(reusable=False)
        self._fail(BrokenOff(reason(exc) if exc else "closed by the server"))

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        self._let_write()

    def _let_write(self) -> None:
        if self._writable and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # what the parser calls ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._headers, self._pieces, self._size, self._until_end = {}, [], 0, False

    def on_header(self, name: bytes, value: bytes) -> None:
        name_text, text = _NAMES.get(name) or header_name(name), value.decode("latin-1")
        if name_text in self._headers:
            text = f"{self._headers[name_text]}, {text}"
        self._headers[name_text] = text

    def on_headers_complete(self) -> None:
        if self._bodiless and self._status() >= 200:
            self._finish(reusable=self._headers.get("connection", "").lower() != "close")
        else:
            self._until_end = not ("content-length" in self._headers or "transfer-encoding" in self._headers)

    def on_body(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > _LONGEST_ANSWER:
            raise ValueError("an answer beyond any sense")
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        if self._parser is not None and self._status() >= 200:  # 100 Continue and the like are not the answer
            sent = self._handed_over and self.transport is not None and not self.transport.get_write_buffer_size()
            self._finish(reusable=sent and self._parser.should_keep_alive())

    def _status(self) -> int:
        assert self._parser is not None
        return int(self._parser.get_status_code())

    def _finish(self, *, reusable: bool) -> None:
        answer = Answer(self._status(), self._headers, b"".join(self._pieces))
        self._parser = None
        self.reusable = reusable
        if self._answer and not self._answer.done():
            self._answer.set_result(answer)
        self._let_write()


def _passable(transport: asyncio.Transport) -> bool:
    """Whether bytes may pass it by: no TLS stands between, and none wait in it."""
    return transport.get_extra_info("sslcontext") is None and not transport.get_write_buffer_size()


def header_name(name: bytes) -> str:
    """The name of a header as text in lower case. Servers send the same few again and again."""
    text = _NAMES.get(name)
    if text is None:
        text = name.decode("latin-1").lower()
        if len(_NAMES) < _MOST_NAMES:
            _NAMES[name] = text
    return text


def reason(error: Exception) -> str:
    """Why nothing came of a connection, in the system's words."""
    number = getattr(error, "errno", None)
    # asyncio puts addresses into strerror; those of name resolution have numbers of their own, below zero.
    if number and number > 0:
        return os.strerror(number).lower()
    return getattr(error, "strerror", None) or type(error).__name__
