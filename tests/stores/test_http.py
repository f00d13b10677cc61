"""Reading URLs: whole or not at all, each failure its own fault, and never a secret in a message."""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from email.utils import formatdate

import pytest

from migrator.core.config import Transfer
from migrator.core.errors import (
    Changed,
    Forbidden,
    Gone,
    Invalid,
    ObjectError,
    Throttled,
    Transient,
    Truncated,
)
from migrator.core.model import MIB, Side, Task
from migrator.core.secrets import mask_url
from migrator.stores.http import HttpReader
from migrator.stores.readers import SchemeReader

from .web import Web, answer, serving

SECRET = "s3cr3t-canary"


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    """A scripted server."""
    async with serving() as web:
        yield web


@pytest.fixture
async def reader() -> AsyncIterator[HttpReader]:
    """Reads private addresses for the source "home" only."""
    reader = HttpReader(Transfer.model_validate({"timeout": "500ms"}), {"home"})
    yield reader
    await reader.close()
    await reader.close()


def task_of(url: str, source: str = "home", fingerprint: str | None = None) -> Task:
    """A task that reads `url`, which is shown masked."""
    location = mask_url(url)
    signed = None if location == url else url
    return Task(1, "ledger/1", source, location, "key", None, fingerprint, signed=signed)


async def read(reader: HttpReader, url: str, source: str = "home", limit: int = 8 * MIB) -> bytes:
    """All bytes, `limit` at a time."""
    pieces = []
    async with reader.open(task_of(url, source)) as body:
        while piece := await body.read(limit):
            pieces.append(piece)
        await body.check()
    return b"".join(pieces)


async def refusal(reader: HttpReader, url: str, source: str = "home") -> ObjectError:
    """The error that `url` ends in."""
    with pytest.raises(ObjectError) as caught:
        await read(reader, url, source)
    error = caught.value
    assert error.side is Side.SOURCE
    assert not error.ambiguous
    assert SECRET not in str(error)
    assert "\n" not in str(error)
    return error


async def test_an_object_and_what_is_known_of_it(reader: HttpReader, web: Web) -> None:
    web.answers["/a.jpg"] = answer(
        b"picture", Content_Type="image/jpeg", ETag='"v1"', Last_Modified="Sun, 06 Nov 1994 08:49:37 GMT"
    )
    async with reader.open(task_of(web.url("/a.jpg"))) as body:
        assert (body.size, body.content_type, body.modified) == (7, "image/jpeg", 784111777.0)
        assert body.fingerprint == '"v1"'
        assert [await body.read(3), await body.read(100), await body.read(100)] == [b"pic", b"ture", b""]
        await body.check()
    request = web.requests[0].lower()
    assert "accept-encoding: identity" in request
    assert "user-agent: migrator/" in request
    assert "cookie" not in request


async def test_bodies_of_any_length_on_one_connection(reader: HttpReader, web: Web) -> None:
    large = bytes(range(256)) * (3 * MIB // 256) + b"tail"
    web.answers["/large"] = answer(large)
    web.answers["/empty"] = answer(b"")
    web.answers["/chunked"] = answer(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", Transfer_Encoding="chunked")
    assert hashlib.sha256(await read(reader, web.url("/large"), limit=MIB)).digest() == hashlib.sha256(large).digest()
    assert await read(reader, web.url("/empty")) == b""
    assert await read(reader, web.url("/chunked"), limit=2) == b"abcde"
    async with reader.open(task_of(web.url("/chunked"))) as body:
        assert body.size is None
        assert await body.read(MIB) == b"abcde"
        assert await body.read(MIB) == b""


async def test_the_url_is_asked_for_as_it_stands(reader: HttpReader, web: Web) -> None:
    path = "/a%20b+c/%7Ed/%2F..%2f/x.jpg?sig=a%2Bb%2f+c&x=%7e"
    web.answers[path] = answer(b"picture")
    assert await read(reader, web.url(path)) == b"picture"


async def test_other_characters_are_encoded(reader: HttpReader, web: Web) -> None:
    web.answers["/caf%C3%A9%20x.jpg"] = answer(b"picture")
    assert await read(reader, web.url("/café x.jpg")) == b"picture"


@pytest.mark.faults
@pytest.mark.parametrize(
    "cut",
    [
        answer(b"half", Content_Length="8"),
        answer(b"", Content_Length="8"),
        answer(b"4\r\nhalf\r\n", Transfer_Encoding="chunked"),
        answer(b"8\r\nhalf", Transfer_Encoding="chunked"),
        answer(b"4\r\nhalf\r\n0\r\n", Transfer_Encoding="chunked"),
    ],
)
@pytest.mark.parametrize("way", ["cut", "reset"])
async def test_a_body_that_ends_too_early(reader: HttpReader, web: Web, cut: bytes, way: str) -> None:
    web.answers["/a.jpg"] = cut
    getattr(web, way).add("/a.jpg")
    error = await refusal(reader, web.url("/a.jpg"))
    assert isinstance(error, Truncated)
    assert "before the last byte" in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("404 Not Found", Gone),
        ("410 Gone", Gone),
        ("401 Unauthorized", Forbidden),
        ("403 Forbidden", Forbidden),
        ("429 Too Many Requests", Throttled),
        ("503 Slow Down", Throttled),
        ("408 Request Timeout", Transient),
        ("500 Oops", Transient),
        ("502 Bad Gateway", Transient),
        ("400 Bad Request", Invalid),
        ("416 Range Not Satisfiable", Invalid),
        ("204 No Content", Invalid),
        ("206 Partial Content", Invalid),
        ("304 Not Modified", Invalid),
        ("300 Multiple Choices", Invalid),
        ("302 Found", Invalid),
    ],
)
async def test_each_status_is_its_own_fault(reader: HttpReader, web: Web, status: str, kind: type[ObjectError]) -> None:
    web.answers["/a.jpg"] = answer(b"", status)
    error = await refusal(reader, web.url("/a.jpg"))
    assert type(error) is kind
    assert status[:3] in str(error)
    assert web.url("/a.jpg") in str(error)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "17"}, 17.0),
        ({"Retry_After": formatdate(1000_000_030, usegmt=True), "Date": formatdate(1000_000_000, usegmt=True)}, 30.0),
        ({"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "-5"}, None),
        ({"Retry_After": "²"}, None),
        ({}, None),
    ],
)
async def test_retry_after(reader: HttpReader, web: Web, headers: dict[str, str], seconds: float | None) -> None:
    web.answers["/a.jpg"] = answer(b"", "503 Slow Down", **headers)
    assert (await refusal(reader, web.url("/a.jpg"))).retry_after == seconds


async def test_nobody_listens(reader: HttpReader) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = await refusal(reader, f"http://127.0.0.1:{port}/a.jpg")
    assert isinstance(error, Transient)
    assert "refused" in str(error)


async def test_a_name_that_does_not_exist(reader: HttpReader, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for source in ("home", "stranger"):
        error = await refusal(reader, "http://no-such-host.example/a.jpg", source)
        assert isinstance(error, Transient)
        assert "could not be resolved" in str(error)
        assert "proxy" not in error.hint
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    error = await refusal(reader, "http://no-such-host.example/a.jpg")
    assert "not through the proxy of the environment" in error.hint


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"", Transient),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf", Transient),
        (b"HTTP/1.1 200 OK\r\nContent-Le", Transient),
    ],
)
async def test_silence_ends(reader: HttpReader, web: Web, said: bytes, kind: type[ObjectError]) -> None:
    web.answers["/a.jpg"] = said
    web.silent.add("/a.jpg")
    assert type(await refusal(reader, web.url("/a.jpg"))) is kind


async def test_what_comes_slowly_is_waited_for(reader: HttpReader) -> None:
    pieces = [b"%03d" % number * 100 for number in range(30)]

    async def trickle(heard: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 9000\r\n\r\n")
        for piece in pieces:  # three times as long as the reader bears silence, and six thousand bytes a second
            await asyncio.sleep(0.05)
            writer.write(piece)
        writer.close()

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.jpg"
        assert await read(reader, url) == b"".join(pieces)


async def test_a_connection_closed_without_an_answer(reader: HttpReader, web: Web) -> None:
    web.answers["/a.jpg"] = b""
    web.cut.add("/a.jpg")
    assert type(await refusal(reader, web.url("/a.jpg"))) is Transient
    web.answers["/a.jpg"] = b"SSH-2.0-OpenSSH_9.6\r\n\r\n"
    assert type(await refusal(reader, web.url("/a.jpg"))) is Transient


@pytest.mark.faults
async def test_packed_content_is_refused(reader: HttpReader, web: Web) -> None:
    web.answers["/a.jpg"] = answer(b"\x1f\x8b...", Content_Encoding="gzip")
    error = await refusal(reader, web.url("/a.jpg"))
    assert type(error) is Invalid
    assert "gzip" in str(error)


async def test_fingerprints(reader: HttpReader, web: Web) -> None:
    web.answers["/weak"] = answer(b"x", ETag='W/"v1"')
    web.answers["/dated"] = answer(b"xy", Last_Modified="Sun, 06 Nov 1994 08:49:37 GMT")
    web.answers["/none"] = answer(b"x", Last_Modified="yesterday")
    expected = {"/weak": 'W/"v1"', "/dated": "Sun, 06 Nov 1994 08:49:37 GMT:2", "/none": "yesterday:1"}
    for path, fingerprint in expected.items():
        async with reader.open(task_of(web.url(path), fingerprint=fingerprint)) as body:
            assert body.fingerprint == fingerprint
    with pytest.raises(Changed):
        async with reader.open(task_of(web.url("/weak"), fingerprint='W/"v0"')):
            pass


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777.0),
        ("Sun, 06 Nov 1994 09:49:37 +0100", 784111777.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Sun, 06 Foo 1994 08:49:37 GMT", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("0", None),
    ],
)
async def test_the_time_of_the_source(reader: HttpReader, web: Web, written: str, seconds: float | None) -> None:
    web.answers["/a.jpg"] = answer(b"x", Last_Modified=written)
    async with reader.open(task_of(web.url("/a.jpg"))) as body:
        assert body.modified == seconds


async def test_a_body_that_is_left_unread_does_not_block_the_next(reader: HttpReader, web: Web) -> None:
    web.answers["/a.jpg"] = answer(b"x" * MIB)
    for _ in range(3):
        async with reader.open(task_of(web.url("/a.jpg"))) as body:
            await body.read(10)
    assert len(await read(reader, web.url("/a.jpg"))) == MIB


async def test_connections_to_one_host_are_bounded(web: Web) -> None:
    reader = HttpReader(Transfer(per_host=2), {"home"})
    web.answers["/a.jpg"] = answer(b"x")
    await asyncio.gather(*(read(reader, web.url("/a.jpg")) for _ in range(20)))
    await reader.close()
    assert len(web.requests) == 20
    assert web.connections == 2


async def test_secrets_stay_out_of_messages(reader: HttpReader, web: Web) -> None:
    error = await refusal(reader, web.url(f"/a.jpg?X-Amz-Signature={SECRET}"))
    assert "/a.jpg" in str(error)
    web.answers["/there"] = answer(b"", "302 Found", Location=f"ftp://u:{SECRET}@host/?token={SECRET}")
    assert isinstance(await refusal(reader, web.url("/there")), Forbidden)


async def test_user_and_password_go_to_their_host(reader: HttpReader, web: Web) -> None:
    web.answers["/a.jpg"] = answer(b"picture")
    url = f"http://user:{SECRET}@127.0.0.1:{web.port}/a.jpg"
    assert await read(reader, url) == b"picture"
    assert "Authorization: Basic " in web.requests[0]


async def test_the_scheme_picks_the_reader(reader: HttpReader, web: Web) -> None:
    web.answers["/a.jpg"] = answer(b"picture")
    readers = SchemeReader({"http": reader})
    async with readers.open(task_of(web.url("/a.jpg"))) as body:
        assert await body.read(100) == b"picture"
    with pytest.raises(Forbidden, match="'gopher' locations are not read; only http are"):
        readers.open(task_of("gopher://example/1"))
    await readers.close()


async def test_a_kept_connection_that_was_closed_is_replaced(reader: HttpReader, web: Web) -> None:
    web.answers["/a.jpg"] = answer(b"picture")
    web.cut.add("/a.jpg")
    for _ in range(3):
        assert await read(reader, web.url("/a.jpg")) == b"picture"
    assert web.connections == 3


@pytest.mark.parametrize("size", [10, 300_000])
async def test_what_comes_after_the_announced_size_is_not_taken_for_the_next_answer(
    reader: HttpReader, web: Web, size: int
) -> None:
    web.answers["/long"] = answer(b"x" * size + answer(b"forged"), Content_Length=str(size))
    web.answers["/a.jpg"] = answer(b"picture")
    for _ in range(3):
        assert await read(reader, web.url("/long")) == b"x" * size
        assert await read(reader, web.url("/a.jpg")) == b"picture"


async def test_a_long_body_of_unknown_size_comes_piece_by_piece(reader: HttpReader, web: Web) -> None:
    piece = bytes(range(256)) * 1000
    chunk = b"%x\r\n%b\r\n" % (len(piece), piece)
    web.answers["/chunked"] = answer(chunk * 20 + b"0\r\n\r\n", Transfer_Encoding="chunked")
    web.answers["/until-it-ends"] = b"HTTP/1.1 200 OK\r\n\r\n" + piece * 20
    web.cut.add("/until-it-ends")
    for path in ("/chunked", "/until-it-ends"):
        async with reader.open(task_of(web.url(path))) as body:
            assert body.size is None
            pieces = [await body.read(MIB) for _ in range(6)]
        assert [len(found) for found in pieces] == [MIB] * 4 + [20 * len(piece) - 4 * MIB, 0]
        assert b"".join(pieces) == piece * 20


@pytest.mark.parametrize("size", [1000, 10 * MIB])
async def test_a_body_cut_far_behind_its_head(reader: HttpReader, web: Web, size: int) -> None:
    web.answers["/a.jpg"] = answer(b"x" * (size - 1), Content_Length=str(size))
    web.cut.add("/a.jpg")
    with pytest.raises(Truncated):
        await read(reader, web.url("/a.jpg"), limit=MIB)


async def test_hosts_that_are_idle_are_forgotten(reader: HttpReader, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrator.clients.http._SWEEP_EVERY", 0.01)
    monkeypatch.setattr("migrator.clients.idle.LONGEST", 0.0)
    web.answers["/a.jpg"] = answer(b"picture")
    assert await read(reader, web.url("/a.jpg")) == b"picture"
    async with asyncio.timeout(10):
        await web.left.wait()
    assert await read(reader, web.url("/a.jpg")) == b"picture"
