"""What an object carries beside its bytes, against what it should carry: for `verify`, and for storing once more."""

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from migrator.core.objects import Standing


def wrongly_dressed(
    standing: Standing, content_type: str | None, metadata: Mapping[str, str], headers: Mapping[str, str]
) -> list[str]:
    """What is wrong with its content type, metadata and headers, in words; what it carries besides is no matter."""
    return [
        f"its {what} is {said}, not {wanted}" if said is not None else f"it lacks the {what} {wanted}"
        for what, said, wanted in _told(standing, content_type, metadata, headers)
        # What is not plain ASCII travels percent-encoded.
        if said != wanted and unquote(said or "", errors="surrogatepass") != wanted
    ]


def _told(
    standing: Standing, content_type: str | None, metadata: Mapping[str, str], headers: Mapping[str, str]
) -> Iterator[tuple[str, str | None, str]]:
    """(what, what HEAD says of it, what it should say)."""
    # A folder on a file system without attributes keeps bytes and nothing else.
    if standing.headers is None and not standing.metadata:
        return
    # What cannot be a header was stored as something else.
    if content_type and content_type.isascii() and content_type.isprintable():
        yield "content type", standing.content_type, content_type
    for name, wanted in metadata.items():
        yield f"metadata {name}", standing.metadata.get(name), wanted
    if standing.headers is not None:
        for name, wanted in headers.items():
            yield name, standing.headers.get(name), wanted
