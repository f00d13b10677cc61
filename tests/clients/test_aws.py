"""Where requests go, and which certificates are trusted on the way."""

import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from migrator.clients.aws import Endpoint
from migrator.core.config import Destination, Transfer
from migrator.core.errors import Fatal, Gone, ObjectError
from migrator.stores.s3 import S3Store
from tests.servers.scripted import Reply, scripted

AWS = "https://s3.eu-west-3.amazonaws.com"


@pytest.mark.parametrize(
    ("url", "bucket", "own", "base", "path"),
    [
        (AWS, "photos", False, "https://photos.s3.eu-west-3.amazonaws.com", ""),
        (AWS, "photos.example.org", False, AWS, "/photos.example.org"),
        (AWS, "photos", True, AWS, "/photos"),
        ("http://localhost:9000/", "photos", True, "http://localhost:9000", "/photos"),
        ("https://host:443/s3", "photos", True, "https://host", "/s3/photos"),
        ("http://host:80", "photos", True, "http://host", "/photos"),
        ("http://[::1]:9000", "photos", True, "http://[::1]:9000", "/photos"),
    ],
)
def test_the_bucket_is_in_the_host_or_in_the_path(url: str, bucket: str, own: bool, base: str, path: str) -> None:
    endpoint = Endpoint.of(url, bucket, own=own)
    assert (endpoint.base, endpoint.path) == (base, path)
    assert endpoint.base.endswith("//" + endpoint.host)


async def test_an_authority_of_ones_own_is_trusted_by_name_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    async with scripted(lambda _: Reply(404, b"<Error><Code>NoSuchKey</Code></Error>"), tls=tls) as server:
        store = await S3Store.open(Destination(bucket="photos", endpoint_url=server.endpoint), Transfer())
        for refused in (store.head("a"), store.versioned()):
            with pytest.raises(ObjectError) as caught:
                await refused
            assert type(caught.value) is Fatal
            assert "AWS_CA_BUNDLE" in caught.value.hint
        await store.close()

        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        store = await S3Store.open(Destination(bucket="photos", endpoint_url=server.endpoint), Transfer())
        assert await store.head("a") is None
        with pytest.raises(Gone):
            await store.versioned()
        await store.close()


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "own.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
