"""What the pool and its worker processes say to each other: JSON and bytes in frames, never pickle.

That would let an image that has taken over its worker run what it likes in the process that holds the credentials.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from migrator.core.variants import Fit, Rendered, Wanted

HEAD = struct.Struct(">IQ")
"""Lengths of the JSON and of the bytes that follow."""

LONGEST_JSON = 1 << 20

DECODING = -1
"""The number of what is done for all variants of an image, in `at`."""


class Limits(Struct, frozen=True):
    """What one image may cost: address space of its process in bytes, seconds for a variant or the decoding, pixels."""

    memory: int = 2 << 30
    seconds: float = 30.0
    pixels: int = 100_000_000


def frame(message: Mapping[str, Any], length: int = 0) -> bytes:
    """The head and the JSON of a message that `length` bytes follow."""
    text = json.dumps(message).encode()
    return HEAD.pack(len(text), length) + text


def spelled(wanted: Sequence[Wanted]) -> list[dict[str, Any]]:
    """What is wanted as JSON has it."""
    return [asdict(each) for each in wanted]


def read_wanted(values: Sequence[Mapping[str, Any]]) -> list[Wanted]:
    """The opposite."""
    return [Wanted(**{**each, "fit": Fit(each["fit"]), "background": tuple(each["background"])}) for each in values]


def about(rendered: Rendered) -> dict[str, Any]:
    """All of a variant but its bytes, its name and what follows from its format."""
    return {
        "width": rendered.width,
        "height": rendered.height,
        "quality": rendered.quality,
        "encodes": rendered.encodes,
        "seconds": rendered.seconds,
        "source": rendered.source,
    }


def read_rendered(message: Mapping[str, Any], wanted: Wanted, body: bytes, content_type: str) -> Rendered:
    """The variant of such a message. Raises KeyError, TypeError or ValueError when it is none."""
    quality = message["quality"]
    across, down = message["source"]
    return Rendered(
        name=wanted.name,
        format=wanted.format,
        body=body,
        width=int(message["width"]),
        height=int(message["height"]),
        quality=None if quality is None else int(quality),
        encodes=int(message["encodes"]),
        content_type=content_type,
        seconds=float(message["seconds"]),
        source=(int(across), int(down)),
    )
