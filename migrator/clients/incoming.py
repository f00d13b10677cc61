"""The bytes of an object that is too large to be held, as they come: what `wire` does not do."""

import asyncio
import ssl
import time

import aiohttp
from yarl import URL

from migrator.clients.connection import SLOWEST, Answer
from migrator.core.errors import ObjectError, Transient
from migrator.core.model import Side

_LONGEST_REFUSAL = 256 * 1024
"""Bytes read of an error document that comes in place of an object's content."""


class Refused(Exception):
    """The answer is not the object."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class Incoming:
    """One answer under way; its connection is held until `close`. Header names are in lower case."""

    def __init__(self, response: aiohttp.ClientResponse, what: str, side: Side, seconds: float) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._what = what
        self._side = side
        self._seconds = seconds
        self._waited, self._came = 0.0, 0
        """Seconds that somebody has waited for bytes, and how many came, since that was last looked at."""

    async def read(self, limit: int) -> bytes:
        """The next bytes, at most `limit` of them; none at the end. Raises Transient, also for an early end."""
        since = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                data = await self._response.content.read(limit)
            self._check_speed(time.monotonic() - since, len(data))
        except (aiohttp.ClientError, OSError) as error:
            raise _lost(error, self._what, self._side, silent=isinstance(error, TimeoutError)) from None
        return data

    def _check_speed(self, waited: float, came: int) -> None:
        self._waited, self._came = self._waited + waited, self._came + came
        if self._waited >= self._seconds:
            if self._came < SLOWEST * self._waited:
                raise TimeoutError
            self._waited, self._came = 0.0, 0

    def close(self) -> None:
        """Gives the connection back, or closes it when bytes are left. Idempotent."""
        self._response.close() if not self._response.content.at_eof() else self._response.release()


class Lines:
    """Connections over which objects stream. Made inside a running loop."""

    def __init__(self, proxy: str | None, tls: ssl.SSLContext | None, seconds: float, connect_seconds: float) -> None:
        self._seconds = seconds
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls if tls else True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            proxy=proxy,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
        )

    async def get(self, url: str, headers: dict[str, str], what: str, side: Side) -> Incoming:
        """Sends one GET. Raises Refused with the answer where that is not the object; `what` names it in errors."""
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._session.get(URL(url, encoded=True), headers=headers, allow_redirects=False)
        except (aiohttp.ClientError, OSError) as error:
            raise _lost(error, what, side, silent=True) from None
        incoming = Incoming(response, what, side, self._seconds)
        if incoming.status in (200, 206):
            return incoming
        try:
            raise Refused(Answer(incoming.status, incoming.headers, await incoming.read(_LONGEST_REFUSAL)))
        finally:
            incoming.close()

    async def close(self) -> None:
        """Closes all connections. Idempotent."""
        await self._session.close()


def _lost(error: Exception, what: str, side: Side, *, silent: bool = False) -> ObjectError:
    reason = getattr(error, "strerror", None) or type(error).__name__
    text = f"{what}: the connection broke ({reason})"
    return Transient(text, side=side, hint="tried again by itself", silent=silent)
