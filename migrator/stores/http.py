"""Reader of `http://` and `https://` locations."""

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from migrator.clients.http import HttpAnswer, HttpClient, last_modified
from migrator.core.config import Transfer
from migrator.core.errors import Changed, Invalid, Truncated
from migrator.core.model import Task
from migrator.core.objects import Description


class HttpReader:
    """Opens URLs. `allow_private`: the sources whose URLs may point to private, loopback or link-local addresses."""

    def __init__(self, transfer: Transfer, allow_private: Collection[str] = ()) -> None:
        self._client = HttpClient(transfer)
        self._allow_private = frozenset(allow_private)

    async def reach(self, task: Task) -> None:
        """Raises Forbidden for a refused address, Invalid, Transient."""
        await self._client.reach(task.url, task.location, private=task.source in self._allow_private)

    def open(self, task: Task) -> AbstractAsyncContextManager["HttpBody"]:
        """Raises Gone, Forbidden (also for refused addresses), Invalid, Changed, Throttled or Transient."""
        return HttpBody(task, self._client, task.source in self._allow_private)

    async def close(self) -> None:
        """Closes all connections. Idempotent."""
        await self._client.close()


class HttpBody:
    """The body of one answer; the connection is held as long as the `async with`."""

    def __init__(self, task: Task, client: HttpClient, private: bool) -> None:
        self._task = task
        self._client = client
        self._private = private
        self._answer: HttpAnswer | None = None
        self._offset = 0
        self._ended = False
        self._etag = ""
        self.size: int | None = None
        self.content_type: str | None = None
        self.modified: float | None = None
        self.fingerprint: str | None = None
        self.description: Description | None = None

    async def __aenter__(self) -> "HttpBody":
        answer = await self._client.get(self._task.url, self._task.location, private=self._private)
        self._answer = answer
        try:
            self._inspect(answer)
        except BaseException:
            answer.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._answer is not None:
            self._answer.close()

    async def read(self, limit: int) -> bytes:
        """The next bytes. Raises Truncated when the connection ends before the announced size or the last chunk."""
        assert self._answer is not None
        if self._ended:
            return b""
        wanted = limit if self.size is None else min(limit, self.size - self._offset)
        data = await self._answer.read(wanted)
        self._offset += len(data)
        self._ended = len(data) < wanted or self._offset == self.size
        if self._ended and self.size is not None and self._offset != self.size:
            raise Truncated(f"{self._task.location} sent {self._offset} of the {self.size} bytes that it announced")
        return data

    async def go_on(self) -> bool:
        """Asks for the rest, which counts only where the server says that it is of the same version."""
        etag = self._etag
        if self._answer is None or self.size is None or not etag.startswith('"'):
            return False  # W/"...": other bytes may have the same one
        self._answer.close()
        wanted = f"Range: bytes={self._offset}-\r\nIf-Range: {etag}\r\n"
        answer = await self._client.get(self._task.url, self._task.location, private=self._private, more=wanted)
        self._answer = answer
        rest = f"bytes {self._offset}-{self.size - 1}/{self.size}"
        return answer.headers.get("content-range") == rest and answer.headers.get("etag", etag) == etag

    async def check(self) -> None:
        """An answer is one version of its resource, and its end was seen: nothing is left to check."""

    def _inspect(self, answer: HttpAnswer) -> None:
        headers = answer.headers
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            # Unpacked it would not be the object that the server holds, and packed it would lack the header.
            raise Invalid(f"{self._task.location} came packed ({encoding}) although that was declined")
        self.size = answer.size
        self.content_type = headers.get("content-type")
        self.modified = last_modified(headers)
        self._etag = headers.get("etag", "")
        self.fingerprint = _fingerprint(headers.get("etag"), headers.get("last-modified"), answer.size)
        wanted = self._task.fingerprint
        if wanted is not None and self.fingerprint is not None and wanted != self.fingerprint:
            raise Changed(f"{self._task.location} is no longer what the scan saw")


def _fingerprint(etag: str | None, modified: str | None, size: int | None) -> str | None:
    if etag:
        return etag
    return f"{modified}:{size}" if modified and size is not None else None
