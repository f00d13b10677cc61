"""What the store makes of servers, networks, clocks and credentials that fail: each on a real connection."""

import asyncio
import calendar
import hashlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from pathlib import Path

import pytest
from msgspec.structs import replace

from migrator.core.config import Destination, Transfer
from migrator.core.errors import (
    Changed,
    Conflict,
    Fatal,
    Forbidden,
    Gone,
    Invalid,
    ObjectError,
    PreflightError,
    Throttled,
    Transient,
)
from migrator.core.model import MIB, SMALL
from migrator.core.objects import PUT_ID, Digest, Guards, Part, Placed, Taken, Upload
from migrator.stores.s3 import S3Store
from tests.servers.s3 import SECRET_KEY, free_port
from tests.servers.scripted import Reply, Request, Script, Scripted, error_document, scripted

BODY = b"some bytes"
UPLOAD = Upload("photos/one.jpg", len(BODY), hashlib.sha256(BODY).digest(), "image/jpeg", {PUT_ID: "ledger/1"})
PUT = Guards(absent=True, digest=Digest.SHA256)
QUICK = Transfer(concurrency=4, timeout="300ms", connect_timeout="300ms")  # type: ignore[arg-type]
OK = Reply(headers={"etag": '"e"'})


@asynccontextmanager
async def opened(endpoint: str, transfer: Transfer | None = None, region: str = "us-east-1") -> AsyncIterator[S3Store]:
    """A store on bucket `photos` of the server at `endpoint`."""
    destination = Destination(bucket="photos", endpoint_url=endpoint, region=region)
    store = await S3Store.open(destination, transfer or Transfer(concurrency=4))
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def served(script: Script, transfer: Transfer | None = None) -> AsyncIterator[tuple[S3Store, Scripted]]:
    """A store on a scripted server."""
    async with scripted(script) as server, opened(server.endpoint, transfer) as store:
        yield store, server


async def failure(call: Awaitable[object]) -> ObjectError:
    """The error that `call` must raise."""
    with pytest.raises(ObjectError) as caught:
        await call
    assert SECRET_KEY not in str(caught.value)
    assert str(caught.value).isprintable()
    return caught.value


async def drained(store: S3Store) -> bytes:
    return b"".join([piece async for piece in store.read("photos/one.jpg")])


CALLS: dict[str, Callable[[S3Store], Awaitable[object]]] = {
    "put": lambda store: store.put(UPLOAD, BODY, PUT),
    "head": lambda store: store.head("a"),
    "read": drained,
    "delete": lambda store: store.delete("a"),
    "copy": lambda store: store.copy("a", "b", "etag"),
    "keys": lambda store: anext(aiter(store.keys(""))),
    "begin": lambda store: store.begin(UPLOAD),
    "put_part": lambda store: store.put_part("a", "id", 1, BODY, hashlib.sha256(BODY).digest(), Digest.SHA256),
    "parts": lambda store: store.parts("a", "id"),
    "complete": lambda store: store.complete(UPLOAD, "id", [Part(1, 9, "etag")], PUT),
    "abort": lambda store: store.abort("a", "id"),
    "open_uploads": lambda store: store.open_uploads("a"),
    "versioned": lambda store: store.versioned(),
}
LISTINGS = {"read", "keys", "parts", "open_uploads", "versioned"}
"""Calls that change nothing: aiohttp may ask again by itself below them."""
READS = {"head", "read", "keys", "parts", "open_uploads", "versioned"}


async def failures(store: S3Store) -> AsyncIterator[tuple[str, ObjectError]]:
    """Each call in turn and the error that it must raise: however it is sent, a failure means the same."""
    for name, call in CALLS.items():
        yield name, await failure(call(store))


OVER: dict[str, Callable[[S3Store], Awaitable[object]]] = {
    "put": lambda store: store.put(UPLOAD, BODY, replace(PUT, absent=False, replace="told")),
    "complete": lambda store: store.complete(UPLOAD, "id", [Part(1, 9, "etag")], replace(PUT, replace="told")),
    "delete": lambda store: store.delete(UPLOAD.key, None, "told"),
}
"""Calls that name the ETag of what they take the place of."""


@pytest.mark.parametrize("name", OVER)
@pytest.mark.parametrize(("stands", "sent"), [("told", 2), ("another", 1)])
async def test_a_condition_that_the_server_misjudges(name: str, stands: str, sent: int) -> None:
    """412 to the ETag that its HEAD tells, then and afterwards, is no conflict; where HEAD tells another, it is."""

    def answer(request: Request) -> Reply:
        if request.method == "HEAD":
            return Reply(200, headers={"etag": f'"{stands}"', "content-length": "9"})
        if "if-match" in request.headers:
            return Reply(412, error_document("PreconditionFailed"))
        return Reply(200, b"<R><ETag>new</ETag></R>", {"etag": "new"})

    async with served(answer) as (store, server):
        try:
            taken = isinstance(await OVER[name](store), Taken)
        except Conflict:
            taken = True
    assert taken is (sent == 1)
    assert len([request for request in server.requests if request.method != "HEAD"]) == sent


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
async def test_nobody_answers_there(host: str) -> None:
    async with opened(f"http://{host}:{free_port()}") as store:
        async for _, error in failures(store):
            assert type(error) is Transient
            assert not error.ambiguous


async def test_the_answer_is_lost() -> None:
    async with served(lambda _: Reply(reset=True)) as (store, server):
        async for name, error in failures(store):
            assert type(error) is Transient
            assert error.ambiguous is (name not in READS)
            assert len(server.requests) == 1 or name in LISTINGS
            server.requests.clear()


async def test_a_kept_connection_that_broke_is_no_second_attempt() -> None:
    replies: list[Reply] = []
    async with served(lambda _: replies.pop()) as (store, server):
        for name, call in CALLS.items():
            replies[:] = [Reply(reset=True), Reply(reset=True), OK]
            await store.put(UPLOAD, BODY, PUT)
            server.requests.clear()
            assert type(await failure(call(store))) is Transient
            assert len(server.requests) == 1 or name in LISTINGS


async def test_the_server_hangs() -> None:
    never = asyncio.Event()

    async def hang(_: Request) -> Reply:
        await never.wait()
        return OK

    async with served(hang, QUICK) as (store, _):
        errors = await asyncio.gather(*(failure(call(store)) for call in CALLS.values()))
    for name, error in zip(CALLS, errors, strict=True):
        assert type(error) is Transient
        assert error.ambiguous is (name not in READS)


async def test_slow_down() -> None:
    async with served(lambda _: Reply(503, error_document("SlowDown"), {"retry-after": "3"})) as (store, server):
        async for _, error in failures(store):
            assert type(error) is Throttled
            assert error.retry_after == 3.0
    assert len(server.requests) == len(CALLS)


async def test_forbidden() -> None:
    async with served(lambda _: Reply(403, error_document("AccessDenied", "Access Denied"))) as (store, _):
        async for _, error in failures(store):
            assert type(error) is Forbidden
        assert await store.beneath("a", "version") is None  # an object can be adopted without that


async def test_another_region() -> None:
    body = error_document("AuthorizationHeaderMalformed", more="<Region>eu-west-3</Region>")
    async with served(lambda _: Reply(400, body, {"x-amz-bucket-region": "eu-west-3"})) as (store, _):
        async for _, error in failures(store):
            assert type(error) is Fatal
            assert "eu-west-3" in error.message
            assert "destination.region" in error.hint


async def test_a_redirect_that_does_not_say_whereto() -> None:
    async with served(lambda _: Reply(301)) as (store, server):
        async for _, error in failures(store):
            assert type(error) is Fatal
            assert "destination.region" in error.hint
    assert len(server.requests) == len(CALLS)


async def test_a_clock_that_is_wrong_is_corrected() -> None:
    there = time.time()

    def script(request: Request) -> Reply:
        signed = calendar.timegm(time.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ"))
        if abs(signed - there) < 300:
            return Reply(404, error_document("NoSuchKey"))
        return Reply(403, error_document("RequestTimeTooSkewed"), {"date": formatdate(there, usegmt=True)})

    async with served(script) as (store, server):
        for call in CALLS.values():
            there += 1200
            server.requests.clear()
            with suppress(Gone):
                await call(store)
            assert len(server.requests) == 2


async def test_a_clock_that_stays_wrong_is_named() -> None:
    skewed = Reply(403, error_document("RequestTimeTooSkewed"), {"date": formatdate(usegmt=True)})
    async with served(lambda _: skewed) as (store, _):
        async for name, error in failures(store):
            if name != "head":  # its answer has no body and so no reason
                assert type(error) is Fatal
                assert "clock" in error.hint


async def test_a_slow_upload_is_not_cut() -> None:
    body = bytes(2 * MIB)
    upload = replace(UPLOAD, size=len(body), sha256=hashlib.sha256(body).digest())
    transfer = Transfer(timeout="2s")  # type: ignore[arg-type]  # a machine that is busy may stand still for a while
    async with scripted(lambda _: OK, drain=8 * 1024) as server, opened(server.endpoint, transfer) as store:
        started = asyncio.get_running_loop().time()
        assert isinstance(await store.put(upload, body, PUT), Placed)
        assert asyncio.get_running_loop().time() - started > transfer.timeout
    assert server.requests[0].body == body


async def test_an_upload_that_stands_still_is_cut_and_had_no_effect() -> None:
    body = bytes(64 * MIB)
    upload = replace(UPLOAD, size=len(body), sha256=hashlib.sha256(body).digest())
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        async with opened(f"http://127.0.0.1:{deaf.getsockname()[1]}", QUICK) as store:
            error = await failure(store.put(upload, body, PUT))
    assert type(error) is Transient
    assert not error.ambiguous, "the server cannot have the whole body"


@pytest.mark.parametrize("call", ["copy", "begin", "complete"])
async def test_an_error_with_status_200(call: str) -> None:
    for document in (error_document("InternalError", "We encountered an internal error."), b""):
        async with served(lambda _, document=document: Reply(200, document)) as (store, _):  # type: ignore[misc]
            error = await failure(CALLS[call](store))
        assert type(error) is Transient
        assert error.ambiguous


async def test_an_error_with_status_200_says_nothing_of_versions() -> None:
    document = error_document("InternalError", "We encountered an internal error.")
    async with served(lambda _: Reply(200, document)) as (store, _):
        for call in (store.versioned(), store.beneath("photos/one.jpg", "v1"), store.purge("photos/one.jpg")):
            assert type(await failure(call)) is Transient


async def test_a_precondition_that_does_not_hold() -> None:
    async with served(lambda _: Reply(412, error_document("PreconditionFailed"))) as (store, _):
        assert isinstance(await store.put(UPLOAD, BODY, PUT), Taken)
        assert isinstance(await store.complete(UPLOAD, "id", [Part(1, 9, "etag")], PUT), Taken)
        assert type(await failure(store.copy("a", "b", "etag"))) is Changed


async def test_forbidden_is_never_absent() -> None:
    async with served(lambda _: Reply(403)) as (store, _):
        error = await failure(store.head("photos/one.jpg"))
    assert type(error) is Forbidden
    assert "s3:ListBucket" in error.hint


LOGIN = b"<!DOCTYPE html><html><head><title>Guests</title></head><body><h1>Please log in</h1></body></html>"


@pytest.mark.parametrize("body", [b"", LOGIN], ids=["empty", "page"])
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 405])
async def test_row_10_what_no_s3_server_said_means_nothing(status: int, body: bytes) -> None:
    async with served(lambda _: Reply(status, body, strange=True)) as (store, _):
        async for name, error in failures(store):
            assert type(error) is Transient
            assert error.silent
            assert error.ambiguous is (status == 200), name
            assert f"{status}, but from no S3 server" in error.message
            assert "Please log in" in error.message or not body or (status == 200 and name == "read")


@pytest.mark.parametrize(("status", "fault"), [(413, Invalid), (429, Throttled), (502, Transient), (503, Throttled)])
async def test_what_means_the_same_whoever_says_it(status: int, fault: type[ObjectError]) -> None:
    async with served(lambda _: Reply(status, LOGIN, strange=True)) as (store, _):
        assert type(await failure(store.put(UPLOAD, BODY, PUT))) is fault


async def test_absence_is_asked_for_in_words_where_a_server_does_not_name_its_requests() -> None:
    def plain(request: Request) -> Reply:
        body = b"" if request.method == "HEAD" else error_document("NoSuchKey")
        return Reply(404, body, strange=True)

    async with served(plain) as (store, server):
        assert await store.head("a") is None
        assert [request.method for request in server.requests] == ["HEAD", "GET"]


async def test_absence_is_not_what_one_of_two_gateways_says() -> None:
    def one_of_two(request: Request) -> Reply:
        return Reply(404, strange=True) if request.method == "HEAD" else OK

    async with served(one_of_two) as (store, _):
        assert type(await failure(store.head("a"))) is Transient


async def test_a_body_that_breaks_off_while_it_is_read() -> None:
    cut = Reply(200, b"half", {"content-length": "1000"}, close=True)
    async with served(lambda _: cut) as (store, _):
        assert type(await failure(drained(store))) is Transient


async def test_a_reader_may_be_slower_than_the_timeout() -> None:
    async with served(lambda _: Reply(200, bytes(MIB)), QUICK) as (store, _):
        pieces = store.read("photos/one.jpg")
        size = len(await anext(pieces))
        await asyncio.sleep(QUICK.timeout * 1.2)
        size += sum([len(piece) async for piece in pieces])
    assert size == MIB


async def test_a_byte_now_and_then_is_no_answer() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server, opened(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", QUICK) as store:
        error = await failure(drained(store))
    assert type(error) is Transient
    assert error.silent


async def test_an_endless_error_is_not_read_to_its_end() -> None:
    reply = Reply(500, b"<Error><Code>InternalError</Code>" + bytes(5 * MIB))
    async with served(lambda _: reply) as (store, _):
        error = await failure(store.put(UPLOAD, BODY, PUT))
    assert "InternalError" in error.message


@pytest.mark.parametrize("body", [BODY, bytes(SMALL + 1)], ids=["small", "large"])
async def test_read_back_finds_what_the_server_made_of_it(body: bytes) -> None:
    def script(request: Request) -> Reply:
        return OK if request.method == "PUT" else Reply(200, b"other bytes")

    upload = replace(UPLOAD, size=len(body), sha256=hashlib.sha256(body).digest())
    async with served(script) as (store, server):
        error = await failure(store.put(upload, body, Guards(absent=False, digest=Digest.READ_BACK)))
    assert type(error) is Transient
    assert error.ambiguous
    assert [request.method for request in server.requests] == ["PUT", "GET"], "and nothing was deleted"


async def test_what_cannot_be_a_header() -> None:
    async with served(lambda _: OK) as (store, server):
        await store.put(replace(UPLOAD, content_type="image/jpeg\r\nx-evil: 1", metadata={"t": "é\n"}), BODY, PUT)
        assert server.requests[0].headers["content-type"] == "application/octet-stream"
        assert server.requests[0].headers["x-amz-meta-t"] == "%C3%A9%0A"
        assert "x-evil" not in server.requests[0].headers
        error = await failure(store.put(replace(UPLOAD, metadata={"a b": "1"}), BODY, PUT))
    assert type(error) is Invalid


class TestAccess:
    """Endpoints, credentials and certificates."""

    async def test_no_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(PreflightError, match="no AWS credentials") as caught:
            await S3Store.open(Destination(bucket="photos"), Transfer())
        assert "AWS_ACCESS_KEY_ID" in caught.value.hint

    async def test_no_such_profile(self) -> None:
        with pytest.raises(PreflightError, match="somebody"):
            await S3Store.open(Destination(bucket="photos", profile="somebody"), Transfer())

    @pytest.fixture
    def script(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Gives out credentials that are to be refreshed at once, each with another access key."""
        count, script = tmp_path / "count", tmp_path / "credentials.sh"
        expiry = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))  # inside botocore's refresh window
        script.write_text(
            f"#!/bin/sh\necho x >>{count}\n[ -p {count}.$(wc -l <{count}) ] && read _ <{count}.$(wc -l <{count})\n"
            f'echo \'{{"Version": 1, "AccessKeyId": "AKIA\'$(wc -l <{count})\'", "SecretAccessKey": "s", '
            f'"SessionToken": "t", "Expiration": "{expiry}"}}\'\n'
        )
        script.chmod(0o700)
        (tmp_path / "config").write_text(f"[default]\ncredential_process = {script}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setattr("migrator.clients.aws.CREDENTIALS_SECONDS", 0.0)
        return script

    @staticmethod
    def _keys(server: Scripted) -> list[str]:
        return [request.headers["authorization"].split("=")[1].split("/")[0] for request in server.requests]

    async def test_requests_go_on_while_credentials_are_refreshed(self, tmp_path: Path, script: Path) -> None:
        async with served(lambda _: OK) as (store, server):
            await store.put(UPLOAD, BODY, PUT)
            given = len((tmp_path / "count").read_text().split())
            os.mkfifo(tmp_path / f"count.{given + 1}")  # the next one takes its time
            answer = os.open(tmp_path / f"count.{given + 1}", os.O_RDWR)
            asking = asyncio.create_task(store.put(UPLOAD, BODY, PUT))
            try:
                async with asyncio.timeout(10):
                    await asyncio.sleep(0)
                    await store.put(UPLOAD, BODY, PUT)
            finally:
                os.write(answer, b"now\n")
            await asking
            os.close(answer)
        assert self._keys(server) == [f"AKIA{given}", f"AKIA{given}", f"AKIA{given + 1}"]

    async def test_credentials_that_expire_are_read_again(
        self, tmp_path: Path, script: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with served(lambda _: OK) as (store, server):
            await store.put(UPLOAD, BODY, PUT)
            await store.put(UPLOAD, BODY, PUT)
            keys = self._keys(server)
            assert keys[0] != keys[1]
            assert server.requests[0].headers["x-amz-security-token"] == "t"
            script.write_text("#!/bin/sh\nexit 1\n")
            (tmp_path / "count").unlink()
            monkeypatch.setattr("botocore.credentials.RefreshableCredentials.refresh_needed", lambda *_: True)
            error = await failure(store.put(UPLOAD, BODY, PUT))
        assert type(error) is Fatal
        assert "credentials" in error.message

    async def test_row_31_a_role_is_assumed_again_when_its_service_is_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A network that is away in the minutes in which credentials are to be renewed ends nothing."""
        expiry = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))  # inside botocore's refresh window
        given = (
            "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>AKIAROLE</AccessKeyId><SecretAccessKey>s"
            f"</SecretAccessKey><SessionToken>t</SessionToken><Expiration>{expiry}</Expiration></Credentials>"
            "</AssumeRoleResult></AssumeRoleResponse>"
        ).encode()
        says = [Reply(200, given)]
        async with scripted(lambda _: says[-1]) as sts, served(lambda _: OK) as (_, server):
            (tmp_path / "config").write_text(
                "[default]\nrole_arn = arn:aws:iam::123456789012:role/mover\nsource_profile = me\nregion = us-east-1\n"
                "[profile me]\naws_access_key_id = AKIA\naws_secret_access_key = s\n"
            )
            monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.endpoint)
            monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
            monkeypatch.delenv("AWS_ACCESS_KEY_ID")
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
            monkeypatch.setattr("migrator.clients.aws.CREDENTIALS_SECONDS", 0.0)
            async with opened(server.endpoint) as store:
                await store.put(UPLOAD, BODY, PUT)
                for away in (Reply(reset=True), Reply(503, b"<html>nobody home</html>")):
                    says.append(away)
                    error = await failure(store.put(UPLOAD, BODY, PUT))
                    assert type(error) is Transient
                    assert error.silent
                    assert "credentials could not be refreshed" in error.message
                says.append(Reply(200, given))
                await store.put(UPLOAD, BODY, PUT)
                says.append(Reply(403, error_document("AccessDenied")))
                assert type(await failure(store.put(UPLOAD, BODY, PUT))) is Fatal
        assert set(self._keys(server)) == {"AKIAROLE"}

    async def test_the_endpoint_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with scripted(lambda _: OK) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
            async with opened("") as store:
                await store.put(UPLOAD, BODY, PUT)
        assert server.requests[0].target == "/photos/photos/one.jpg"

    async def test_a_proxy_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with scripted(lambda _: OK) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.endpoint)
            async with opened("http://s3.example.test") as store:
                await store.put(UPLOAD, BODY, PUT)
        assert proxy.requests[0].target == "http://s3.example.test/photos/photos/one.jpg"
        assert proxy.requests[0].headers["host"] == "s3.example.test"

    async def test_a_bucket_that_is_not_there(self) -> None:
        async with served(lambda _: Reply(404)) as (store, _):
            with pytest.raises(PreflightError, match="photos does not exist") as caught:
                await store.check_bucket()
        assert "migrator setup" in caught.value.hint

    async def test_a_bucket_that_may_not_be_listed_is_for_the_first_put_to_tell(self) -> None:
        async with served(lambda _: Reply(403)) as (store, _):
            await store.check_bucket()

    async def test_a_bucket_in_another_region(self) -> None:
        async with served(lambda _: Reply(301, headers={"x-amz-bucket-region": "eu-west-3"})) as (store, _):
            with pytest.raises(PreflightError, match="eu-west-3"):
                await store.check_bucket()
