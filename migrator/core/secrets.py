"""What must never be shown, and how to mask it: secret queries and user info of URLs."""

import re
from urllib.parse import parse_qsl, unquote_plus, urlsplit, urlunsplit

MASK = "***"

_TELLING = re.compile(
    r"sig|token|secret|pass|auth|cred|key|policy|expires|x-(?:amz|goog|ms)|hmac|hash|jwt|session", re.IGNORECASE
)
_LONGEST_PLAIN = 16
"""A query value longer than this may be a secret whatever its name: it is masked."""


def mask_url(url: str) -> str:
    """`url` without its user info and, where any parameter may be secret, without its query."""
    if "?" not in url and "@" not in url and "#" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{url.partition('://')[0]}://{MASK}"
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{MASK}@{host}" if "@" in parts.netloc else host
    query = MASK if _is_secret(parts.query) else parts.query
    return urlunsplit((parts.scheme, netloc, parts.path, query, ""))


def _is_secret(query: str) -> bool:
    # The whole text is searched: some servers part parameters by `;`, which parse_qsl leaves within a value.
    telling = _TELLING.search(unquote_plus(query)) is not None
    # A bare `?abc...` has no name to judge by: parse_qsl gives it as a name without value.
    return telling or any(len(value or name) > _LONGEST_PLAIN for name, value in parse_qsl(query, True))


# A quote ends a URL in a text, but not its query: it is legal there, and what follows it may be the secret.
_URL = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*://[^\s'"<>?#]+(?:[?#][^\s"<>]*)?""")


def mask_text(text: str) -> str:
    """`text` with every URL in it masked; for messages that come from elsewhere."""
    return _URL.sub(lambda found: mask_url(found[0]), text) if "://" in text else text
