"""Requests with bodies over real sockets, plain, by TLS and through a proxy: whole, refused early, cut, stuck."""

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from migrator.clients.connection import PIECE, BrokenOff, NoProgress
from migrator.clients.idle import Idle
from migrator.clients.wire import Way, Wire
from migrator.core.model import MIB
from tests.servers.certificates import certificate

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
    while True:
        size = await length(reader)
        writer.write(REFUSED)
        await reader.readexactly(size)


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


async def reading_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes a request as a narrow line would bring it."""
    left = await length(reader)
    while left:
        await asyncio.sleep(0.02)
        left -= len(await reader.read(min(left, 8 * 1024)))
    writer.write(FINE)


def answering(size: int, piece: int) -> Serve:
    """Answers with a body of so many bytes that comes in small pieces."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for start in range(0, size, piece):
            await asyncio.sleep(0.02)
            writer.write(BODY[start : min(start + piece, size)])
            await writer.drain()

    return serve


@asynccontextmanager
async def listening(
    accept: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """The port of a server whose system holds little of what comes in."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024)
    server = await asyncio.start_server(accept, sock=listener, ssl=tls, limit=8 * 1024)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


@asynccontextmanager
async def wire_to(
    server: Server, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None, proxy: str | None = None
) -> AsyncIterator[Wire]:
    """`tls`: the contexts of the server and of the client."""
    async with listening(server.accept, tls[0] if tls else None) as port:
        wire = Wire(Way("127.0.0.1", port, tls[1] if tls else None, proxy), 5.0, Idle(64))
        try:
            yield wire
        finally:
            wire.close()


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    path = certificate(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(path)
    return serving, ssl.create_default_context(cafile=path)


class Proxy:
    """Takes CONNECT and passes on whatever comes then; `seen` is what the client sent."""

    def __init__(self) -> None:
        self.seen = b""

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        host, port = head.split()[1].split(":")
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        beyond, there = await asyncio.open_connection(host, port)

        async def back() -> None:
            while piece := await beyond.read(MIB):
                writer.write(piece)

        backwards = asyncio.create_task(back())
        while piece := await reader.read(MIB):
            self.seen += piece
            there.write(piece)
        there.close()
        await backwards
        writer.close()


def narrow(wire: Wire) -> None:
    """From now on the system takes little at once on the one connection that is kept."""
    connection = wire._kept.take()
    assert connection
    assert connection.transport is not None
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    wire._kept.give(connection)


async def put(wire: Wire, body: bytes, seconds: float = 30.0) -> int:
    return (await wire.request("PUT", "/key", {"host": "here"}, body, seconds)).status


async def test_large_bodies_arrive_whole_over_one_connection() -> None:
    server = Server()
    async with wire_to(server) as wire:
        for body in (BODY, b"small", BODY[::-1]):
            assert await put(wire, body) == 200
    assert server.bodies == [BODY, b"small", BODY[::-1]]
    assert server.connections == 1


async def test_by_tls_they_arrive_whole(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server = Server()
    async with wire_to(server, tls) as wire:
        for body in (b"small", BODY):
            assert await put(wire, body) == 200
    assert server.bodies == [b"small", BODY]


async def test_a_proxy_sees_nothing_of_what_goes_through_its_tunnel(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server, proxy = Server(), Proxy()
    secret = b"what nobody on the way may read"
    async with listening(proxy.accept) as port, wire_to(server, tls, f"http://127.0.0.1:{port}") as wire:
        for body in (secret, secret * 100_000):
            assert await put(wire, body) == 200
    assert server.bodies == [secret, secret * 100_000]
    assert len(proxy.seen) > len(secret) * 100_000
    assert secret not in proxy.seen


@pytest.mark.parametrize("size", [0, 1, PIECE // 2, PIECE])
async def test_what_the_system_does_not_take_at_once_follows(size: int) -> None:
    server = Server()
    async with wire_to(server) as wire:
        assert await put(wire, b"first") == 200
        narrow(wire)
        assert await put(wire, BODY[:size]) == 200
    assert server.bodies == [b"first", BODY[:size]]
    assert server.connections == 1


@pytest.mark.parametrize("size", [1, 100_000, PIECE - 1, PIECE, PIECE + 1, MIB])
async def test_many_at_once_do_not_mix(size: int) -> None:
    """More than the system takes in at once while nobody reads yet."""
    server = Server()
    bodies = [bytes([number]) * (size + number) for number in range(40)]
    async with wire_to(server) as wire:
        assert await asyncio.gather(*[put(wire, body) for body in bodies]) == [200] * len(bodies)
    assert sorted(server.bodies) == bodies


@pytest.mark.parametrize("size", [PIECE, len(BODY)])
async def test_what_is_refused_early_leaves_no_rest_on_the_connection(size: int) -> None:
    server = Server(refuse_early)
    server._serve = (refuse_early, server.whole)
    async with wire_to(server) as wire:
        assert await put(wire, b"") == 403
        narrow(wire)
        assert await put(wire, BODY[:size]) == 403
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


@pytest.mark.parametrize("size", [PIECE, PIECE * 2], ids=["small", "large"])
async def test_what_goes_out_slowly_is_waited_for(size: int) -> None:
    """Twice as long as next to nothing may move: a small one is with the system at once, and leaves it bit by bit."""
    server = Server(reading_slowly)
    async with wire_to(server) as wire:
        assert await put(wire, BODY[:size], seconds=0.3) == 200


async def test_what_comes_slowly_is_waited_for() -> None:
    async with wire_to(Server(answering(MIB, MIB // 40))) as wire:
        answer = await wire.request("GET", "/key", {"host": "here"}, b"", 0.3)
    assert answer.body == BODY[:MIB]


async def test_a_byte_now_and_then_is_no_progress() -> None:
    async with wire_to(Server(answering(MIB, 1))) as wire:
        with pytest.raises(NoProgress):
            await wire.request("GET", "/key", {"host": "here"}, b"", 0.3)
