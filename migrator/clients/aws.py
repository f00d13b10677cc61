"""AWS sessions: where the bucket is and as whom to speak to it, and aiobotocore for every call that is not hot."""

import email.utils
import hashlib
import socket
import ssl
import time
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import botocore
import botocore.exceptions
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.config import Config
from botocore.httpsession import get_cert_path

from migrator.clients.refusals import READING, SKEWED, Refusal, error_of, retry_after, shown
from migrator.clients.signing import EMPTY_SHA256, Credentials, Signer
from migrator.core.config import Destination, Transfer
from migrator.core.errors import Fatal, Invalid, ObjectError, PreflightError, Transient
from migrator.core.model import Side
from migrator.core.secrets import mask_text

CREDENTIALS_SECONDS = 5.0
"""How long one reading of the credentials is used. botocore refreshes them minutes before they expire."""

_NO_CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (destination.profile), "
    "or sign in with `aws sso login`"
)
_NOT_SENT = (botocore.exceptions.ConnectTimeoutError, botocore.exceptions.ProxyConnectionError)
_UNSIGNED = frozenset({"user-agent", "expect", "transfer-encoding", "x-amzn-trace-id", "content-length"})
_SIGNATURE = frozenset({"x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "authorization"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests for one bucket go: `base` is scheme and host, `path` stands before every quoted key."""

    base: str
    host: str
    path: str

    @classmethod
    def of(cls, url: str, bucket: str, *, own: bool) -> "Endpoint":
        """`own`: the operator gave the URL. Then, and for buckets with dots (TLS), the bucket is in the path."""
        parts = urlsplit(url)
        default = {"http": 80, "https": 443}.get(parts.scheme)
        host = parts.netloc.rpartition("@")[2]
        if default and host.endswith(f":{default}"):
            host = host.rpartition(":")[0]
        path = parts.path.rstrip("/")
        if own or "." in bucket:
            return cls(f"{parts.scheme}://{host}", host, f"{path}/{bucket}")
        return cls(f"{parts.scheme}://{bucket}.{host}", f"{bucket}.{host}", path)


class Identity:
    """Credentials of the usual AWS chain (refreshed by botocore) and the difference between our clock and theirs."""

    def __init__(self, chain: Any, region: str) -> None:
        self.region = region
        self.signer = Signer(region)
        self._chain = chain
        self._frozen: Credentials | None = None
        self._until = 0.0
        self._offset = 0.0

    async def credentials(self) -> Credentials:
        """The credentials to sign with now. Raises Fatal when they cannot be had any more."""
        if self._frozen is None or time.monotonic() >= self._until:
            try:
                frozen = await self._chain.get_frozen_credentials()
            except Exception as error:  # the chain lets anything through: botocore's, aiohttp's, JSON's
                raise Fatal(
                    f"the AWS credentials could not be refreshed ({type(error).__name__})",
                    side=Side.DESTINATION,
                    hint="sign in again (for SSO: aws sso login) and run the same command",
                ) from None
            self._frozen = Credentials(frozen.access_key, frozen.secret_key, frozen.token)
            self._until = time.monotonic() + CREDENTIALS_SECONDS
        return self._frozen

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


@dataclass(frozen=True, slots=True)
class Access:
    """All that both clients of one bucket need. `proxy` is resolved once; `verify` is the file of CA certificates."""

    bucket: str
    identity: Identity
    endpoint: Endpoint
    proxy: str | None
    tls: ssl.SSLContext | None
    s3: Any
    """The aiobotocore client; it is signed by `identity` too."""
    closing: AsyncExitStack
    requests: dict[str, int]
    """Requests sent so far by operation, those of both clients."""

    async def call(self, operation: str, method: str, key: str = "", **parameters: object) -> dict[str, Any]:
        """One request of the aiobotocore client, about this bucket. Raises an ObjectError of side "destination"."""
        for last in (False, True):
            self.requests[operation] = self.requests.get(operation, 0) + 1
            try:
                answer: dict[str, Any] = await getattr(self.s3, method)(Bucket=self.bucket, **parameters)
                return answer
            except botocore.exceptions.ClientError as error:
                refusal = _refusal_of(error, operation, self.bucket, key)
                headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
                if last or refusal.code not in SKEWED or not self.identity.learn_time(headers.get("date")):
                    raise error_of(refusal, self.identity.region) from None
            except botocore.exceptions.BotoCoreError as error:
                raise _unanswered(error, operation, shown(key or self.bucket)) from None
        raise AssertionError

    async def close(self) -> None:
        """Gives connections back. Idempotent."""
        await self.closing.aclose()


async def connect(destination: Destination, transfer: Transfer, bucket: str) -> Access:
    """Finds credentials and endpoint. Raises PreflightError where there are none, with what to do about it."""
    session = AioSession(profile=destination.profile or None)
    try:
        chain = await session.get_credentials()
        verify = session.get_config_variable("ca_bundle") or True
    except botocore.exceptions.BotoCoreError as error:
        raise PreflightError(f"the AWS configuration cannot be used: {error}", _NO_CREDENTIALS) from None
    if chain is None:
        raise PreflightError("no AWS credentials were found", _NO_CREDENTIALS)
    identity = Identity(chain, destination.region)
    closing = AsyncExitStack()
    s3 = await closing.enter_async_context(
        session.create_client(
            "s3",
            region_name=destination.region,
            endpoint_url=destination.endpoint_url or None,
            verify=verify,
            config=AioConfig(
                # Signed in `_sign` below: one signer, one clock and one set of credentials for both clients.
                signature_version=botocore.UNSIGNED,
                retries={"total_max_attempts": 1},
                connect_timeout=transfer.connect_timeout,
                read_timeout=transfer.timeout,
                max_pool_connections=transfer.concurrency,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "auto"},
            ),
        )
    )
    s3.meta.events.register("before-send.s3", _signing(identity))
    s3.meta.events.register("before-call.s3", _stay)
    url = s3.meta.endpoint_url
    own = bool(destination.endpoint_url) or not _is_aws(url)
    return Access(
        bucket=bucket,
        identity=identity,
        endpoint=Endpoint.of(url, bucket, own=own),
        proxy=_proxy_for(url),
        tls=ssl.create_default_context(cafile=get_cert_path(verify)) if url.startswith("https:") else None,
        s3=s3,
        closing=closing,
        requests={},
    )


def _stay(params: dict[str, Any], **_: object) -> None:
    """Keeps botocore from looking for the bucket in other regions: ours names the region and stops.

    Its own search asks once more for every call, and never ends where a redirect does not say whereto.
    """
    params["context"].setdefault("s3_redirect", {})["redirected"] = True


def _signing(identity: Identity) -> Callable[..., Awaitable[None]]:
    async def sign(request: Any, **_: object) -> None:
        parts = urlsplit(request.url)
        credentials = await identity.credentials()
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        for unsigned in _UNSIGNED & headers.keys():
            del headers[unsigned]
        endpoint = Endpoint.of(request.url, "", own=True)
        headers["host"] = endpoint.host
        query = "&".join(sorted(_pair(pair) for pair in parts.query.split("&"))) if parts.query else ""
        payload = hashlib.sha256(request.body).hexdigest() if request.body else EMPTY_SHA256
        identity.signer.sign(credentials, identity.now(), request.method, parts.path, query, headers, payload)
        for name in _SIGNATURE & headers.keys():
            request.headers[name] = headers[name]

    return sign


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _pair(pair: str) -> str:
    name, _, value = pair.partition("=")
    return f"{name}={value}"


def _refusal_of(error: botocore.exceptions.ClientError, operation: str, bucket: str, key: str) -> Refusal:
    details = error.response.get("Error", {})
    metadata = error.response.get("ResponseMetadata", {})
    headers = metadata.get("HTTPHeaders", {})
    return Refusal(
        operation,
        bucket,
        key,
        status=metadata.get("HTTPStatusCode", 500),
        code=details.get("Code") or "",
        message=details.get("Message") or "",
        retry_after=retry_after(headers.get("retry-after")),
        bucket_region=headers.get("x-amz-bucket-region", "") or details.get("Region", ""),
    )


def _unanswered(error: botocore.exceptions.BotoCoreError, operation: str, what: str) -> ObjectError:
    if isinstance(error, botocore.exceptions.ParamValidationError):
        return Invalid(f"{operation} {what}: {mask_text(str(error))}", side=Side.DESTINATION)
    if isinstance(error, botocore.exceptions.SSLError):
        return untrusted(operation, what)
    return Transient(
        f"{operation} {what}: no answer ({type(error).__name__})",
        side=Side.DESTINATION,
        hint="tried again by itself",
        ambiguous=operation not in READING and not _unsent(error),
    )


def _unsent(error: botocore.exceptions.BotoCoreError) -> bool:
    if isinstance(error, botocore.exceptions.EndpointConnectionError):
        # aiobotocore says the same of a line that never stood and of one that was reset after the request.
        return isinstance(error.kwargs.get("error"), aiohttp.ClientConnectorError | socket.gaierror)
    return isinstance(error, _NOT_SENT)


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
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def operator_client(destination: Destination) -> Any:
    """A boto3 client for the commands that set things up; it may retry by itself. Raises PreflightError."""
    import boto3  # only `setup` needs it

    try:
        session = boto3.Session(profile_name=destination.profile or None, region_name=destination.region)
        if session.get_credentials() is None:
            raise PreflightError("no AWS credentials were found", _NO_CREDENTIALS)
        client = session.client(
            "s3",
            endpoint_url=destination.endpoint_url or None,
            config=Config(connect_timeout=10, retries={"mode": "standard", "total_max_attempts": 3}),
        )
    except botocore.exceptions.BotoCoreError as error:
        raise PreflightError(f"the AWS configuration cannot be used: {error}", _NO_CREDENTIALS) from None
    client.meta.events.register("before-call.s3", _stay)
    return client


def preflight_error(error: Exception, operation: str, bucket: str, region: str) -> PreflightError:
    """What a failure of the operator's client means."""
    if isinstance(error, botocore.exceptions.ClientError):
        found = error_of(_refusal_of(error, operation, bucket, ""), region)
    elif isinstance(error, botocore.exceptions.BotoCoreError):
        found = _unanswered(error, operation, bucket)
    else:
        raise error
    return PreflightError(found.message, found.hint)
