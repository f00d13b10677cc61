"""From a text in a manifest or row to an item: which locations are allowed, how they are written, and their keys."""

import os
import posixpath
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from msgspec import Struct

from migrator.core.addresses import literal_address, refused_address
from migrator.core.config import ManifestSource, TableSource
from migrator.core.files import file_location, file_path
from migrator.core.keys import MAX_KEY_BYTES, PATH_NAMES, KeyMaker, Naming, NoMatch, compile_template, location_path
from migrator.core.model import Fault, Item
from migrator.core.places import s3_parts
from migrator.core.secrets import mask_url
from migrator.sources.globs import Selection

_PLAIN_URL = re.compile(r"https?://([a-z0-9][a-z0-9.-]*)/([A-Za-z0-9._~!$&'()*+,;=:@/-]*)").fullmatch
"""URLs that are written as they should be and hold nothing to mask; nearly all of them."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?]*")
_USER = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:%-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+(?:%25[a-z0-9._~-]+)?\]")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}").fullmatch
"""Wider than what S3 allows today: old buckets, and those of other servers, have such names."""
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PATH_SAFE = "/%!$&'()*+,;=:@~"
_QUERY_SAFE = _PATH_SAFE + "?"
_REMEMBERED_HOSTS = 10_000


class Refused(ValueError):
    """Why a text is no location that may be moved; holds no secret."""

    def __init__(self, message: str, fault: Fault = Fault.INVALID) -> None:
        super().__init__(message)
        self.fault = fault


class _Place(Struct, frozen=True):
    """A location that is allowed: `path` is percent-decoded, without a leading slash."""

    location: str
    host: str
    path: str
    signed: str | None = None


class Found(NamedTuple):
    """A location with its key; `carried` are values that later templates want, `bucket` that of an s3 location."""

    location: str
    key: str
    carried: dict[str, str] | None
    signed: str | None
    bucket: str


class Locator:
    """Makes the items of one `manifest` or `table` source."""

    def __init__(self, config: ManifestSource | TableSource, naming: Naming) -> None:
        self._keys = KeyMaker(config.key, naming, match=config.match)
        self._selection = (
            None if not config.include and not config.exclude else Selection(config.include, config.exclude)
        )
        self._skips_others = config.on_no_match == "skip"
        self._allow_private = config.allow_private
        if isinstance(config, ManifestSource):
            self._kind, self._base_url = "manifest", config.base_url
            self._advice = "set base_url (for a URL) or root (for a local file)"
            self._buckets: frozenset[str] | None = frozenset(config.buckets)
        else:
            self._kind, self._base_url = "table", ""
            self._buckets = None  # the location's template is the operator's own
            self._advice = "set root (for a local file), or write the scheme and host into the location's template"
        self._root = os.path.realpath(config.root) if config.root is not None else None
        self._hosts: dict[str, Refused | None] = {}
        groups = re.compile(config.match).groupindex if config.match else {}
        used = {*compile_template(config.key).names, *naming.carry}
        self.field_names = frozenset(used - {*PATH_NAMES, *groups})
        """Names of the manifest's own values that a template uses."""

    def item(self, text: str, fields: Mapping[str, str | None] | None) -> Item | None:
        """The item at the location `text`; None when the source's rules leave it out. Raises as `found` does."""
        found = self.found(text, fields)
        return None if found is None else Item(found[0], found[1], None, None, found[2], found[3])

    def found(self, text: str, fields: Mapping[str, str | None] | None) -> Found | None:
        """The location `text` and its key; None when the source's rules leave it out.

        Raises Refused, or the ValueError of a template that has no key for it.
        """
        plain = _PLAIN_URL(text)
        if plain:
            host, path = plain.groups()
            self._check_host(host)
            location, signed, bucket = text, None, ""
            if path[:1] == "/":
                path = path.lstrip("/")
        elif text.startswith("s3://"):
            bucket, path = _object(text)
            if self._buckets is not None and bucket not in self._buckets:
                # Manifests are not trusted: they must not lead to whatever the credentials may read.
                raise Refused(f'{text!r} lies in a bucket that is not among the source\'s: add buckets = ["{bucket}"]')
            location, host, signed = text, "", None
        else:
            place = self._place(text)
            location, host, path, signed, bucket = place.location, place.host, place.path, place.signed, ""
        if self._selection and not self._selection.takes(path):
            return None
        try:
            key, carried = self._keys.make(path, host=host, bucket=bucket, fields=fields)
        except NoMatch:
            if self._skips_others:
                return None
            raise
        return Found(location, key, carried, signed, bucket)

    def _place(self, text: str) -> _Place:
        text = text.strip(" \t\r\n")
        if not text:
            raise Refused("the location is empty")
        if _CONTROL.search(text):
            raise Refused("the location holds a control character or half a surrogate pair")
        scheme = _SCHEME.match(text)
        if scheme:
            return self._with_scheme(text, scheme[1].lower())
        if self._base_url:
            return self._url(urljoin(self._base_url, _quoted(text)))
        if self._root is not None:
            return self._local(text)
        if text.startswith("//"):
            raise Refused(f"{mask_url(text)} names no scheme: {self._advice}")
        raise Refused(f"{mask_url(text)} is relative: {self._advice}")

    def _with_scheme(self, text: str, scheme: str) -> _Place:
        if scheme in ("http", "https"):
            return self._url(_quoted(text))
        if scheme == "file" and self._root is not None:
            return self._local(_local_path(text))
        raise self._refused_scheme(scheme)

    def _refused_scheme(self, scheme: str) -> Refused:
        return Refused(f"the scheme {scheme}: is not allowed in a {self._kind}, only http, https and s3")

    def _url(self, url: str) -> _Place:
        try:
            parts = urlsplit(url)
            port = parts.port
            hostname = parts.hostname or ""
        except ValueError:
            raise Refused("the URL's host or port cannot be read") from None
        if parts.scheme not in ("http", "https"):
            raise self._refused_scheme(parts.scheme)
        if not hostname:
            raise Refused("the URL names no host")
        user, at, written = parts.netloc.rpartition("@")
        if not _USER.fullmatch(user):
            raise Refused("the URL's user info holds characters that must be percent-encoded")
        host = _ascii_host(written, hostname)
        self._check_host(host)
        netloc = f"{user}{at}{host}" + (f":{port}" if port is not None else "")
        whole = parts._replace(netloc=netloc, fragment="").geturl()
        location = mask_url(whole)
        return _Place(location, host, location_path(whole), None if location == whole else whole)

    def _local(self, text: str) -> _Place:
        root = self._root or ""
        path = posixpath.normpath(posixpath.join(root, text))
        below = root.rstrip("/") + "/"
        if not path.startswith(below):
            raise Refused(f"{text!r} leads out of root", Fault.FORBIDDEN)
        return _Place(file_location(path), "", path[len(below) :])

    def _check_host(self, host: str) -> None:
        try:
            refusal = self._hosts[host]
        except KeyError:
            if len(self._hosts) >= _REMEMBERED_HOSTS:
                self._hosts.clear()
            refusal = self._hosts[host] = self._host_refusal(host)
        if refusal is not None:
            raise Refused(str(refusal), refusal.fault)

    def _host_refusal(self, host: str) -> Refused | None:
        if not _HOST.fullmatch(host):
            return Refused(f"{host!r} is no host name")
        address = None if self._allow_private else literal_address(host)
        reason = refused_address(address) if address is not None else None
        if reason is None:
            return None
        return Refused(
            f"{host} is a {reason} address: refused, unless the source says allow_private = true", Fault.FORBIDDEN
        )


def _object(location: str) -> tuple[str, str]:
    """(bucket, key) of an s3 location. The key stands in it byte for byte: spaces, `?`, `#` and `%` are its own."""
    bucket, key = s3_parts(location)
    if not _BUCKET(bucket):
        raise Refused(f"{bucket!r} is no name of a bucket")
    if not key:
        raise Refused(f"{location!r} names a bucket and no object in it")
    if len(key) * 4 > MAX_KEY_BYTES or not key.isascii():
        try:
            size = len(key.encode())
        except UnicodeEncodeError:
            raise Refused(f"{location!r} is not valid UTF-8") from None
        if size > MAX_KEY_BYTES:
            raise Refused(f"{location!r} has a key of {size} bytes; S3 allows {MAX_KEY_BYTES}")
    return bucket, key


def _ascii_host(written: str, hostname: str) -> str:
    """The host in ASCII and lower case, IPv6 in brackets."""
    if written.startswith("["):
        return f"[{hostname}]"
    if hostname.isascii():
        return hostname
    try:
        return hostname.encode("idna").decode()
    except UnicodeError:
        raise Refused(f"{hostname!r} is no host name") from None


def _local_path(location: str) -> str:
    try:
        return file_path(location)
    except ValueError:
        raise Refused("the file: location names a host or no path: write file:///path") from None


def _quoted(url: str) -> str:
    """`url` without its fragment, with everything quoted that must be; escapes stay as they are, the host too."""
    head, tail = url.partition("#")[0], ""
    found = _AUTHORITY.match(head)
    if found:
        head, tail = found[0], head[found.end() :]
    else:
        head, tail = "", head
    path, mark, query = _LONE_PERCENT.sub("%25", tail).partition("?")
    return head + quote(path, _PATH_SAFE) + mark + quote(query, _QUERY_SAFE)
