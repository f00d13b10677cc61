"""GET of untrusted URLs: only to checked addresses, redirects by hand, every failure one of core.errors."""

import asyncio
import base64
import os
import re
import socket
import ssl
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from migrator.clients.connection import SLOWEST
from migrator.clients.dates import http_date
from migrator.clients.fetching import ClosedEarly, Line, NotHttp, TooSlow
from migrator.clients.hosts import ConnectTimeout, Host
from migrator.clients.idle import Idle
from migrator.clients.names import LOOKUPS_AT_ONCE, Addresses, AddressInfo, NameTimeout, look_up
from migrator.core.addresses import literal_address, refused_address
from migrator.core.config import Transfer
from migrator.core.errors import Forbidden, Gone, Invalid, ObjectError, Throttled, Transient, Truncated
from migrator.core.secrets import mask_url

if TYPE_CHECKING:
    from yarl import URL

MAX_REDIRECTS = 10

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WHOLE = frozenset({200, 203})
_PART = 206
_SWEEP_EVERY = 5.0
"""Seconds between two looks for connections that were idle for long."""
_SCRATCH = 256 * 1024

_PORTS = {"http": 80, "https": 443}
_PLAIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?(?P<target>(?:/[!-\"$->@-~]*)?(?:\?[!-\"$-~]*)?)"
    r"(?:#[!-~]*)?"
)
"""URLs that need no normalising at all: nearly all of them."""

_FAILURES = (NotHttp, ClosedEarly, OSError, asyncio.TimeoutError, ValueError)
_ALLOW = "set allow_private = true on the source if that is meant"
_PROXIED = "sources are asked directly, not through the proxy of the environment: run where they can be reached"


class AddressRefused(Exception):
    """A host is, or resolves only to, addresses that a source may not reach."""

    def __init__(self, host: str, address: str, kind: str) -> None:
        super().__init__(f"{host} is at {address}")
        self.host = host
        self.address = address
        self.kind = kind


async def look_up_guarded(host: str, port: int) -> list[AddressInfo]:
    """The addresses of `host` that may be reached, and no other: whoever connects uses just these.

    So a name that answers differently the second time (DNS rebinding) gains nothing.
    """
    found = await look_up(host, port)
    refusals = [(str(info[4][0]), refused_address(str(info[4][0]).partition("%")[0])) for info in found]
    allowed = [info for info, (_, kind) in zip(found, refusals, strict=True) if kind is None]
    for address, kind in refusals:
        if kind is not None and not allowed:
            raise AddressRefused(host, address, kind)
    return allowed


class Place(NamedTuple):
    """Where a URL leads, ready to be asked for. `target` is the encoded path and query."""

    url: str
    scheme: str
    host: str
    port: int
    target: str
    login: str = ""
    """`user:password`, for its own host only."""


class HttpClient:
    """Connections to the hosts of sources; those that may be private are kept apart from those that may not.

    No proxy is taken from the environment: behind one, nobody could tell which address is reached. No cookie is kept.
    """

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._hosts: dict[tuple[bool, str, str, int], Host] = {}
        self._idle = Idle(transfer.concurrency)
        self._turns = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        # One piece of warm memory for all heads and short bodies: only one can come in at a time.
        self._scratch = memoryview(bytearray(_SCRATCH))
        self._agent = f"User-Agent: migrator/{version('migrator')}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
        self._tls: ssl.SSLContext | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    async def reach(self, url: str, location: str, *, private: bool) -> None:
        """Makes a connection that the next `get` finds ready; asks nothing. Raises as `get` does before an answer."""
        place = _parse(url, location)
        try:
            if not private:
                _check_literal(place)
            await self._host(place, private).reach(self._scratch)
        except AddressRefused as error:
            raise _address_error(error, location) from None
        except _FAILURES as error:
            raise _translated(error, location, self._transfer) from None

    async def get(self, url: str, location: str, *, private: bool, more: str = "") -> "HttpAnswer":
        """The answer 200 to `url`, after at most ten redirects. Messages name `location`, which holds no secret.

        `more` are header lines that ask for a part: then the answer may be a 206 as well.
        """
        here = _parse(url, location)
        try:
            for _ in range(MAX_REDIRECTS + 1):
                if not private:
                    _check_literal(here)
                host = self._host(here, private)
                line = await host.ask(self._head(here, more), self._transfer.timeout, self._scratch)
                if line.status in _WHOLE or (more and line.status == _PART):
                    return HttpAnswer(host, line, location)
                host.give(line)
                if line.status not in _REDIRECTS:
                    raise _refusal(line, location)
                here = _redirect(here, line, location)
        except AddressRefused as error:
            raise _address_error(error, location) from None
        except _FAILURES as error:
            raise _translated(error, location, self._transfer) from None
        raise Invalid(f"{location} leads to more than {MAX_REDIRECTS} redirects")

    async def close(self) -> None:
        """Closes all connections that are idle. Idempotent."""
        if self._sweeping:
            self._sweeping.cancel()
        for host in self._hosts.values():
            host.close()
        self._hosts.clear()

    def _head(self, place: Place, more: str) -> bytes:
        name = f"[{place.host}]" if ":" in place.host else place.host
        port = "" if place.port == _PORTS[place.scheme] else f":{place.port}"
        login = ""
        if place.login:
            login = f"Authorization: Basic {base64.b64encode(place.login.encode()).decode()}\r\n"
        return f"GET {place.target} HTTP/1.1\r\nHost: {name}{port}\r\n{self._agent}{login}{more}\r\n".encode("latin-1")

    def _host(self, place: Place, private: bool) -> Host:
        which = (private, place.scheme, place.host, place.port)
        host = self._hosts.get(which)
        if host is None:
            transfer = self._transfer
            tls = self._trust() if place.scheme == "https" else None
            lookup = look_up if private else look_up_guarded
            addresses = Addresses(place.host, place.port, lookup, self._turns, transfer.connect_timeout)
            host = Host(place.host, addresses, tls, self._idle, transfer.per_host, transfer.connect_timeout)
            self._hosts[which] = host
            if self._sweeping is None:
                self._sweeping = asyncio.get_running_loop().call_later(_SWEEP_EVERY, self._sweep)
        return host

    def _trust(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _sweep(self) -> None:
        """Hosts come and go by the thousand: those that nothing is kept of are forgotten."""
        loop = asyncio.get_running_loop()
        for which, host in list(self._hosts.items()):
            if host.sweep():
                del self._hosts[which]
        self._sweeping = loop.call_later(_SWEEP_EVERY, self._sweep) if self._hosts else None


class HttpAnswer:
    """An open answer whose body has still to be read. `headers` have lower-case names."""

    def __init__(self, host: Host, line: Line, location: str) -> None:
        self._host = host
        self._line: Line | None = line
        self._location = location
        self.size = line.size
        self.headers = line.headers

    async def read(self, limit: int) -> bytes:
        """The next bytes: `limit` of them, or fewer at the end. Raises Truncated, Transient."""
        assert self._line is not None
        try:
            return await self._line.read(limit)
        except _FAILURES as error:
            raise _read_failure(error, self._location) from None

    def close(self) -> None:
        """Gives the connection back, or closes it when bytes are left. Idempotent."""
        if self._line is not None:
            self._host.give(self._line)
            self._line = None


def _parse(url: str, location: str) -> Place:
    found = _PLAIN.fullmatch(url)
    if found is not None:
        scheme, host, port, target = found["scheme"], found["host"], found["port"], found["target"]
        number = int(port) if port else _PORTS[scheme]
        if number < 65536:
            return Place(url, scheme, host, number, target if target.startswith("/") else "/" + target)
    try:
        # What is plain ASCII is sent as it stands: normalising could break a signature.
        return _place(_url(url))
    except ValueError:
        raise Invalid(f"{location} is no http or https URL that can be requested") from None


def _url(text: str) -> "URL":
    from yarl import URL  # few URLs need it

    return URL(text, encoded=text.isascii() and text.isprintable() and " " not in text)


def _place(url: "URL") -> Place:
    """Raises ValueError for what is no http or https URL."""
    if url.scheme not in _PORTS or not url.raw_host or url.port is None:
        raise ValueError
    login = f"{unquote(url.raw_user or '')}:{unquote(url.raw_password or '')}" if url.raw_authority.count("@") else ""
    target = url.raw_path_qs
    if not (target.isascii() and target.isprintable() and " " not in target):
        raise ValueError
    return Place(str(url), url.scheme, url.raw_host, url.port, target or "/", login)


def _check_literal(place: Place) -> None:
    address = literal_address(place.host)
    kind = refused_address(address) if address is not None else None
    if kind is not None:
        raise AddressRefused(place.host, str(address), kind)


def _redirect(here: Place, line: Line, location: str) -> Place:
    target = line.headers.get("location")
    if not target:
        raise Invalid(f"{location} answered {line.status}, a redirect without a Location")
    try:
        there = _url(here.url).join(_url(target))
        # Joining keeps user and password of the first URL; they belong to its host alone.
        there = there.with_user(None) if there.raw_user is not None or there.raw_password is not None else there
        scheme = there.scheme
        place = _place(there) if scheme in _PORTS and there.raw_host else None
    except ValueError:
        raise Invalid(f"{location} redirects to something that is no URL") from None
    if place is None:
        raise Forbidden(f"{location} redirects to a {scheme or 'schemeless'} URL; only http and https are followed")
    if here.scheme == "https" and scheme == "http":
        raise Forbidden(f"{location} redirects from https to unprotected http: {mask_url(place.url)}; not followed")
    return place


def _refusal(line: Line, location: str) -> ObjectError:
    status = line.status
    said = f"{location} answered {status} {line.reason}".rstrip()
    if status in (404, 410):
        return Gone(said)
    if status in (401, 403):
        return Forbidden(said, hint="the URL needs credentials, or its signature has expired")
    if status in (429, 503):
        return Throttled(said, retry_after=retry_after(line.headers, time.time()))
    if status in (408, 425) or status >= 500:
        return Transient(said)
    return Invalid(f"{said}: not the content that was asked for")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that a Retry-After asks to wait, given as such or as a date; None where it asks for nothing readable.

    A date is measured against the answer's own Date, so that a clock that is off does no harm.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    until = http_date(value)
    if until is None:
        return None
    return max(0.0, until - (http_date(headers.get("date", "")) or now))


def last_modified(headers: Mapping[str, str]) -> float | None:
    """Last-Modified in seconds since the epoch."""
    return http_date(headers.get("last-modified", ""))


def _address_error(error: AddressRefused, location: str) -> ObjectError:
    return Forbidden(f"{location}: {error.host} is the {error.kind} address {error.address}", hint=_ALLOW)


def _translated(error: BaseException, location: str, transfer: Transfer) -> ObjectError:
    """A failure before the first byte of the body."""
    match error:
        case ssl.SSLCertVerificationError():
            why = error.verify_message or "it cannot be verified"
            return Forbidden(f"{location}: the server's certificate is refused: {why}")
        case ssl.SSLError():
            return Transient(f"{location}: no secure connection could be made", silent=True)
        case socket.gaierror():
            return Transient(
                f"{location}: the host's name could not be resolved",
                hint=_hint("check the name and the network"),
                silent=True,
            )
        case NameTimeout():
            return Transient(
                f"{location}: the host's name was not resolved within {transfer.connect_timeout:g} s",
                hint=_hint("check the name and the resolver"),
                silent=True,
            )
        case ConnectTimeout():
            text = f"{location}: no connection within {transfer.connect_timeout:g} s"
            return Transient(text, hint=_hint(""), silent=True)
        case UnicodeError():
            return Invalid(f"{location} is no URL that can be requested")
        case TooSlow():
            return _too_slow(location)
        case TimeoutError():
            return Transient(f"{location}: no answer within {transfer.timeout:g} s", silent=True)
        case NotHttp():
            return Transient(f"{location}: the answer is no valid HTTP")
        case OSError() if error.errno:
            # Not strerror: asyncio fills in texts of its own there.
            return Transient(f"{location}: {os.strerror(error.errno).lower()}", silent=True)
        case _:
            return Transient(f"{location}: the connection was closed before an answer came", silent=True)


def _hint(usual: str) -> str:
    """What to do where no connection stands: behind a proxy that is most likely not what it usually is."""
    proxied = any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in os.environ)
    return _PROXIED if proxied else usual


def _read_failure(error: BaseException, location: str) -> ObjectError:
    if isinstance(error, ClosedEarly | NotHttp | ConnectionError):
        return Truncated(f"{location}: the connection ended before the last byte")
    if isinstance(error, TooSlow):
        return _too_slow(location)
    if isinstance(error, TimeoutError):
        return Transient(f"{location}: no further byte came in time", silent=True)
    return Transient(f"{location}: the connection was lost while reading")


def _too_slow(location: str) -> ObjectError:
    return Transient(f"{location}: fewer than {SLOWEST} bytes a second came", silent=True)
