"""Kept connections to one server, also behind a proxy: any of them serves for the next request."""

import asyncio
import base64
import ssl
import weakref
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from migrator.clients.connection import (
    Answer,
    BrokenOff,
    Connection,
    NoConnection,
    Untrusted,
    WireError,
    reason,
)
from migrator.clients.idle import Idle, Kept

_SCRATCH = 256 * 1024
_SCRATCHES: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview[int]]" = weakref.WeakKeyDictionary()
"""One for all connections of a loop, however many servers they lead to: only one can receive at a time."""


class Way(Struct, frozen=True):
    """How to reach one server: `host` and `port` of it, TLS or none, and the proxy's URL if it is behind one."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    proxy: str | None = None


class Wire:
    """Connections to one server, kept between requests. `idle` bounds those that are kept, to whatever server."""

    def __init__(self, way: Way, connect_seconds: float, idle: Idle) -> None:
        self._way = way
        self._kept: Kept[Connection] = Kept(idle)
        self._connect_seconds = connect_seconds
        proxy = urlsplit(way.proxy) if way.proxy else None
        self._proxy = proxy
        # Plain HTTP behind a proxy: the proxy is told the whole URL in each request. TLS goes through a tunnel.
        port = "" if way.port == 80 else f":{way.port}"
        self._origin = f"http://{way.host}{port}" if proxy and not way.tls else ""
        self._proxy_headers = ""
        if proxy and proxy.username:
            login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
            self._proxy_headers = f"proxy-authorization: Basic {base64.b64encode(login.encode()).decode()}\r\n"

    async def request(self, method: str, target: str, headers: dict[str, str], body: bytes, seconds: float) -> Answer:
        """One request. `target` is the encoded path and query, `headers` hold the host. Raises WireError."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if lines.count("\r") != len(headers) or lines.count("\n") != len(headers):
            raise BrokenOff("a header holds a line break")
        more = self._proxy_headers if self._origin else ""
        length = f"content-length: {len(body)}\r\n" if body or method in ("PUT", "POST", "DELETE") else ""
        head = f"{method} {self._origin}{target} HTTP/1.1\r\n{lines}{more}{length}\r\n".encode("latin-1")
        connection = self._kept.take() or await self._connected()
        try:
            return await connection.exchange(head, body, seconds, bodiless=method == "HEAD")
        finally:
            self._kept.give(connection)

    def close(self) -> None:
        """Closes what is idle. Idempotent."""
        self._kept.close()

    async def _connected(self) -> Connection:
        try:
            async with asyncio.timeout(self._connect_seconds):
                return await self._connect()
        except ssl.SSLCertVerificationError as error:
            raise Untrusted(error.verify_message) from None
        except (OSError, TimeoutError) as error:
            late = isinstance(error, TimeoutError) and error.errno is None
            raise NoConnection(f"none within {self._connect_seconds:g} s" if late else reason(error)) from None

    async def _connect(self) -> Connection:
        loop, way = asyncio.get_running_loop(), self._way
        if self._proxy is None:
            _, connection = await loop.create_connection(
                lambda: Connection(_scratch_of(loop)), way.host, way.port, ssl=way.tls, happy_eyeballs_delay=0.25
            )
            return connection
        _, connection = await loop.create_connection(
            lambda: Connection(_scratch_of(loop)),
            self._proxy.hostname or "",
            self._proxy.port or 80,
            happy_eyeballs_delay=0.25,
        )
        if way.tls:
            await self._tunnel(connection, way.tls)
        return connection

    async def _tunnel(self, connection: Connection, tls: ssl.SSLContext) -> None:
        there = f"{self._way.host}:{self._way.port}"
        head = f"CONNECT {there} HTTP/1.1\r\nhost: {there}\r\n{self._proxy_headers}\r\n".encode("latin-1")
        try:
            answer = await connection.exchange(head, b"", self._connect_seconds, bodiless=True)
        except WireError as error:
            raise NoConnection(f"the proxy: {error}") from None
        if answer.status != 200:
            connection.close()
            raise NoConnection(f"the proxy answered {answer.status}")
        loop = asyncio.get_running_loop()
        assert connection.transport is not None
        connection.transport = await loop.start_tls(
            connection.transport, connection, tls, server_hostname=self._way.host
        )


def _scratch_of(loop: asyncio.AbstractEventLoop) -> "memoryview[int]":
    if loop not in _SCRATCHES:
        _SCRATCHES[loop] = memoryview(bytearray(_SCRATCH))
    return _SCRATCHES[loop]
