"""A web server that says exactly what a test tells it to, byte for byte, and remembers what it was asked."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answers = dict[str, bytes]


@dataclass(slots=True)
class Web:
    """`answers` maps a path to the whole answer; `cut` are paths after which the connection is closed at once.

    A path in `reset` is answered and then torn down; one in `silent` is never answered to its end.
    """

    port: int = 0
    answers: Answers = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    reset: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    connections: int = 0
    """Connections made so far."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody closed a connection."""

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        """The URL of `path` here."""
        return f"{scheme}://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                text = head.decode("latin-1")
                self.requests.append(text)
                path = text.split(" ")[1]
                writer.write(self.answers.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope"))
                await writer.drain()
                if path in self.silent:
                    await reader.read()
                if path in self.reset:
                    writer.transport.abort()
                if path in self.cut | self.reset:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.left.set()
            writer.close()


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer with its length; `headers` are written with `_` for `-`."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if "Content_Length" not in headers and "Transfer_Encoding" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncIterator[Web]:
    """A server on a free port of 127.0.0.1."""
    web = Web()
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0, ssl=context)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()
