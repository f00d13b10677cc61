"""Objects of a store: what is sent, what stands there, what a destination honours. Frozen, small, picklable."""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from migrator.core.oddities import Oddity

PUT_ID = "migrator-put"
"""User metadata under which an object carries `<ledger id>/<item id>`: the mark that a put was ours."""

SHA256 = "migrator-sha256"
"""User metadata under which an object carries its SHA-256 (hex) where it is known before the first byte is sent."""

NULL_VERSION = "null"
"""The version of what is put where versioning is off or suspended: the next put replaces it for good."""

COPIED = "migrator-copied"
"""User metadata of a server's copy that was given marks: the ETag of the object that it was made from."""

MARKS = frozenset({PUT_ID, SHA256, COPIED})
"""Metadata that say how this very object came to be: they do not travel."""


class Digest(StrEnum):
    """How the destination checks the bytes of a put, strongest first."""

    SHA256 = "sha256"
    """`x-amz-checksum-sha256` beside `x-amz-sdk-checksum-algorithm`: checked and kept by the server."""
    MD5 = "md5"
    """`Content-MD5`: checked, not kept."""
    SIGNED = "signed"
    """Only the signed payload hash (`x-amz-content-sha256`) is checked."""
    READ_BACK = "read-back"
    """Nothing is checked: the object is read again and hashed."""
    SHA256_ONLY = "sha256-only"
    """SHA256, with a signature that leaves the payload to it: the server hashes the body once less."""
    MD5_ONLY = "md5-only"
    """MD5 in the same way; parts then need no SHA-256 of their own."""

    @property
    def kind(self) -> "Digest":
        """SHA256 or MD5 for what is that only."""
        return _KINDS.get(self, self)

    @property
    def only(self) -> bool:
        """Whether the signature leaves the payload out. The header with the digest is signed all the same."""
        return self is Digest.SHA256_ONLY or self is Digest.MD5_ONLY


_KINDS = {Digest.SHA256_ONLY: Digest.SHA256, Digest.MD5_ONLY: Digest.MD5}


class Description(Struct, frozen=True):
    """What an object of a bucket carries beside its bytes and its content type: a copy keeps it.

    headers   Cache-Control, Content-Disposition, Content-Encoding, Content-Language and Expires, names in lower case
    metadata  user metadata without the `x-amz-meta-` prefix, names in lower case; may hold marks of this tool
    tags      None where it has none
    """

    headers: Mapping[str, str]
    metadata: Mapping[str, str]
    tags: Mapping[str, str] | None = None


class Upload(Struct, frozen=True):
    """What is about to stand under `key`. `size` and `sha256` are None while a stream has not told them yet."""

    key: str
    size: int | None
    sha256: bytes | None
    content_type: str
    metadata: Mapping[str, str]
    """User metadata, ASCII, without the `x-amz-meta-` prefix; holds PUT_ID."""
    tags: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    """What the source carried (`Description.headers`); what the configuration says of the same name wins."""


class Guards(Struct, frozen=True):
    """What a put asks of the destination: that nothing stands there yet, and that it checks the bytes.

    `replace` is the ETag of the one object that this put may replace; it excludes `absent`.
    """

    absent: bool
    digest: Digest
    replace: str | None = None


class Placed(Struct, frozen=True):
    """The destination's answer to a put that it carried out."""

    etag: str
    version_id: str | None = None


class Copied(Struct, frozen=True):
    """The destination's answer to a copy that it carried out; `sha256` (raw) only where it told that of all bytes."""

    etag: str
    version_id: str | None = None
    sha256: bytes | None = None


class Taken(Struct, frozen=True):
    """The destination's answer to a put under a key where something already stands (412)."""


class Part(Struct, frozen=True):
    """One part of a multipart upload. `sha256` or `md5` (raw bytes) is None where the server did not tell it."""

    number: int
    size: int
    etag: str
    sha256: bytes | None = None


class Standing(Struct, frozen=True):
    """What HEAD says of an object. `sha256` (raw bytes) comes from the server's checksum or from our metadata."""

    size: int
    etag: str
    version_id: str | None
    content_type: str
    metadata: Mapping[str, str]
    sha256: bytes | None
    proven: bool = False
    """`sha256` is the checksum that the server itself keeps of the bytes, not only our metadata."""
    modified: float | None = None
    """When it was put there, by the server's clock, in seconds since the epoch; None where that is not told."""
    headers: Mapping[str, str] | None = None
    """Its Cache-Control and Content-Disposition, names in lower case; None where the destination keeps none at all."""

    @property
    def put_id(self) -> str | None:
        """The mark of the put that made it, when it was one of this tool's."""
        return self.metadata.get(PUT_ID)


class Described(Struct, frozen=True):
    """All that a bucket says of one object. `modified` is in seconds since the epoch, `storage_class` "" the usual one.

    `sha256` (raw bytes) is the checksum that the server keeps of the whole object; not every one has checked it.
    """

    size: int
    etag: str
    content_type: str
    description: Description
    sha256: bytes | None = None
    modified: float | None = None
    storage_class: str = ""
    version_id: str | None = None


class CopyMode(StrEnum):
    """Who moves the bytes of objects that the destination's server could copy by itself."""

    AUTO = "auto"
    """The server where it can, else this tool."""
    SERVER = "server"
    """The server; what it cannot copy is refused."""
    STREAM = "stream"
    """This tool, always."""


class Capabilities(Struct, frozen=True):
    """What a destination was seen to honour; found by canaries, kept in the ledger, named in the report."""

    conditional_put: bool
    conditional_complete: bool
    digest: Digest
    part_digest: Digest
    keeps_checksum: bool
    """HEAD returns the SHA-256 that the put was checked against."""
    versioned: bool
    can_list: bool
    """HEAD of an absent key answers 404 (with ListBucket) and not 403."""
    copies: bool | None = None
    """The server copies objects by itself; None: nobody asked yet."""
    copy_keeps: bool = False
    """Its copies carry content type, headers, metadata and tags without being told."""
    copy_pinned: bool = False
    """A copy is refused when the source no longer has the ETag that was named."""
    copy_absent: bool = False
    """A copy over something is refused when that was asked."""
    copy_parts: bool = False
    """Parts of an upload can be copied."""
    alters: tuple[Oddity, ...] = ()
    """Keys of these forms are not kept byte for byte, and nothing is said of it."""

    def refuses(self, key: str) -> str | None:
        """Why the destination does not keep `key` as it is; None when it does, as far as is known."""
        for oddity in self.alters:
            if oddity.is_in(key):
                return f"this server does not keep a key with {oddity} as it is"
        return None
