"""A scripted proxy before a real server, or an origin of its own pages: rules say which requests go wrong, and how.

The Host header goes on unchanged: the proxy's address is the endpoint that the tool signs for.
"""

import asyncio
import random
import re
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.faults.wire import Answer, Cut, Dried, Request, encode_answer, encode_request, header, read_answer, read_head

Forward = Callable[[Request], Awaitable[Answer]]
Action = Callable[[Request, Forward], Awaitable[Answer]]
"""Does something to a request, its answer or the line. `forward` is the rest of the way to the server."""


@dataclass(slots=True)
class Rule:
    """What happens to requests whose method and target match (regular expressions; empty: all).

    skip     so many matches pass unharmed first
    times    so many matches are hit (None: all of them)
    chance   of being hit, drawn from the proxy's seed
    """

    action: Action
    method: str = ""
    target: str = ""
    skip: int = 0
    times: int | None = 1
    chance: float = 1.0
    hits: int = 0
    """How many requests were hit so far."""
    matched: int = 0

    def takes(self, request: Request, draw: random.Random) -> bool:
        """Counts the request and tells whether it is hit."""
        if self.method and not re.fullmatch(self.method, request.method):
            return False
        if not re.search(self.target, request.target):
            return False
        self.matched += 1
        if self.matched <= self.skip or (self.times is not None and self.hits >= self.times):
            return False
        if self.chance < 1 and draw.random() >= self.chance:
            return False
        self.hits += 1
        return True


@dataclass(frozen=True, slots=True)
class Seen:
    """One request and how it ended; status 0 where the line was cut."""

    method: str
    target: str
    status: int


Pages = Mapping[str, Answer]


class Proxy:
    """Serves on a free port of 127.0.0.1 from a thread of its own, while the `with` block lasts.

    `upstream` is `host:port` of a real server, or the pages of an origin by path (the query does not count).
    """

    def __init__(self, upstream: str | Pages, seed: int = 0, rules: list[Rule] | None = None) -> None:
        self._upstream = upstream
        self._draw = random.Random(seed)
        self.rules = rules if rules is not None else []
        self.seen: list[Seen] = []
        self._news = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = starting.result()
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    def count(self, method: str = "", target: str = "") -> int:
        """Requests so far whose method and target match (regular expressions)."""
        return sum(_matches(seen, method, target) for seen in list(self.seen))

    def wait(self, method: str = "", target: str = "", number: int = 1, timeout: float = 30) -> None:
        """Returns when `number` requests that match have ended. Raises TimeoutError."""
        with self._news:
            if not self._news.wait_for(lambda: self.count(method, target) >= number, timeout):
                raise TimeoutError(f"{number} {method} {target} did not come; seen: {self.seen[-20:]}")

    async def _stop(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await read_head(reader):
                method, target, _ = head[0].split(" ", 2)
                request = Request(method, target, head[1], reader)
                if (header(head[1], "expect") or "").lower() == "100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                if not await self._exchange(request, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            writer.close()

    async def _exchange(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Whether the line still stands afterwards."""
        try:
            answer = await self._way(request)(request)
            await request.body()
        except Cut as cut:
            self._note(Seen(request.method, request.target, 0))
            await _cut(writer, request, cut)
            return False
        except Dried as dried:
            self._note(Seen(request.method, request.target, dried.answer.status))
            await _dry_up(writer, request, dried)
            return False
        head, body = encode_answer(answer, request.method)
        self._note(Seen(request.method, request.target, answer.status))
        writer.write(head + body)
        await writer.drain()
        return True

    def _note(self, seen: Seen) -> None:
        with self._news:
            self.seen.append(seen)
            self._news.notify_all()

    def _way(self, request: Request) -> Forward:
        """The actions of all rules that take the request, the first outermost, then the server."""
        way: Forward = self._page if isinstance(self._upstream, Mapping) else self._pass_on
        for rule in [rule for rule in self.rules if rule.takes(request, self._draw)][::-1]:
            way = _wrapped(rule.action, way)
        return way

    async def _page(self, request: Request) -> Answer:
        assert isinstance(self._upstream, Mapping)
        page = self._upstream.get(request.target.partition("?")[0])
        return page if page is not None else Answer(404, body=b"no such page")

    async def _pass_on(self, request: Request) -> Answer:
        assert isinstance(self._upstream, str)
        host, _, port = self._upstream.rpartition(":")
        body = await request.body()
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**20)
        try:
            writer.write(encode_request(request, body))
            with suppress(ConnectionError):  # an early refusal: the answer is there all the same
                await writer.drain()
            return await read_answer(reader, request.method)
        finally:
            writer.close()


def _wrapped(action: Action, way: Forward) -> Forward:
    async def forward(request: Request) -> Answer:
        return await action(request, way)

    return forward


def _matches(seen: Seen, method: str, target: str) -> bool:
    return (not method or bool(re.fullmatch(method, seen.method))) and bool(re.search(target, seen.target))


async def _cut(writer: asyncio.StreamWriter, request: Request, cut: Cut) -> None:
    if cut.answer is not None:
        head, body = encode_answer(cut.answer, request.method)
        writer.write(head + body[: cut.written])
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()
        return
    # A linger of zero makes the kernel send RST instead of FIN: the client sees a reset, not an end.
    line: socket.socket = writer.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _dry_up(writer: asyncio.StreamWriter, request: Request, dried: Dried) -> None:
    head, body = encode_answer(dried.answer, request.method)
    writer.write(head + body[: dried.written])
    await writer.drain()
    for byte in body[dried.written :]:
        await asyncio.sleep(dried.every)
        writer.write(bytes([byte]))
        await writer.drain()
