"""One signed S3 request over aiohttp: the hot path. One call is one attempt; what a request means is told elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from multidict import CIMultiDictProxy
from yarl import URL

from migrator.clients.aws import Access, untrusted
from migrator.clients.refusals import READING, SKEWED, Refusal, error_of, read_error, retry_after, shown
from migrator.clients.signing import EMPTY_SHA256, quote_key
from migrator.core.config import Transfer
from migrator.core.errors import ObjectError, Transient
from migrator.core.model import MIB, Side

PARTS_IN_FLIGHT = 4
"""Most requests of one item at once (DESIGN section 5); the pool has a connection for each."""

PIECE = 256 * 1024
"""Bytes of a body after which its progress is looked at, and of a streamed answer."""

COPY_PATIENCE = 10
"""A copy moves up to 5 GiB before its answer comes: it may take this many times as long as other requests."""

_LONGEST_ANSWER = 256 * 1024
"""Bytes read of an answer that is not an object's content: an error document has some hundred."""

_MOST_BUFFERED = 4 * MIB
_SLOWEST = 64 * 1024
"""Bytes of a body that a system buffers at most, and the rate (bytes a second) at which it may send them."""

_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class BrokenOff(aiohttp.ClientError):
    """The connection broke after a request was begun."""


async def _never_again(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """aiohttp sends PUT, GET and the like again by itself when a connection breaks, unless it meets an error of ours.

    It must not: the first one may have been carried out, and trying again is decided in one place only.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise BrokenOff(_reason(error)) from error


class Pieces(Payload):
    """A body that goes out in pieces and puts the deadline off with each: a slow upload is not cut, a dead one is."""

    def __init__(self, body: bytes, deadline: asyncio.Timeout, seconds: float) -> None:
        super().__init__(body)
        self._size: int = len(body)
        self._deadline = deadline
        self._seconds = seconds
        self.handed_over = False
        """The last byte was given to the connection: the server may have all of it."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return str(self._value, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        if self._size <= PIECE:
            self.handed_over = True
            await writer.write(self._value)
            return
        view = memoryview(self._value)
        for start in range(0, self._size, PIECE):
            self.handed_over = start + PIECE >= self._size
            await writer.write(view[start : start + PIECE])
            self._put_off(self._seconds)
        # What the system still holds of it goes out unseen.
        self._put_off(self._seconds + min(self._size, _MOST_BUFFERED) / _SLOWEST)

    def _put_off(self, seconds: float) -> None:
        if not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time() + seconds)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        del content_length  # the header was made from the size of this very body
        await self.write(writer)


class S3Client:
    """Signed requests to one bucket over kept connections."""

    def __init__(self, access: Access, transfer: Transfer) -> None:
        self.requests = access.requests
        self._access = access
        self._identity = access.identity
        self._base = access.endpoint.base
        self._path = access.endpoint.path
        self._host = access.endpoint.host
        self._timeout = transfer.timeout
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=transfer.concurrency * PARTS_IN_FLIGHT, ssl=access.tls if access.tls else True
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_AUTOMATIC,
            proxy=access.proxy,
            # The whole request is watched below, by progress; here only the time until there is a connection.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=transfer.connect_timeout),
            middlewares=(_never_again,),
        )

    async def close(self) -> None:
        """Gives connections back. Idempotent."""
        await self._session.close()

    async def send(
        self,
        operation: str,
        method: str,
        key: str,
        headers: dict[str, str],
        *,
        query: str = "",
        body: bytes = b"",
        payload: str = EMPTY_SHA256,
        accept: tuple[int, ...] = (),
    ) -> Answer:
        """Sends one request and returns its answer: 2xx, or one of `accept`. Raises an ObjectError for all else.

        `headers` has lower-case names; `query` is encoded and sorted; `payload` is the SHA-256 of `body` in hex.
        """
        answer = await self._attempt(operation, method, key, headers, query, body, payload)
        if answer.status >= 400 and self._clock_is_wrong(answer):
            answer = await self._attempt(operation, method, key, headers, query, body, payload)
        if answer.status < 300 or answer.status in accept:
            return answer
        raise self.error(operation, key, answer)

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """The bytes of an object, in pieces."""
        for last in (False, True):
            url, signed = await self._sign("GET", "GET", key, {}, "", EMPTY_SHA256)
            try:
                async with asyncio.timeout(self._timeout) as deadline:
                    async with self._session.get(url, headers=signed, allow_redirects=False) as response:
                        while response.status == 200 and (piece := await response.content.read(PIECE)):
                            deadline.reschedule(None)  # the caller may take its time
                            yield piece
                            deadline.reschedule(asyncio.get_running_loop().time() + self._timeout)
                        if response.status == 200:
                            return
                        answer = Answer(response.status, response.headers, await _read_some(response))
            except (aiohttp.ClientError, OSError) as error:
                raise _lost(error, "GET", key, ambiguous=False) from None
            if last or not self._clock_is_wrong(answer):
                raise self.error("GET", key, answer)

    async def _attempt(
        self, operation: str, method: str, key: str, headers: dict[str, str], query: str, body: bytes, payload: str
    ) -> Answer:
        url, signed = await self._sign(operation, method, key, headers, query, payload)
        seconds = self._timeout * (COPY_PATIENCE if operation == "COPY" else 1)
        data: Pieces | None = None
        try:
            async with asyncio.timeout(seconds) as deadline:
                data = Pieces(body, deadline, seconds) if body else None
                async with self._session.request(
                    method, url, data=data, headers=signed, allow_redirects=False
                ) as response:
                    return Answer(response.status, response.headers, await _read_some(response))
        except (aiohttp.ClientError, OSError) as error:
            ambiguous = operation not in READING and (data is None or data.handed_over)
            raise _lost(error, operation, key, ambiguous=ambiguous) from None

    async def _sign(
        self, operation: str, method: str, key: str, headers: dict[str, str], query: str, payload: str
    ) -> tuple[URL, dict[str, str]]:
        path = f"{self._path}/{quote_key(key)}" if key else self._path or "/"
        signed = {"host": self._host, **headers}
        identity = self._identity
        identity.signer.sign(await identity.credentials(), identity.now(), method, path, query, signed, payload)
        self.requests[operation] = self.requests.get(operation, 0) + 1
        return URL(f"{self._base}{path}?{query}" if query else self._base + path, encoded=True), signed

    def _clock_is_wrong(self, answer: Answer) -> bool:
        """Whether our clock was to blame and is corrected now. A HEAD is refused without a reason: its Date tells."""
        code, _, _ = read_error(answer.body)
        if code in SKEWED or (not answer.body and answer.status == 403):
            return self._identity.learn_time(answer.headers.get("date"))
        return False

    def error(self, operation: str, key: str, answer: Answer) -> ObjectError:
        """What an answer that was not hoped for means."""
        code, message, region = read_error(answer.body)
        refusal = Refusal(
            operation,
            self._access.bucket,
            key,
            status=answer.status,
            code=code,
            message=message,
            retry_after=retry_after(answer.headers.get("retry-after")),
            bucket_region=answer.headers.get("x-amz-bucket-region", "") or region,
        )
        return error_of(refusal, self._identity.region)


async def _read_some(response: aiohttp.ClientResponse) -> bytes:
    """The body of an answer that should be short; what is beyond any sense is left unread and the connection closed."""
    pieces: list[bytes] = []
    size = 0
    while size < _LONGEST_ANSWER and (piece := await response.content.read(_LONGEST_ANSWER)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _lost(error: Exception, operation: str, key: str, *, ambiguous: bool) -> ObjectError:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return untrusted(operation, shown(key))
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.ClientHttpProxyError):
        what, ambiguous = f"no connection ({_reason(error)})", False
    elif isinstance(error, TimeoutError):
        what = "no progress within transfer.timeout"
    else:
        what = f"the connection broke ({_reason(error)})"
    return Transient(
        f"{operation} {shown(key)}: {what}", side=Side.DESTINATION, hint="tried again by itself", ambiguous=ambiguous
    )


def _reason(error: Exception) -> str:
    if isinstance(error, BrokenOff):
        return str(error)
    return getattr(getattr(error, "os_error", error), "strerror", None) or type(error).__name__
