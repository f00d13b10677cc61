"""Where an untrusted URL may not lead, in whatever form it says so, and what a redirect may not do."""

import asyncio
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from migrator.clients.http import HttpClient
from migrator.core.config import Transfer
from migrator.core.errors import Forbidden, Invalid, ObjectError
from tests.servers.certificates import certificate
from tests.stores.web import Web, answer, serving

pytestmark = pytest.mark.faults


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    """The client of all tests here."""
    client = HttpClient(Transfer())
    yield client
    await client.close()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    """A server on loopback: what a stranger's URL must never reach."""
    async with serving() as web:
        web.answers["/inner"] = answer(b"inner")
        yield web


async def get(client: HttpClient, url: str, *, private: bool = False) -> bytes:
    """The body of `url`."""
    found = await client.get(url, url, private=private)
    try:
        return await found.read(1000)
    finally:
        found.close()


async def refusal(client: HttpClient, url: str, *, private: bool = False) -> ObjectError:
    """The error that `url` ends in."""
    with pytest.raises(ObjectError) as caught:
        await get(client, url, private=private)
    return caught.value


LOOPBACK = (
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0177.0.0.1",
    "017700000001",
    "0x7f.0.0.1",
    "0x7f000001",
    "0x7F.1",
    "127.0.0.1.",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "①②⑦.⓪.⓪.①",
    "0.0.0.0",
    "[::]",
)
ELSEWHERE = (
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "100.64.0.1",
    "100.100.100.200",
    "224.0.0.1",
    "[ff02::1]",
    "240.0.0.1",
    "255.255.255.255",
)


@pytest.mark.parametrize("host", LOOPBACK + ELSEWHERE)
async def test_addresses_written_out_are_refused(client: HttpClient, web: Web, host: str) -> None:
    error = await refusal(client, web.url("/inner", host))
    assert isinstance(error, Forbidden)
    assert "allow_private" in str(error)
    assert web.requests == []


@pytest.mark.parametrize("found", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"])
async def test_names_of_such_addresses_are_refused(
    client: HttpClient, web: Web, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _resolve_to(monkeypatch, [found])
    error = await refusal(client, web.url("/inner", "innocent.example"))
    assert isinstance(error, Forbidden)
    assert "innocent.example is the " in str(error)
    assert web.requests == []


async def test_the_resolver_itself_knows_odd_numbers(client: HttpClient, web: Web) -> None:
    assert isinstance(await refusal(client, web.url("/inner", "localhost")), Forbidden)
    assert web.requests == []


async def test_only_checked_addresses_are_connected_to(
    client: HttpClient, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One public address among private ones: that one is tried, and no other."""
    _resolve_to(monkeypatch, ["127.0.0.1", "8.8.4.4"])
    tried: list[str] = []

    async def wall(_: object, __: object, address: tuple[str, int]) -> None:
        tried.append(address[0])
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", wall)
    error = await refusal(client, web.url("/inner", "mixed.example"))
    assert not isinstance(error, Forbidden)
    assert tried == ["8.8.4.4"]


async def test_a_source_may_allow_it(client: HttpClient, web: Web) -> None:
    for host in ("127.0.0.1", "localhost"):
        assert await get(client, web.url("/inner", host), private=True) == b"inner"
    assert isinstance(await refusal(client, web.url("/inner")), Forbidden)


def _resolve_to(monkeypatch: pytest.MonkeyPatch, found: list[str]) -> None:
    """Every name is at the addresses `found`."""

    def lookup(host: object, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        return [
            (
                socket.AF_INET6 if ip_address(text).version == 6 else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (text, port, 0, 0) if ip_address(text).version == 6 else (text, port),
            )
            for text in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets 127.0.0.1 pass for a public address: what comes after a first hop is then tried without a network."""
    from migrator.clients import http
    from migrator.core.addresses import refused_address

    def judge(address: object) -> str | None:
        return None if str(address) == "127.0.0.1" else refused_address(str(address))

    monkeypatch.setattr(http, "refused_address", judge)


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
async def test_redirects_are_followed(client: HttpClient, web: Web, status: str) -> None:
    web.answers["/a?b=1"] = answer(b"moved", f"{status} Moved", Location="/inner")
    web.answers["/start"] = answer(b"moved", f"{status} Moved", Location=web.url("/a?b=1"))
    assert await get(client, web.url("/start")) == b"inner"


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize("target", ["http://[::1]:{port}/inner", "//127.0.0.2:{port}/inner", "http://2130706434/x"])
async def test_every_hop_is_checked(client: HttpClient, web: Web, target: str) -> None:
    web.answers["/start"] = answer(b"", "302 Found", Location=target.format(port=web.port))
    assert isinstance(await refusal(client, web.url("/start")), Forbidden)
    assert len(web.requests) == 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/x", "javascript:alert(1)", "data:,x"])
async def test_a_redirect_stays_with_http(client: HttpClient, web: Web, target: str) -> None:
    web.answers["/start"] = answer(b"", "302 Found", Location=target)
    error = await refusal(client, web.url("/start"), private=True)
    assert isinstance(error, Forbidden)
    assert "only http and https" in str(error)


@pytest.mark.parametrize("target", ["http://[broken", "http://host:99999/", ""])
async def test_a_redirect_to_nowhere(client: HttpClient, web: Web, target: str) -> None:
    web.answers["/start"] = answer(b"", "302 Found", Location=target)
    assert isinstance(await refusal(client, web.url("/start"), private=True), Invalid)


async def test_a_circle_of_redirects_ends(client: HttpClient, web: Web) -> None:
    web.answers["/start"] = answer(b"", "302 Found", Location="/start")
    error = await refusal(client, web.url("/start"), private=True)
    assert isinstance(error, Invalid)
    assert len(web.requests) == 11


async def test_no_credential_and_no_cookie_follows_a_redirect(client: HttpClient, web: Web) -> None:
    web.answers["/start"] = answer(b"", "302 Found", Location="/inner", Set_Cookie="session=1; Path=/")
    assert await get(client, f"http://user:pass@127.0.0.1:{web.port}/start", private=True) == b"inner"
    await get(client, web.url("/inner"), private=True)
    assert "Authorization" in web.requests[0]
    for request in web.requests[1:]:
        assert "Authorization" not in request
        assert "Cookie" not in request
    web.answers["/start"] = answer(b"", "302 Found", Location=f"http://user:pass@127.0.0.1:{web.port}/inner")
    await get(client, web.url("/start"), private=True)
    assert "Authorization" not in web.requests[-1]


@pytest.mark.parametrize("url", ["http://", "http:///a", "http://host:port/", "file:///etc/passwd", "nothing"])
async def test_what_is_no_url(client: HttpClient, url: str) -> None:
    assert isinstance(await refusal(client, url), Invalid)


async def test_no_proxy_is_taken_from_the_environment(
    client: HttpClient, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert await get(client, web.url("/inner"), private=True) == b"inner"


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[tuple[Web, Path]]:
    """An https server and its certificate."""
    path = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    async with serving(context) as web:
        web.answers["/inner"] = answer(b"inner")
        yield web, path


async def test_a_certificate_of_nobody_is_refused(client: HttpClient, secure: tuple[Web, Path]) -> None:
    web, _ = secure
    error = await refusal(client, web.url("/inner", scheme="https"), private=True)
    assert isinstance(error, Forbidden)
    assert "certificate" in str(error)
    assert web.requests == []


async def test_no_redirect_from_https_to_http(secure: tuple[Web, Path]) -> None:
    web, certificate = secure
    web.answers["/start"] = answer(b"", "302 Found", Location=web.url("/inner") + "?token=secret-canary")
    code = (
        "import asyncio, sys\n"
        "from migrator.clients.http import HttpClient\n"
        "from migrator.core.config import Transfer\n"
        "from migrator.core.errors import ObjectError\n"
        "async def main(base):\n"
        "    client = HttpClient(Transfer())\n"
        "    for path in ('/inner', '/start'):\n"
        "        try:\n"
        "            print(await (await client.get(base + path, 'LOCATION', private=True)).read(100))\n"
        "        except ObjectError as error:\n"
        "            print(error.fault, error)\n"
        "    await client.close()\n"
        "asyncio.run(main(sys.argv[1]))\n"
    )
    # A process of its own: which certificates are trusted is read once, when the library is loaded.
    done = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        web.url("", scheme="https"),
        stdout=subprocess.PIPE,
        env={"SSL_CERT_FILE": str(certificate)},
    )
    printed = (await done.communicate())[0].decode()
    assert printed.splitlines()[0] == "b'inner'"
    assert "forbidden LOCATION redirects from https to unprotected http" in printed
    assert "secret-canary" not in printed
