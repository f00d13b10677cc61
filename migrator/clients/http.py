"""GET of untrusted URLs: only to checked addresses, redirects by hand, every failure one of core.errors."""

import asyncio
import os
import socket
import ssl
import time
from importlib.metadata import version

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDictProxy
from yarl import URL

from migrator.clients.dates import http_date
from migrator.core.addresses import literal_address, refused_address
from migrator.core.config import Transfer
from migrator.core.errors import Forbidden, Gone, Invalid, ObjectError, Throttled, Transient, Truncated
from migrator.core.secrets import mask_url

MAX_REDIRECTS = 10

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WHOLE = frozenset({200, 203})
_DNS_SECONDS = 60
"""How long an address that was looked up and checked is used again."""

_FAILURES = (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError)
_ALLOW = "set allow_private = true on the source if that is meant"


class AddressRefused(Exception):
    """A host is, or resolves only to, addresses that a source may not reach."""

    def __init__(self, host: str, address: str, kind: str) -> None:
        super().__init__(f"{host} is at {address}")
        self.host = host
        self.address = address
        self.kind = kind


class GuardedResolver(AbstractResolver):
    """Looks names up and gives out the addresses that may be reached, and no other: whoever connects uses just these.

    So a name that answers differently the second time (DNS rebinding) gains nothing.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        async with asyncio.timeout(self._seconds):
            found = await self._resolver.resolve(host, port, family)
        refusals = [(address["host"], refused_address(address["host"])) for address in found]
        allowed = [address for address, (_, kind) in zip(found, refusals, strict=True) if kind is None]
        for address, kind in refusals:
            if kind is not None and not allowed:
                raise AddressRefused(host, address, kind)
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


class HttpClient:
    """Connections to the hosts of sources; those that may be private are kept apart from those that may not.

    No proxy is taken from the environment: behind one, nobody could tell which address is reached. No cookie is kept.
    """

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def get(self, url: str, location: str, *, private: bool) -> "HttpAnswer":
        """The answer 200 to `url`, after at most ten redirects. Messages name `location`, which holds no secret."""
        session = self._sessions.get(private) or self._connect(private)
        here = _parse(url, location)
        try:
            for _ in range(MAX_REDIRECTS + 1):
                if not private:
                    _check_literal(here)
                response = await session.get(here, allow_redirects=False)
                if response.status in _WHOLE:
                    return HttpAnswer(response, location)
                response.release()
                if response.status not in _REDIRECTS:
                    raise _refusal(response, location)
                here = _redirect(here, response, location)
        except AddressRefused as error:
            raise _address_error(error, location) from None
        except _FAILURES as error:
            raise _translated(error, location, self._transfer) from None
        raise Invalid(f"{location} leads to more than {MAX_REDIRECTS} redirects")

    async def close(self) -> None:
        """Closes all connections. Idempotent."""
        sessions = list(self._sessions.values())
        self._sessions.clear()
        for session in sessions:
            await session.close()

    def _connect(self, private: bool) -> aiohttp.ClientSession:
        transfer = self._transfer
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=transfer.per_host,
            ttl_dns_cache=_DNS_SECONDS,
            resolver=None if private else GuardedResolver(transfer.connect_timeout),
        )
        self._sessions[private] = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"migrator/{version('migrator')}", "Accept-Encoding": "identity"},
            # Silence is bounded, not the whole transfer: a large object may take as long as it makes progress.
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=transfer.connect_timeout, sock_read=transfer.timeout
            ),
        )
        return self._sessions[private]


class HttpAnswer:
    """An open answer whose body has still to be read."""

    def __init__(self, response: aiohttp.ClientResponse, location: str) -> None:
        self._response = response
        self._location = location
        self.size = response.content_length
        self.headers: CIMultiDictProxy[str] = response.headers

    async def read(self, limit: int) -> bytes:
        """The next bytes: `limit` of them, or fewer at the end. Raises Truncated, Transient."""
        content = self._response.content
        pieces: list[bytes] = []
        try:
            while limit > 0 and (piece := await content.read(limit)):
                pieces.append(piece)
                limit -= len(piece)
        except _FAILURES as error:
            raise _read_failure(error, self._location) from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Gives the connection back, or closes it when bytes are left."""
        self._response.release()


def _parse(url: str, location: str) -> URL:
    try:
        # What is plain ASCII is sent as it stands: normalising could break a signature.
        parsed = URL(url, encoded=url.isascii() and url.isprintable() and " " not in url)
        if parsed.scheme in ("http", "https") and parsed.host:
            return parsed
    except ValueError:
        pass
    raise Invalid(f"{location} is no http or https URL that can be requested")


def _check_literal(url: URL) -> None:
    address = literal_address(url.raw_host or "")
    kind = refused_address(address) if address is not None else None
    if kind is not None:
        raise AddressRefused(url.raw_host or "", str(address), kind)


def _redirect(here: URL, response: aiohttp.ClientResponse, location: str) -> URL:
    target = response.headers.get("Location")
    if not target:
        raise Invalid(f"{location} answered {response.status}, a redirect without a Location")
    try:
        there = here.join(URL(target, encoded=target.isascii() and target.isprintable() and " " not in target))
        # Joining keeps user and password of the first URL; they belong to its host alone.
        there = there.with_user(None) if there.raw_user is not None or there.raw_password is not None else there
    except ValueError:
        raise Invalid(f"{location} redirects to something that is no URL") from None
    if there.scheme not in ("http", "https") or not there.raw_host:
        raise Forbidden(
            f"{location} redirects to a {there.scheme or 'schemeless'} URL; only http and https are followed"
        )
    if here.scheme == "https" and there.scheme == "http":
        raise Forbidden(f"{location} redirects from https to unprotected http: {mask_url(str(there))}; not followed")
    return there


def _refusal(response: aiohttp.ClientResponse, location: str) -> ObjectError:
    status = response.status
    said = f"{location} answered {status} {response.reason or ''}".rstrip()
    if status in (404, 410):
        return Gone(said)
    if status in (401, 403):
        return Forbidden(said, hint="the URL needs credentials, or its signature has expired")
    if status in (429, 503):
        return Throttled(said, retry_after=retry_after(response.headers, time.time()))
    if status in (408, 425) or status >= 500:
        return Transient(said)
    return Invalid(f"{said}: not the content that was asked for")


def retry_after(headers: CIMultiDictProxy[str], now: float) -> float | None:
    """Seconds that a Retry-After asks to wait, given as such or as a date; None where it asks for nothing readable.

    A date is measured against the answer's own Date, so that a clock that is off does no harm.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    until = http_date(value)
    if until is None:
        return None
    return max(0.0, until - (http_date(headers.get("Date", "")) or now))


def last_modified(headers: CIMultiDictProxy[str]) -> float | None:
    """Last-Modified in seconds since the epoch."""
    return http_date(headers.get("Last-Modified", ""))


def _address_error(error: AddressRefused, location: str) -> ObjectError:
    return Forbidden(f"{location}: {error.host} is the {error.kind} address {error.address}", hint=_ALLOW)


def _translated(error: BaseException, location: str, transfer: Transfer) -> ObjectError:
    """A failure before the first byte of the body."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(error.certificate_error, "verify_message", "") or "it cannot be verified"
            return Forbidden(f"{location}: the server's certificate is refused: {why}")
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return Transient(f"{location}: no secure connection could be made")
        case aiohttp.ClientConnectorDNSError():
            return Transient(
                f"{location}: the host's name could not be resolved", hint="check the name and the network"
            )
        case aiohttp.ConnectionTimeoutError():
            return Transient(f"{location}: no connection within {transfer.connect_timeout:g} s")
        case aiohttp.InvalidURL() | UnicodeError():
            return Invalid(f"{location} is no URL that can be requested")
        case TimeoutError():
            return Transient(f"{location}: no answer within {transfer.timeout:g} s")
        case aiohttp.ClientResponseError():
            return Transient(f"{location}: the answer is no valid HTTP")
        case OSError() if error.errno:
            # Not strerror: asyncio and aiohttp fill in texts of their own there.
            return Transient(f"{location}: {os.strerror(error.errno).lower()}")
        case _:
            return Transient(f"{location}: the connection was closed before an answer came")


def _read_failure(error: BaseException, location: str) -> ObjectError:
    if isinstance(error, aiohttp.ClientPayloadError):
        return Truncated(f"{location}: the connection ended before the last byte")
    if isinstance(error, TimeoutError):
        return Transient(f"{location}: no further byte came in time")
    return Transient(f"{location}: the connection was lost while reading")
