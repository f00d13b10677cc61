"""Every S3 call that is not hot, by aiobotocore: signed by our own signer, errors translated, nothing tried twice."""

import hashlib
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import botocore
import botocore.exceptions
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from migrator.clients.aws import Access, Connection, Endpoint, Identity, untrusted
from migrator.clients.chain import Found
from migrator.clients.connection import Answer
from migrator.clients.refusals import READING, SKEWED, Refusal, error_of, retry_after, shown
from migrator.clients.signing import EMPTY_SHA256
from migrator.clients.strangers import is_strange, stranger
from migrator.core.config import Transfer
from migrator.core.errors import Invalid, ObjectError, Transient
from migrator.core.model import Side
from migrator.core.secrets import mask_text

_NOT_SENT = (botocore.exceptions.ConnectTimeoutError, botocore.exceptions.ProxyConnectionError)
_UNSIGNED = frozenset({"user-agent", "expect", "transfer-encoding", "x-amzn-trace-id", "content-length"})
_SIGNATURE = frozenset({"x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "authorization"})


class Calls:
    """An aiobotocore client; `url` is the endpoint that it found."""

    def __init__(self, client: Any, closing: AsyncExitStack) -> None:
        self.url: str = client.meta.endpoint_url
        self._client = client
        self._closing = closing

    @classmethod
    async def open(cls, connection: Connection, transfer: Transfer, found: Found, identity: Identity) -> "Calls":
        """Loads the models of S3 (0.1 s) and connects nowhere yet."""
        closing = AsyncExitStack()
        session = AioSession(profile=connection.profile or None)
        client = await closing.enter_async_context(
            session.create_client(
                "s3",
                region_name=connection.region,
                endpoint_url=connection.endpoint_url or None,
                verify=found.verify,
                config=AioConfig(
                    # Signed in `_signing` below: one signer, one clock and one set of credentials for both clients.
                    signature_version=botocore.UNSIGNED,
                    retries={"total_max_attempts": 1},
                    connect_timeout=transfer.connect_timeout,
                    read_timeout=transfer.timeout,
                    max_pool_connections=transfer.concurrency,
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    s3={"addressing_style": found.addressing},
                ),
            )
        )
        client.meta.events.register("before-send.s3", _signing(identity))
        client.meta.events.register("before-call.s3", stay)
        client.meta.events.register("before-parse.s3", refuse_strangers)
        return cls(client, closing)

    async def call(
        self, access: Access, operation: str, method: str, key: str, parameters: Mapping[str, object]
    ) -> dict[str, Any]:
        """One request about the bucket of `access`. Raises an ObjectError of side "destination"."""
        identity = access.identity
        for last in (False, True):
            access.requests[operation] = access.requests.get(operation, 0) + 1
            try:
                answer: dict[str, Any] = await getattr(self._client, method)(Bucket=access.bucket, **parameters)
                return answer
            except botocore.exceptions.ClientError as error:
                refusal = refusal_of(error, operation, access.bucket, key)
                headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
                if last or refusal.code not in SKEWED or not identity.learn_time(headers.get("date")):
                    raise error_of(refusal, identity.region) from None
            except botocore.exceptions.BotoCoreError as error:
                raise unanswered(error, operation, shown(key or access.bucket)) from None
        raise AssertionError

    async def close(self) -> None:
        """Gives connections back. Idempotent."""
        await self._closing.aclose()


def stay(params: dict[str, Any], **_: object) -> None:
    """Keeps botocore from looking for the bucket in other regions: ours names the region and stops.

    Its own search asks once more for every call, and never ends where a redirect does not say whereto.
    """
    params["context"].setdefault("s3_redirect", {})["redirected"] = True


def refuse_strangers(operation_model: Any, response_dict: dict[str, Any], **_: object) -> None:
    """Raises Transient for what no S3 server said; an answer to HEAD does not tell."""
    headers = {name.lower(): value for name, value in response_dict["headers"].items()}
    answer = Answer(response_dict["status_code"], headers, response_dict["body"])
    if operation_model.http["method"] != "HEAD" and is_strange(answer):
        raise stranger(operation_model.name, answer, Side.DESTINATION)


def _signing(identity: Identity) -> Callable[..., Awaitable[None]]:
    async def sign(request: Any, **_: object) -> None:
        parts = urlsplit(request.url)
        credentials = await identity.credentials()
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        for unsigned in _UNSIGNED & headers.keys():
            del headers[unsigned]
        endpoint = Endpoint.of(request.url, "", in_path=True)
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


def refusal_of(error: botocore.exceptions.ClientError, operation: str, bucket: str, key: str) -> Refusal:
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


def unanswered(error: botocore.exceptions.BotoCoreError, operation: str, what: str) -> ObjectError:
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
