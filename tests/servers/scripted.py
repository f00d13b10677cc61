"""An HTTP server that answers what a test tells it to, byte by byte, or breaks off where the test wants."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate


@dataclass(frozen=True, slots=True)
class Request:
    """What came in; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes out, as from S3 unless `strange`. `reset` breaks the connection in place of it, `close` after."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    close: bool = False
    strange: bool = False


Script = Callable[[Request], Reply | Awaitable[Reply]]


@dataclass(slots=True)
class Scripted:
    """A running server: where it is and what it was asked."""

    endpoint: str
    requests: list[Request] = field(default_factory=list)
    connections: int = 0


def error_document(code: str, message: str = "", more: str = "") -> bytes:
    """An error as S3 sends it."""
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>'.encode()


@asynccontextmanager
async def scripted(
    script: Script, *, drain: float | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Scripted]:
    """Serves `script` on a free port. `drain`: bytes of a body read per 10 ms, for uploads that must be slow."""
    world = Scripted("")
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        world.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                request = await _read(reader, drain)
                world.requests.append(request)
                answer = script(request)
                reply = answer if isinstance(answer, Reply) else await answer
                if reply.reset:
                    writer.transport.abort()
                    return
                writer.write(_bytes(reply, request.method))
                await writer.drain()
                if reply.close:
                    break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**16, ssl=tls)
    world.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield world
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader, drain: float | None) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    left = int(headers.get("content-length", "0"))
    body = bytearray()
    while len(body) < left:
        if drain:
            await asyncio.sleep(0.01)
        piece = await reader.read(min(left - len(body), int(drain or 2**16)))
        if not piece:
            raise asyncio.IncompleteReadError(bytes(body), left)
        body += piece
    return Request(method, target, headers, bytes(body))


def _bytes(reply: Reply, method: str) -> bytes:
    headers = {"date": formatdate(usegmt=True), "content-length": str(len(reply.body))}
    headers |= {} if reply.strange else {"x-amz-request-id": "0123456789ABCDEF"}
    headers |= reply.headers
    lines = [f"HTTP/1.1 {reply.status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if method == "HEAD" else reply.body)
