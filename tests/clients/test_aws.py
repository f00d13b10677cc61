"""Where requests go, and which certificates are trusted on the way."""

import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import botocore.session
import pytest

from migrator.clients.aws import Endpoint
from migrator.clients.chain import find_chain
from migrator.core.config import Destination, Transfer
from migrator.core.errors import Fatal, Gone, ObjectError, PreflightError
from migrator.stores.s3 import S3Store
from tests.servers.certificates import certificate
from tests.servers.scripted import Reply, scripted

AWS = "https://s3.eu-west-3.amazonaws.com"


@pytest.mark.parametrize(
    ("url", "bucket", "in_path", "base", "path"),
    [
        (AWS, "photos", False, "https://photos.s3.eu-west-3.amazonaws.com", ""),
        (AWS, "photos.example.org", False, AWS, "/photos.example.org"),
        (AWS, "photos", True, AWS, "/photos"),
        ("http://localhost:9000/", "photos", True, "http://localhost:9000", "/photos"),
        ("https://host:443/s3", "photos", True, "https://host", "/s3/photos"),
        ("http://host:80", "photos", True, "http://host", "/photos"),
        ("http://[::1]:9000", "photos", True, "http://[::1]:9000", "/photos"),
        ("http://[::1]:9000", "photos", False, "http://[::1]:9000", "/photos"),
        ("http://127.0.0.1:9000", "photos", False, "http://127.0.0.1:9000", "/photos"),
    ],
)
def test_the_bucket_is_in_the_host_or_in_the_path(url: str, bucket: str, in_path: bool, base: str, path: str) -> None:
    endpoint = Endpoint.of(url, bucket, in_path=in_path)
    assert (endpoint.base, endpoint.path) == (base, path)
    assert endpoint.base.endswith("//" + endpoint.host)


async def test_an_authority_of_ones_own_is_trusted_by_name_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(own)
    async with scripted(lambda _: Reply(404, b"<Error><Code>NoSuchKey</Code></Error>"), tls=tls) as server:
        store = await S3Store.open(Destination(bucket="photos", endpoint_url=server.endpoint), Transfer())
        for refused in (store.head("a"), store.versioned()):
            with pytest.raises(ObjectError) as caught:
                await refused
            assert type(caught.value) is Fatal
            assert "AWS_CA_BUNDLE" in caught.value.hint
        await store.close()

        monkeypatch.setenv("AWS_CA_BUNDLE", str(own))
        store = await S3Store.open(Destination(bucket="photos", endpoint_url=server.endpoint), Transfer())
        assert await store.head("a") is None
        with pytest.raises(Gone):
            await store.versioned()
        await store.close()


KEYS = {"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.mark.parametrize(
    "more",
    [
        {"AWS_SESSION_TOKEN": "t"},
        {"AWS_SECURITY_TOKEN": "older", "AWS_SESSION_TOKEN": "t"},
        {"AWS_CA_BUNDLE": "/own.pem"},
        {"AWS_SESSION_TOKEN": ""},
        {"AWS_CONFIG_FILE": "config"},
        {"AWS_SHARED_CREDENTIALS_FILE": "config"},
        {"AWS_CREDENTIAL_EXPIRATION": "2999-01-01T00:00:00Z"},
    ],
)
async def test_the_short_way_to_plain_keys_finds_what_botocore_finds(
    more: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "config").write_text("[default]\nca_bundle = /of-the-file.pem\ns3 =\n  addressing_style = virtual\n")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in (KEYS | more).items():
        monkeypatch.setenv(name, value)
    found = await find_chain("")
    session = botocore.session.Session()
    same = session.get_credentials().get_frozen_credentials()
    assert tuple(found.chain.get_frozen_credentials())[:3] == tuple(same)[:3]
    assert found.verify == (session.get_config_variable("ca_bundle") or True)
    assert found.addressing == (session.get_config_variable("s3") or {"addressing_style": "auto"})["addressing_style"]


@pytest.mark.parametrize(
    ("style", "place"),
    [
        ("virtual", "http://photos.s3.example.test/"),
        ("path", "http://s3.example.test/photos"),
        ("auto", "http://s3.example.test/photos"),
    ],
)
async def test_the_aws_configuration_says_where_the_buckets_name_stands(
    style: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alibaba's OSS and Tencent's COS take no path style."""
    (tmp_path / "config").write_text(f"[default]\ns3 =\n  addressing_style = {style}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    async with scripted(lambda _: Reply(404, b"<Error><Code>NoSuchKey</Code></Error>")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.endpoint)
        destination = Destination(bucket="photos", endpoint_url="http://s3.example.test")
        store = await S3Store.open(destination, Transfer())
        assert await store.head("a.jpg") is None
        assert await store.open_uploads("a.jpg") == []  # through aiobotocore
        await store.close()
    assert [request.target.partition("?")[0] for request in proxy.requests] == [f"{place.rstrip('/')}/a.jpg", place]
    assert {request.headers["host"] for request in proxy.requests} == {urlsplit(place).netloc}


async def test_a_profile_that_does_not_exist_is_refused_although_keys_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in (KEYS | {"AWS_PROFILE": "somebody"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PreflightError, match="somebody"):
        await find_chain("")
