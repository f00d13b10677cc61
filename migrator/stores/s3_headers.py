"""What an object carries into a bucket, and what a bucket says of one: values <-> S3's headers and fields."""

import asyncio
import base64
import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote_plus, urlencode

from migrator.clients.dates import http_date
from migrator.clients.described import META, read_metadata
from migrator.clients.refusals import read_element
from migrator.clients.signing import encode_query, quote_key
from migrator.core.config import Destination
from migrator.core.errors import Invalid
from migrator.core.model import MIB, Side
from migrator.core.objects import SHA256, Digest, Guards, Part, Placed, Standing, Upload

METADATA_BYTES = 2048
"""Most bytes of user metadata, names and values.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
"""

MOST_TAGS = 10
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html"""

_METADATA_NAME = re.compile(r"[A-Za-z0-9._-]+")
_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")

_XML = "http://s3.amazonaws.com/doc/2006-03-01/"

_KEY = re.compile(rb"<Key>([^<]*)</Key>")

TOLD = ("cache-control", "content-disposition")
"""Headers of its own that a configuration can give an object."""

_NOT_OF_A_COPY = frozenset(TOLD)
"""A copy takes them from its source."""


class Constants:
    """What the configuration wants on every object, made once, as headers."""

    def __init__(self, destination: Destination) -> None:
        wanted = {
            "x-amz-storage-class": destination.storage_class,
            "x-amz-server-side-encryption": destination.sse,
            "x-amz-server-side-encryption-aws-kms-key-id": destination.kms_key_id,
            "x-amz-acl": destination.acl,
            "cache-control": destination.cache_control,
            "content-disposition": destination.content_disposition,
        }
        self.headers = {name: value for name, value in wanted.items() if value}
        self._copy_headers = {name: value for name, value in self.headers.items() if name not in _NOT_OF_A_COPY}

    def copy_headers(self, bucket: str, key: str, etag: str) -> dict[str, str]:
        """All headers of a server-side copy that takes everything along."""
        return {
            **self._copy_headers,
            "x-amz-copy-source": f"/{bucket}/{quote_key(key)}",
            "x-amz-copy-source-if-match": etag,
            # Both are the default; Ceph takes the second only beside the first.
            "x-amz-metadata-directive": "COPY",
            "x-amz-tagging-directive": "COPY",
        }

    def altering_copy_headers(self, bucket: str, key: str, etag: str, upload: Upload) -> dict[str, str]:
        """All headers of a server-side copy that carries what `upload` says and nothing else."""
        directives = {"x-amz-metadata-directive": "REPLACE", "x-amz-tagging-directive": "REPLACE"}
        return self.copy_headers(bucket, key, etag) | self.upload_headers(upload) | directives

    def upload_headers(self, upload: Upload) -> dict[str, str]:
        """What an object carries, whether it is put at once or in parts. The configuration beats the source."""
        headers = {**(upload.headers or {}), **self.headers, "content-type": _content_type(upload.content_type)}
        for name, value in _metadata(upload.metadata).items():
            headers[META + name] = value
        if upload.tags:
            headers["x-amz-tagging"] = _tagging(upload.tags)
        return headers


def absence(guards: Guards) -> dict[str, str]:
    """The precondition that nothing stands there; only for a server that honours it."""
    return {"if-none-match": "*"} if guards.absent and not guards.replace else {}


def replacing(etag: str | None) -> dict[str, str]:
    """The precondition that what stands there has this ETag. It was looked at just before: a server may refuse that."""
    return {"if-match": etag} if etag else {}


async def digest_headers(body: bytes, sha256: bytes, digest: Digest) -> dict[str, str]:
    """The headers by which the server checks `body`, besides the signed payload hash."""
    if digest.kind is Digest.SHA256:
        return checksum_headers(sha256)
    if digest.kind is Digest.MD5:
        return {"content-md5": md5(body) if len(body) <= MIB else await asyncio.to_thread(md5, body)}
    return {}


def checksum_headers(sha256: bytes) -> dict[str, str]:
    """Ceph 20 checks the first only beside the second."""
    return {"x-amz-checksum-sha256": _base64(sha256), "x-amz-sdk-checksum-algorithm": "SHA256"}


def md5(body: bytes) -> str:
    """The value of Content-MD5."""
    return _base64(hashlib.md5(body, usedforsecurity=False).digest())


def part_query(upload_id: str, number: int) -> str:
    """The query that makes a put one of a part."""
    return encode_query({"partNumber": str(number), "uploadId": upload_id})


def completion(parts: Sequence[Part]) -> bytes:
    """The body of CompleteMultipartUpload.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
    """
    named = "".join(
        f'<Part><ETag>"{html.escape(part.etag)}"</ETag><PartNumber>{part.number}</PartNumber>'
        + (f"<ChecksumSHA256>{_base64(part.sha256)}</ChecksumSHA256>" if part.sha256 else "")
        + "</Part>"
        for part in parts
    )
    return f'<CompleteMultipartUpload xmlns="{_XML}">{named}</CompleteMultipartUpload>'.encode()


def placed(headers: Mapping[str, str]) -> Placed:
    """The answer to a put."""
    return Placed(bare(headers.get("etag", "")), headers.get("x-amz-version-id"))


def standing_of(headers: Mapping[str, str]) -> Standing:
    """The answer to a HEAD."""
    metadata = read_metadata(headers)
    etag = bare(headers.get("etag", ""))
    # Of an object made of parts the SHA-256 is one of hashes; not every server says so by a "-3" at its end.
    composite = "-" in etag or headers.get("x-amz-checksum-type") == "COMPOSITE"
    kept = None if composite else checksum(headers.get("x-amz-checksum-sha256"))
    return Standing(
        size=int(headers.get("content-length", 0)),
        etag=etag,
        version_id=headers.get("x-amz-version-id"),
        content_type=headers.get("content-type", ""),
        metadata=metadata,
        sha256=kept or _from_hex(metadata.get(SHA256, "")),
        proven=kept is not None,
        modified=http_date(headers.get("last-modified", "")),
        headers={name: headers[name] for name in TOLD if name in headers},
    )


def bare(etag: str) -> str:
    """An ETag without its quotes, as it is kept in this house and sent in preconditions: Ceph 16 takes no other."""
    return etag.strip('"')


def checksum(text: str | None) -> bytes | None:
    """The SHA-256 of a base64 checksum; None for a composite one (`...-3`): a hash of hashes says nothing here."""
    try:
        digest = base64.b64decode(text or "", validate=True)
    except ValueError:
        return None
    return digest if len(digest) == hashlib.sha256().digest_size else None


def _from_hex(text: str) -> bytes | None:
    return bytes.fromhex(text) if re.fullmatch("[0-9a-f]{64}", text) else None


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _tagging(tags: Mapping[str, str]) -> str:
    if len(tags) > MOST_TAGS:
        raise Invalid(
            f"{len(tags)} tags, the source's and destination.tags together; S3 allows {MOST_TAGS}",
            side=Side.DESTINATION,
            hint="remove some of destination.tags, or of the source's",
        )
    return urlencode(tags, quote_via=quote)


def _content_type(text: str) -> str:
    """What a source claims may be anything; what cannot be a header value is not passed on."""
    return text if text.isascii() and text.isprintable() and text.strip() else "application/octet-stream"


def _metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """User metadata as header values: one that is not printable ASCII is percent-encoded as UTF-8, whole."""
    encoded: dict[str, str] = {}
    size = 0
    for name, value in metadata.items():
        if not _METADATA_NAME.fullmatch(name):
            raise Invalid(
                f"metadata name {name!r} cannot be sent", side=Side.DESTINATION, hint="use letters, digits, - and _"
            )
        plain = value.isascii() and value.isprintable() and value == value.strip()
        text = value if plain else quote(value, safe=_PRINTABLE, errors="surrogatepass")
        encoded[name.lower()] = text
        size += len(name) + len(text)
    if size > METADATA_BYTES:
        raise Invalid(
            f"the metadata has {size} bytes; S3 allows {METADATA_BYTES}",
            side=Side.DESTINATION,
            hint="shorten destination.metadata, or what the source's object carries",
        )
    return encoded


def read_key(entry: bytes, *, encoded: bool) -> str:
    """The key in one entry of a listing; `encoded` says that its keys are URL-encoded."""
    key = read_element(entry, "Key")
    return unquote_plus(key) if encoded else key


def read_keys(body: bytes) -> list[str]:
    """The keys of one page of a listing."""
    keys = [html.unescape(found.decode()) for found in _KEY.findall(body)]
    return [unquote_plus(key) for key in keys] if read_element(body, "EncodingType") == "url" else keys
