"""Answers that no S3 server gave: a proxy's, a load balancer's whose server is away, a page that wants a login.

Their statuses mean nothing about objects: a 404 is not "absent", a 200 not "stored".
"""

import re

from migrator.clients.connection import Answer
from migrator.clients.refusals import read_error
from migrator.core.errors import Transient
from migrator.core.model import Side
from migrator.core.secrets import mask_text

_ANYBODYS = frozenset({408, 413, 414, 429, 431})
"""Statuses that mean the same whoever says it: later, or smaller."""
_DOCUMENT = re.compile(rb"\s*(<\?xml[^>]*>\s*)?<(?!html|!doctype html)[a-z]", re.IGNORECASE)
"""The beginning of XML that is no web page."""
_MARKUP = re.compile(r"<(style|script)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_LOOKED_AT, _LONGEST_WORDS = 4096, 100


def is_strange(answer: Answer) -> bool:
    """Whether nothing in `answer` shows that an S3 server gave it.

    Each of those names its requests (`x-amz-request-id`) and objects (`ETag`), and gives reasons in a document. Of a
    server that leaves the first out, an answer to HEAD shows nothing: what it says to GET does.
    https://docs.aws.amazon.com/AmazonS3/latest/API/RESTCommonResponseHeaders.html
    """
    status, headers, body = answer
    if "x-amz-request-id" in headers or "etag" in headers:
        return False
    if status == 204 or status >= 500 or status in _ANYBODYS or any(name.startswith("x-amz") for name in headers):
        return False
    return not _DOCUMENT.match(body) if status < 300 else not read_error(body)[0]


def stranger(what: str, answer: Answer, side: Side) -> Transient:
    """The error that such an answer is; `what` names the request. Something stands in the way, and may leave it."""
    text = _MARKUP.sub(" ", answer.body[:_LOOKED_AT].decode("utf-8", "replace"))
    words = mask_text(" ".join(text.split()))[:_LONGEST_WORDS]
    return Transient(
        f"{what}: {answer.status}, but from no S3 server (a proxy, a load balancer or a login page may stand before it)"
        + (f": {words}" if words else ""),
        side=side,
        hint="tried again by itself",
        ambiguous=answer.status < 300,
        silent=True,
    )
