"""What a bucket holds, page by page (ListObjectsV2), for those who wait for it in a thread."""

import asyncio
import html
import re
import threading
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import unquote_plus

from migrator.clients.aws import connect, is_same_bucket
from migrator.clients.loop import Loop
from migrator.clients.pages import Position, goes_round, next_position, page_query
from migrator.clients.refusals import read_element
from migrator.clients.s3 import S3Client
from migrator.core.config import Transfer
from migrator.core.errors import ObjectError, Transient
from migrator.core.model import Side
from migrator.core.places import Place

T = TypeVar("T")

PAYER = {"x-amz-request-payer": "requester"}

_KEY = re.compile(rb"<Key>([^<]*)</Key>")
_SIZE = re.compile(rb"<Size>(\d+)</Size>")
_ETAG = re.compile(rb'<ETag>(?:&quot;|&#34;|")?([^<&"]*)')
_FACTS = re.compile(rb"<(Key|LastModified|ETag|Size)>([^<]*)<")
_CLOSING_SECONDS = 5.0


class Listed(NamedTuple):
    """One object. `etag` is without quotes and no hash of anything."""

    key: str
    size: int
    etag: str


def read_page(body: bytes, asked: Position) -> tuple[list[Listed], Position | None]:
    """(objects, where it goes on) of the answer to `asked`. Raises Transient where it is not whole."""
    keys, sizes, etags = _KEY.findall(body), _SIZE.findall(body), _ETAG.findall(body)
    if not len(keys) == len(sizes) == len(etags):
        raise Transient("LIST: the answer tells no size or ETag of some object", side=Side.SOURCE)
    names = [key.decode("utf-8", "surrogateescape") for key in keys]
    # Also where they are URL-encoded: Ceph leaves an apostrophe to XML.
    names = [html.unescape(name) if "&" in name else name for name in names]
    if read_element(body, "EncodingType") == "url":
        names = [unquote_plus(name, errors="surrogateescape") if "%" in name or "+" in name else name for name in names]
    objects = [Listed(n, int(s), e.decode()) for n, s, e in zip(names, sizes, etags, strict=True)]
    return objects, next_position(body, asked, names[-1] if names else "", Side.SOURCE)


class Lister:
    """Lists one bucket. Its requests are made in a thread of their own: the next page comes while one is taken in."""

    def __init__(self, place: Place, transfer: Transfer) -> None:
        self._place = place
        self._transfer = transfer
        self._loop = Loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="migrator-list", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._client = self._run(self._connect())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._end()

    def is_same(self, other: Place, prefix: str) -> bool:
        """Whether `other` is this very bucket; one of the same name that lists the same below `prefix` is."""
        return self._run(self._is_same(other, prefix))

    def pages(self, prefix: str, position: Position) -> Iterator[tuple[list[Listed], Position]]:
        """(objects, where it goes on behind them): all whose keys begin with `prefix`, from `position`, 1,000 a page.

        Raises Forbidden, Fatal, Invalid (the token is too old), or what may pass: Transient, Throttled.
        """
        ordered, last = not position.token, ""
        asked, answer = position, self._ask(position, prefix)
        while True:
            objects, following = read_page(answer.result(), asked)
            if objects and objects[0].key == last:
                raise goes_round(Side.SOURCE)
            if objects:
                ordered, last = ordered and _in_order(objects, position.after), objects[0].key
            if asked.marker or (following and following.marker) or not ordered:
                position = following or asked  # behind the last page: once more that page
            else:
                position = Position(objects[-1].key if objects else position.after)
            if following is None:
                yield objects, position
                return
            # Not behind the last key: where keys come in another order, some would be left out without a word.
            asked, answer = following, self._ask(following, prefix)
            yield objects, position

    def _ask(self, position: Position, prefix: str) -> "asyncio.Future[bytes]":
        request = self._request(page_query(prefix, position))
        return asyncio.run_coroutine_threadsafe(request, self._loop)  # type: ignore[return-value]

    async def _request(self, query: str) -> bytes:
        return (await self._client.send("LIST", "GET", "", {}, query=query)).body

    async def _is_same(self, other: Place, prefix: str) -> bool:
        if other.bucket != self._place.bucket:
            return False
        if await is_same_bucket(self._place, other, self._transfer):
            return True
        # A server may have names that nobody knows for one; when and by whom an object was put, only one bucket tells.
        query = page_query(prefix, Position())
        here = _FACTS.findall(await self._request(query))
        if not here:
            return False
        access = await connect(other, self._transfer, other.bucket)
        client = S3Client(access, self._transfer, side=Side.SOURCE)
        try:
            return here == _FACTS.findall((await client.send("LIST", "GET", "", {}, query=query)).body)
        except ObjectError:
            return False
        finally:
            await client.close()
            await access.close()

    async def _connect(self) -> S3Client:
        access = await connect(self._place, self._transfer, self._place.bucket)
        self._access = access
        return S3Client(access, self._transfer, side=Side.SOURCE, always=PAYER if self._place.request_payer else None)

    async def _close(self) -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await self._client.close()
        await self._access.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSING_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()


def _in_order(objects: list[Listed], after: str) -> bool:
    """Whether keys come in the order of their bytes, behind `after`: S3 promises it, but not of directory buckets."""
    keys = [one.key.encode("utf-8", "surrogateescape") for one in objects]
    return keys[0] > after.encode("utf-8", "surrogateescape") and keys == sorted(keys)
