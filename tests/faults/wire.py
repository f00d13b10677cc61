"""HTTP/1.1 on raw streams: just enough to read a message, change it and write it on. Knows nothing of S3."""

import asyncio
import re
from dataclasses import dataclass, field
from http import HTTPStatus

Headers = list[tuple[str, str]]

HOP_HEADERS = ("transfer-encoding", "connection", "keep-alive", "expect")
"""Belong to one connection; a signature never covers them."""

PIECE = 64 * 1024


class Cut(Exception):
    """The connection ends here, after `written` bytes of the body of `answer` (None: before any answer)."""

    def __init__(self, answer: "Answer | None" = None, written: int = 0) -> None:
        super().__init__()
        self.answer = answer
        self.written = written


class Dried(Exception):
    """The line stays, and after `written` bytes of the body of `answer` there comes one more each `every` seconds."""

    def __init__(self, answer: "Answer", written: int, every: float) -> None:
        super().__init__()
        self.answer = answer
        self.written = written
        self.every = every


def header(headers: Headers, name: str) -> str | None:
    """The first value of `name`, whatever its case."""
    return next((value for key, value in headers if key.lower() == name), None)


def without(headers: Headers, *patterns: str) -> Headers:
    """The headers whose names match none of the regular expressions."""
    return [(key, value) for key, value in headers if not any(re.fullmatch(p, key.lower()) for p in patterns)]


@dataclass(slots=True)
class Answer:
    """What a server says. `chunked` writes the body in chunks and tells no length."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    chunked: bool = False
    length: int | None = None
    """Announced length where it is not the body's: the answer to HEAD, or a lie."""


class Request:
    """What a client asks. The body is read when somebody wants it, so an action may cut the line before or within."""

    def __init__(self, method: str, target: str, headers: Headers, reader: asyncio.StreamReader) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self._reader = reader
        self._body: bytes | None = None

    async def body(self) -> bytes:
        """The whole body."""
        if self._body is None:
            self._body = await read_body(self._reader, self.headers)
        return self._body

    async def some(self, size: int) -> None:
        """Takes `size` bytes of the body off the line, or all of it if it is shorter."""
        length = int(header(self.headers, "content-length") or 0)
        await self._reader.readexactly(min(size, length))

    def replace_body(self, body: bytes) -> None:
        """What goes on to the server from now on."""
        self._body = body


async def read_head(reader: asyncio.StreamReader) -> tuple[str, Headers] | None:
    """(first line, headers); None when the other end has nothing more to say."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
    pairs = (line.partition(":") for line in lines)
    return first, [(key, value.strip()) for key, _, value in pairs]


async def read_body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    """The body of a message: chunked, counted, or none."""
    if "chunked" not in (header(headers, "transfer-encoding") or ""):
        return await reader.readexactly(int(header(headers, "content-length") or 0))
    pieces = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(pieces)


async def read_answer(reader: asyncio.StreamReader, method: str) -> Answer:
    """The server's answer to a request with `method`."""
    head = await read_head(reader)
    while head and head[0].split()[1] == "100":
        head = await read_head(reader)
    if head is None:
        raise ConnectionResetError
    status = int(head[0].split()[1])
    headers = head[1]
    length = header(headers, "content-length")
    kept = without(headers, "content-length", *HOP_HEADERS)
    if method == "HEAD" or status in (204, 304):
        return Answer(status, kept, length=int(length) if length else None)
    if length is None and header(headers, "transfer-encoding") is None:
        return Answer(status, kept, await reader.read(-1))
    return Answer(status, kept, await read_body(reader, headers))


def encode_request(request: Request, body: bytes) -> bytes:
    """The request as it goes to the server: every header as it came, Host too, but for the connection's own."""
    headers = [*without(request.headers, "content-length", *HOP_HEADERS), ("Connection", "close")]
    if body or request.method in ("PUT", "POST", "DELETE"):
        headers.append(("Content-Length", str(len(body))))
    return _encode(f"{request.method} {request.target} HTTP/1.1", headers) + body


def encode_answer(answer: Answer, method: str) -> tuple[bytes, bytes]:
    """(head, body) of the answer to a request with `method`."""
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Unknown"
    headers = list(answer.headers)
    body = b"" if method == "HEAD" else answer.body
    if answer.chunked:
        headers.append(("Transfer-Encoding", "chunked"))
        body = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in _pieces(body)) + b"0\r\n\r\n"
    elif answer.length is not None or answer.status not in (204, 304):
        headers.append(("Content-Length", str(len(answer.body) if answer.length is None else answer.length)))
    return _encode(f"HTTP/1.1 {answer.status} {phrase}", headers), body


def _pieces(body: bytes) -> list[bytes]:
    return [body[i : i + PIECE] for i in range(0, len(body), PIECE)]


def _encode(first: str, headers: Headers) -> bytes:
    return "\r\n".join([first, *(f"{key}: {value}" for key, value in headers), "", ""]).encode("latin-1")
