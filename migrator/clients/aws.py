"""Where a bucket is and as whom to speak to it: credentials, endpoint, proxy and certificates of the AWS chain."""

import asyncio
import email.utils
import os
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from migrator.clients.chain import THREAD, Chain, certificate_file, find_chain, gave_no_answer
from migrator.clients.signing import Credentials, Signer
from migrator.core.addresses import literal_address
from migrator.core.config import Transfer
from migrator.core.errors import Fatal, Transient
from migrator.core.model import Side
from migrator.core.places import Place, endpoint_name, same_place
from migrator.core.threads import in_thread

if TYPE_CHECKING:
    from migrator.clients.calls import Calls

CREDENTIALS_SECONDS = 5.0
"""How long one reading of the credentials is used. botocore refreshes them minutes before they expire."""
LONGEST_REFRESH = 60.0
"""Seconds after that for which requests are still signed with it while botocore asks for new ones."""


class Endpoint(Struct, frozen=True):
    """Where requests for one bucket go: `base` is scheme and host, `path` stands before every quoted key."""

    base: str
    host: str
    path: str

    @classmethod
    def of(cls, url: str, bucket: str, *, in_path: bool) -> "Endpoint":
        """Also of buckets with dots (TLS), and where an address is no name, the bucket is in the path."""
        parts = urlsplit(url)
        default = {"http": 80, "https": 443}.get(parts.scheme)
        host = parts.netloc.rpartition("@")[2]
        if default and host.endswith(f":{default}"):
            host = host.rpartition(":")[0]
        path = parts.path.rstrip("/")
        if in_path or "." in bucket or literal_address(parts.hostname or ""):
            return cls(f"{parts.scheme}://{host}", host, f"{path}/{bucket}")
        return cls(f"{parts.scheme}://{bucket}.{host}", f"{bucket}.{host}", path)


class Identity:
    """Credentials of the usual AWS chain (refreshed by botocore) and the difference between our clock and theirs."""

    def __init__(self, chain: Chain, region: str) -> None:
        self.region = region
        self.signer = Signer(region)
        self._chain = chain
        self._frozen: Credentials | None = None
        self._until = 0.0
        self._refreshing = asyncio.Lock()
        self._offset = 0.0

    async def credentials(self) -> Credentials:
        """The credentials to sign with now. Raises Fatal when they cannot be had any more, Transient when not now."""
        late = time.monotonic() - self._until
        # One asks for all. The others go on meanwhile: what is asked for anew is good for minutes more.
        if self._frozen is None or late >= LONGEST_REFRESH or (late >= 0 and not self._refreshing.locked()):
            async with self._refreshing:
                if self._frozen is None or time.monotonic() >= self._until:
                    self._frozen = await self._ask()
                    self._until = time.monotonic() + CREDENTIALS_SECONDS
        return self._frozen

    async def _ask(self) -> Credentials:
        try:
            frozen = await in_thread(self._chain.get_frozen_credentials, THREAD)
        except Exception as error:  # the chain lets anything through: botocore's, aiohttp's, JSON's
            text = f"the AWS credentials could not be refreshed ({type(error).__name__})"
            if gave_no_answer(error):
                raise Transient(text, side=Side.DESTINATION, hint="tried again by itself", silent=True) from None
            raise Fatal(
                text,
                side=Side.DESTINATION,
                hint="sign in again (for SSO: aws sso login) and run the same command",
            ) from None
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    def now(self) -> float:
        """Seconds since the epoch by the server's clock, as far as it is known."""
        return time.time() + self._offset

    def learn_time(self, date: str | None) -> bool:
        """Takes over the server's clock from a Date header; whether that changed anything much."""
        try:
            there = email.utils.parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return False
        changed = abs(there - self.now()) > 60
        self._offset = there - time.time()
        return changed


class Access:
    """All that the clients of one bucket share. `proxy` is resolved once; `requests` are those of all of them."""

    def __init__(
        self, bucket: str, identity: Identity, verify: bool | str, calls: "Callable[[], Awaitable[Calls]]"
    ) -> None:
        self.bucket = bucket
        self.identity = identity
        self.verify = verify
        """True, or the file of CA certificates."""
        self.endpoint = Endpoint("", "", "")
        self.proxy: str | None = None
        self.tls: ssl.SSLContext | None = None
        self.requests: dict[str, int] = {}
        self._url, self._in_path = "", False
        self._open_calls = calls
        self._calls: Calls | None = None
        self._opening = asyncio.Lock()

    def locate(self, url: str, *, in_path: bool) -> None:
        """Takes `url` for where the bucket is; `in_path`: its name stands in the path, not in the host."""
        self._url, self._in_path = url, in_path
        self.endpoint = Endpoint.of(url, self.bucket, in_path=in_path)
        self.proxy = _proxy_for(url)
        self.tls = (
            ssl.create_default_context(cafile=certificate_file(self.verify)) if url.startswith("https:") else None
        )

    def beside(self, bucket: str) -> "Access":
        """Of another bucket of the same server, by the same credentials; closed with this one."""
        other = Access(bucket, self.identity, self.verify, self.calls)
        other._url, other._in_path = self._url, self._in_path
        other.endpoint = Endpoint.of(self._url, bucket, in_path=self._in_path)
        other.proxy, other.tls = self.proxy, self.tls
        return other

    @property
    def server(self) -> str:
        """One name for all spellings of where the server is."""
        return endpoint_name(self._url)

    async def calls(self) -> "Calls":
        """The client for what is not hot. It takes 0.3 s to load, so only those who need it wait for it."""
        async with self._opening:
            if self._calls is None:
                self._calls = await self._open_calls()
        return self._calls

    async def call(self, operation: str, method: str, key: str = "", **parameters: object) -> dict[str, Any]:
        """One request that is not hot, about this bucket. Raises an ObjectError of side "destination"."""
        return await (await self.calls()).call(self, operation, method, key, parameters)

    async def close(self) -> None:
        """Gives connections back. Idempotent."""
        if self._calls:
            await self._calls.close()


class Connection(Protocol):
    """What the configuration says of the way to a bucket: a `Destination` says it, and a `Place`."""

    @property
    def endpoint_url(self) -> str: ...

    @property
    def region(self) -> str: ...

    @property
    def profile(self) -> str: ...


async def connect(connection: Connection, transfer: Transfer, bucket: str) -> Access:
    """Finds credentials and endpoint. Raises PreflightError where there are none, with what to do about it."""
    found = await find_chain(connection.profile)
    identity = Identity(found.chain, connection.region)

    async def open_calls() -> "Calls":
        from migrator.clients.calls import Calls

        return await Calls.open(connection, transfer, found, identity)

    access = Access(bucket, identity, found.verify, open_calls)
    # From the environment, the profile, or AWS's own of this region where the configuration names none.
    url = connection.endpoint_url or (await access.calls()).url
    own = bool(connection.endpoint_url) or not _is_aws(url)
    access.locate(url, in_path=own if found.addressing == "auto" else found.addressing == "path")
    return access


class Accounts:
    """Access to any number of buckets: those of one endpoint, region and profile share all but their names.

    A client of aiobotocore for each would take 10 MB and 0.1 s.
    """

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._known: dict[tuple[str, str, str], Access] = {}

    async def access(self, connection: Connection, bucket: str) -> Access:
        """One call at a time. Raises PreflightError as `connect` does."""
        which = (connection.endpoint_url, connection.region, connection.profile)
        if which not in self._known:
            self._known[which] = await connect(connection, self._transfer, bucket)
        return self._known[which].beside(bucket)

    async def close(self) -> None:
        """Gives connections back. Idempotent."""
        for access in self._known.values():
            await access.close()


async def is_same_bucket(one: Place, other: Place, transfer: Transfer) -> bool:
    """Whether the two are one bucket of one server, however either is spelled."""
    known = same_place(one, other)
    return known if known is not None else await _server(one, transfer) == await _server(other, transfer)


async def _server(place: Place, transfer: Transfer) -> str:
    access = await connect(place, transfer, place.bucket)
    try:
        return access.server
    finally:
        await access.close()


def untrusted(operation: str, what: str) -> Fatal:
    """The error of a TLS connection that was refused on our side."""
    return Fatal(
        f"{operation} {what}: the server's TLS certificate is not trusted",
        side=Side.DESTINATION,
        hint="name the file of your own CA in AWS_CA_BUNDLE, or correct destination.endpoint_url",
    )


def _is_aws(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _proxy_for(url: str) -> str | None:
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None  # elsewhere the settings of the system may name one
    import urllib.request

    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    return urllib.request.getproxies().get(parts.scheme)
