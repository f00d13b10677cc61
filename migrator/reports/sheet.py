"""Stored variants as a page shows them: the images themselves, or why one is not shown."""

from base64 import b64encode

from msgspec import Struct

from migrator.core.variants import Picture
from migrator.reports import words

MOST = 12
"""Images on a page."""
LARGEST = 256 * 1024
"""Bytes of one image that is embedded."""
BUDGET = 2_000_000
"""Bytes of all of them."""


class Shown(Struct, frozen=True):
    """A variant, and its bytes as they stand in the destination: None where these are not shown, for `problem`."""

    picture: Picture
    body: bytes | None
    problem: str = ""

    def figure(self) -> dict[str, object]:
        """What the page draws."""
        picture = self.picture
        size = words.size(picture.size)
        if picture.original_size:
            size += f" of {words.size(picture.original_size)}"
        quality = [] if picture.quality is None else [f"quality {picture.quality}"]
        image = f"data:{picture.content_type};base64,{b64encode(self.body).decode()}" if self.body else ""
        return {
            "title": picture.key,
            "facts": [f"{picture.width} x {picture.height}", size, *quality],
            "image": image,
            "problem": self.problem,
        }


class Sheet(Struct, frozen=True):
    """The images of a page. `note` says why there are none, or fewer."""

    shown: tuple[Shown, ...] = ()
    note: str = ""
