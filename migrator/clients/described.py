"""What an S3 server tells of an object beside its bytes: headers that a copy keeps, user metadata, tags."""

import html
import re
from collections.abc import Mapping

from migrator.core.objects import Description

META = "x-amz-meta-"

KEPT = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires")
"""Headers that belong to an object, beside its content type."""

_TAG = re.compile(rb"<Tag>(.*?)</Tag>", re.DOTALL)
_TAG_KEY = re.compile(rb"<Key>([^<]*)</Key>")
_TAG_VALUE = re.compile(rb"<Value>([^<]*)</Value>")


def describe(headers: Mapping[str, str], tags: Mapping[str, str] | None = None) -> Description:
    """The description in the answer to a HEAD or GET; names of `headers` in lower case.

    Tags come by a request of their own (`?tagging`), worth sending only where `tag_count` says that there are some.
    """
    return Description({name: headers[name] for name in KEPT if name in headers}, read_metadata(headers), tags)


def read_metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """The user metadata, without their prefix; bytes that are UTF-8 are text."""
    return {name.lower()[len(META) :]: _text(value) for name, value in headers.items() if name.lower().startswith(META)}


def tag_count(headers: Mapping[str, str]) -> int:
    """How many tags the object has; 0 where the server does not tell, or the credentials may not know."""
    count = headers.get("x-amz-tagging-count", "")
    return int(count) if count.isdecimal() else 0


def read_tags(body: bytes) -> dict[str, str]:
    """The tags in the answer to GetObjectTagging."""
    tags = {}
    for tag in _TAG.findall(body):
        key, value = _TAG_KEY.search(tag), _TAG_VALUE.search(tag)
        if key:
            tags[html.unescape(key[1].decode())] = html.unescape(value[1].decode()) if value else ""
    return tags


def _text(value: str) -> str:
    """Headers come as Latin-1, whatever bytes they hold."""
    try:
        return value if value.isascii() else value.encode("latin-1").decode()
    except UnicodeError:
        return value
