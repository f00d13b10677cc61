"""Pages of a bucket's listing: what asks for one, and where it goes on. ListObjectsV2, or the first version."""

from typing import NamedTuple

from migrator.clients.refusals import read_element
from migrator.clients.signing import encode_query
from migrator.core.errors import Fatal, Transient
from migrator.core.model import Side


class Position(NamedTuple):
    """Where a listing goes on: behind the key `after`, or where `token` leads, which is how keys in no order go on.

    A server that knows only the first version of the listing overlooks both: it goes on behind the key `marker`. A
    key is good for ever; a token only as long as the server says so.
    """

    after: str = ""
    token: str = ""
    marker: str = ""

    @property
    def query(self) -> dict[str, str]:
        """What is asked for."""
        if self.token:
            return {"continuation-token": self.token}
        if self.marker:
            return {"marker": self.marker}
        return {"start-after": self.after} if self.after else {}


def page_query(prefix: str, position: Position) -> str:
    """Asks for the keys under `prefix`, 1,000 at most, URL-encoded: XML cannot hold every byte of a key."""
    return encode_query({"list-type": "2", "encoding-type": "url", "prefix": prefix, **position.query})


def next_position(body: bytes, asked: Position, last: str, side: Side) -> Position | None:
    """Where it goes on behind the page that `asked` brought, whose last key is `last`; None where that was all.

    Raises Transient where `body` is no page, since what seems to be the end of a bucket must be one; Fatal where it
    goes on where it was.
    """
    truncated = read_element(body, "IsTruncated")
    if not truncated and b"ListBucketResult" not in body:
        raise Transient("LIST: the answer is no listing", side=side, hint="tried again by itself")
    if truncated != "true":
        return None
    token = read_element(body, "NextContinuationToken")
    if not token and not last:
        raise Transient("LIST: the answer does not say where it goes on", side=side, hint="tried again by itself")
    following = Position(token=token) if token else Position(marker=last)
    if following == asked:
        raise goes_round(side)
    return following


def goes_round(side: Side) -> Fatal:
    """The error for a server with which a listing never ends."""
    return Fatal(
        "LIST: the server lists the same page again and again",
        side=side,
        hint="write the keys into a manifest of s3:// locations and move that" if side is Side.SOURCE else "",
    )
