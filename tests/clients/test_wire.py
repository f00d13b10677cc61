"""Requests with large bodies over real sockets: whole, refused early, cut, stuck."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from migrator.clients.wire import BrokenOff, NoProgress, Way, Wire
from migrator.core.model import MIB

BODY = random.Random(5).randbytes(9 * MIB + 1)
FINE = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Serves each connection as it was told to; counts them, and keeps the bodies that came whole."""

    def __init__(self, *serve: Serve) -> None:
        self.connections = 0
        self.bodies: list[bytes] = []
        self._serve = serve or (self.whole,)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serve = self._serve[min(self.connections, len(self._serve) - 1)]
        self.connections += 1
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def whole(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes one request after the other."""
        while True:
            self.bodies.append(await reader.readexactly(await length(reader)))
            writer.write(FINE)


async def length(reader: asyncio.StreamReader) -> int:
    """The content length of the request whose head comes next."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    return int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])


async def refuse_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers when it has seen the head, and reads on: the connection could bear another request."""
    await length(reader)
    writer.write(REFUSED)
    while await reader.read(MIB):
        pass


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Breaks off in the middle of the body."""
    await length(reader)
    await reader.readexactly(MIB)
    writer.transport.abort()


async def stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never reads what comes after the head."""
    await length(reader)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.Event().wait()


@asynccontextmanager
async def wire_to(server: Server) -> AsyncIterator[Wire]:
    listening = await asyncio.start_server(server.accept, "127.0.0.1", 0)
    wire = Wire(Way("127.0.0.1", listening.sockets[0].getsockname()[1], None), 5.0)
    try:
        yield wire
    finally:
        wire.close()
        listening.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


async def put(wire: Wire, body: bytes, seconds: float = 30.0) -> int:
    return (await wire.request("PUT", "/key", {"host": "here"}, body, seconds)).status


async def test_large_bodies_arrive_whole_over_one_connection() -> None:
    server = Server()
    async with wire_to(server) as wire:
        for body in (BODY, b"small", BODY[::-1]):
            assert await put(wire, body) == 200
    assert server.bodies == [BODY, b"small", BODY[::-1]]
    assert server.connections == 1


async def test_many_at_once_do_not_mix() -> None:
    server = Server()
    bodies = [bytes([number]) * (MIB + number) for number in range(8)]
    async with wire_to(server) as wire:
        assert await asyncio.gather(*[put(wire, body) for body in bodies]) == [200] * 8
    assert sorted(server.bodies) == bodies


async def test_what_is_refused_early_leaves_no_rest_on_the_connection() -> None:
    server = Server(refuse_early)
    server._serve = (refuse_early, server.whole)
    async with wire_to(server) as wire:
        assert await put(wire, BODY) == 403
        assert await put(wire, b"the next") == 200
    assert server.bodies == [b"the next"]
    assert server.connections == 2


async def test_a_cut_is_told_and_the_server_cannot_have_all_of_it() -> None:
    async with wire_to(Server(cut)) as wire:
        with pytest.raises(BrokenOff) as broken:
            await put(wire, BODY)
    assert not broken.value.handed_over


async def test_a_server_that_stops_reading_is_given_up() -> None:
    async with wire_to(Server(stuck)) as wire:
        with pytest.raises(NoProgress) as ended:
            await put(wire, BODY * 4, seconds=0.3)
    assert not ended.value.handed_over
