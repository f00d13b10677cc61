"""One signed S3 request: the hot path. One call is one attempt; what a request means is told elsewhere."""

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from migrator.clients.aws import Access, untrusted
from migrator.clients.connection import PIECE, Answer, NoConnection, Untrusted, WireError
from migrator.clients.idle import Idle
from migrator.clients.refusals import (
    READING,
    SKEWED,
    Refusal,
    error_of,
    may_refuse_header,
    read_element,
    read_error,
    retry_after,
    shown,
)
from migrator.clients.signing import EMPTY_SHA256, quote_key
from migrator.clients.strangers import is_strange, stranger
from migrator.clients.wire import Way, Wire
from migrator.core.config import Transfer
from migrator.core.errors import ObjectError, Transient
from migrator.core.model import Side

if TYPE_CHECKING:
    from migrator.clients.incoming import Incoming, Lines

LONG_WORK = ("COPY", "COMPLETE")
PATIENCE = 10
"""A copy moves up to 5 GiB before its answer comes, a completion puts up to 5 TiB together: these operations may take
so many times as long as others."""


class S3Client:
    """Signed requests to one bucket over kept connections; `always` are headers of every one.

    `side` is the end of a transfer at which the bucket stands: errors name it. `idle` bounds the connections that are
    kept, together with those of other buckets.
    """

    def __init__(
        self,
        access: Access,
        transfer: Transfer,
        *,
        side: Side = Side.DESTINATION,
        always: Mapping[str, str] | None = None,
        idle: Idle | None = None,
    ) -> None:
        self.side = side
        self._always = dict(always or {})
        self.requests = access.requests
        self._access = access
        self._identity = access.identity
        self._base = access.endpoint.base
        self._path = access.endpoint.path
        self._host = access.endpoint.host
        self._timeout = transfer.timeout
        self._connect_timeout = transfer.connect_timeout
        parts = urlsplit(self._base)
        port = parts.port or (443 if access.tls else 80)
        self._wire = Wire(
            Way(parts.hostname or "", port, access.tls, access.proxy),
            transfer.connect_timeout,
            idle or Idle(transfer.concurrency),
        )
        self._lines: Lines | None = None
        self._plain: set[str] = set()
        """Operations that the server takes only without what is optional."""

    async def close(self) -> None:
        """Gives connections back. Idempotent."""
        self._wire.close()
        if self._lines:
            await self._lines.close()

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
        optional: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends one request and returns its answer: 2xx, or one of `accept`. Raises an ObjectError for all else.

        `headers` has lower-case names; `query` is encoded and sorted; `payload` is the SHA-256 of `body` in hex.
        `optional` are headers that not every server takes: who refuses them is asked without, now and from now on.
        """
        plain = headers
        if optional and operation not in self._plain:
            headers = {**headers, **optional}
        answer = await self._attempt(operation, method, key, headers, query, body, payload)
        if answer.status >= 400 and self._clock_is_wrong(answer):
            answer = await self._attempt(operation, method, key, headers, query, body, payload)
        if headers is not plain and may_refuse_header(answer.status, answer.body):
            answer = await self._attempt(operation, method, key, plain, query, body, payload)
            if not may_refuse_header(answer.status, answer.body):
                self._plain.add(operation)
        if is_strange(answer):
            words = await self._in_words(operation, key, query) if method == "HEAD" else answer
            if is_strange(words) or words.status != answer.status:  # of two gateways one may lack its server
                heard = words if is_strange(words) else answer
                raise stranger(f"{operation} {shown(key or self._access.bucket)}", heard, self.side)
        if answer.status < 300 or answer.status in accept:
            return answer
        raise self.error(operation, key, answer)

    async def head(self, key: str, *, query: str = "", accept: tuple[int, ...] = ()) -> Answer:
        """HEAD of an object, with the checksum that the server keeps: Backblaze B2 refused that question."""
        checksum = {"x-amz-checksum-mode": "ENABLED"}
        return await self.send("HEAD", "HEAD", key, {}, query=query, accept=accept, optional=checksum)

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """The bytes of an object, in pieces."""
        incoming = await self.open(key, {})
        try:
            while piece := await incoming.read(PIECE):
                yield piece
        finally:
            incoming.close()

    async def open(self, key: str, headers: dict[str, str]) -> "Incoming":
        """GET of an object too large to be held: its headers, then its bytes. `headers` as for `send`."""
        from migrator.clients.incoming import Lines, Refused  # few runs need it: the others need not load aiohttp

        if self._lines is None:
            self._lines = Lines(self._access.proxy, self._access.tls, self._timeout, self._connect_timeout)
        what = f"GET {shown(key)}"
        for last in (False, True):
            target, signed = await self._sign("GET", "GET", key, headers, "", EMPTY_SHA256)
            try:
                incoming = await self._lines.get(self._base + target, signed, what, self.side)
            except Refused as refused:
                if is_strange(refused.answer):
                    raise stranger(what, refused.answer, self.side) from None
                if last or not self._clock_is_wrong(refused.answer):
                    raise self.error("GET", key, refused.answer) from None
                continue
            if is_strange(bare := Answer(incoming.status, incoming.headers, b"")):
                incoming.close()
                raise stranger(what, bare, self.side)
            return incoming
        raise AssertionError

    async def _attempt(
        self, operation: str, method: str, key: str, headers: dict[str, str], query: str, body: bytes, payload: str
    ) -> Answer:
        target, signed = await self._sign(operation, method, key, headers, query, payload)
        seconds = self._timeout * (PATIENCE if operation.startswith(LONG_WORK) else 1)
        try:
            return await self._wire.request(method, target, signed, body, seconds)
        except Untrusted:
            raise untrusted(operation, shown(key or self._access.bucket)) from None
        except WireError as error:
            kind = "no connection" if isinstance(error, NoConnection) else "the connection broke"
            ambiguous = operation not in READING and error.handed_over
            raise Transient(
                f"{operation} {shown(key or self._access.bucket)}: {kind} ({error})",
                side=self.side,
                hint="tried again by itself",
                ambiguous=ambiguous,
                silent=True,
            ) from None

    async def _sign(
        self, operation: str, method: str, key: str, headers: dict[str, str], query: str, payload: str
    ) -> tuple[str, dict[str, str]]:
        path = f"{self._path}/{quote_key(key)}" if key else self._path or "/"
        signed = {"host": self._host, **self._always, **headers}
        identity = self._identity
        try:
            credentials = await identity.credentials()
        except Transient as error:
            error.side = self.side
            raise
        identity.signer.sign(credentials, identity.now(), method, path, query, signed, payload)
        self.requests[operation] = self.requests.get(operation, 0) + 1
        return f"{path}?{query}" if query else path, signed

    async def _in_words(self, operation: str, key: str, query: str) -> Answer:
        """What is said to the same question by GET."""
        headers = {"range": "bytes=0-0"} if key else {}
        return await self._attempt(operation, "GET", key, headers, query, b"", EMPTY_SHA256)

    def _clock_is_wrong(self, answer: Answer) -> bool:
        """Whether our clock was to blame and is corrected now. A HEAD is refused without a reason: its Date tells."""
        code, _, _ = read_error(answer.body)
        if code in SKEWED or (not answer.body and answer.status == 403):
            return self._identity.learn_time(answer.headers.get("date"))
        return False

    def told(self, operation: str, key: str, answer: Answer, name: str, *, empty: bool = False) -> str:
        """The text of the element `name` of an answer; nothing in it or its quotes counts only where `empty` says so.

        An answer without it is a failure whatever its status: a 200 is sent before the server knows how it ends.
        """
        text = read_element(answer.body, name)
        if text.strip('"') or (empty and b"<%b" % name.encode() in answer.body):
            return text
        if read_error(answer.body)[0]:
            raise self.error(operation, key, answer._replace(status=500))
        raise Transient(
            f"{operation} {shown(key)}: the answer has no {name}",
            side=self.side,
            hint="tried again by itself",
            ambiguous=True,
        )

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
            side=self.side,
        )
        return error_of(refusal, self._identity.region)
