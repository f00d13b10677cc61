"""A picture -> the bytes of one format. The options stand here; what was measured for them is in decisions.md."""

from io import BytesIO
from typing import Any

from PIL import Image

from migrator.images.colour import fitting, srgb
from migrator.images.opening import Metadata, Picture

AVIF_SPEED = 8
"""Of 0 to 10: a third of the CPU of Pillow's 6 for 3 % more bytes and 0.3 dB less on photographs of 1 MP."""

_OPTIONS: dict[str, dict[str, Any]] = {
    "jpeg": {"progressive": True, "optimize": True},
    "webp": {"method": 4},
    "avif": {"speed": AVIF_SPEED, "max_threads": 1},
    "png": {"compress_level": 6},
}

_OPAQUE = frozenset({"jpeg"})
"""Formats without transparency."""

_WITHOUT_GRAY = frozenset({"webp", "avif"})
"""Formats that hold gray as RGB, or may: a profile of gray colours cannot stand in them."""


def prepared(picture: Picture, image_format: str, background: tuple[int, int, int], *, strip: bool) -> Picture:
    """`picture` as `image_format` can hold it: with its profile or as sRGB, opaque where there is no transparency."""
    frames = picture.frames
    profile = fitting(frames[0], picture.metadata.profile)
    if image_format in _OPAQUE:
        frames = tuple(flattened(frame, background) for frame in frames)
        profile = fitting(frames[0], profile)
    if profile and image_format in _WITHOUT_GRAY and frames[0].mode in ("L", "LA"):
        frames = tuple(srgb(frame, profile) for frame in frames)
        profile = b""
    frames = tuple(_bare(frame) for frame in frames)
    kept = picture.metadata
    metadata = Metadata(profile) if strip else Metadata(profile, kept.exif, kept.xmp, kept.iptc)
    return Picture(frames, metadata, picture.durations, picture.loop)


def _bare(image: Image.Image) -> Image.Image:
    """`image` without what its file said: encoders write some of that down again, comments for one."""
    # The image of an opened file reads from it, so that one is left as it is.
    bare = image if type(image) is Image.Image else image.copy()
    bare.info = {}
    return bare


def flattened(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """`image` over a colour, without transparency; gray only where the colour is gray too."""
    if not image.mode.endswith("A"):
        return image
    gray = image.mode == "LA" and len(set(background)) == 1
    below = Image.new("L" if gray else "RGB", image.size, background[0] if gray else background)
    below.paste(image.convert("L") if gray else image.convert("RGB"), (0, 0), image.getchannel("A"))
    return below


def encoded(image_format: str, picture: Picture, quality: int) -> bytes:
    """The bytes of a prepared picture; `quality` says nothing to PNG."""
    options = dict(_OPTIONS[image_format])
    if image_format != "png":
        options["quality"] = quality
    metadata = picture.metadata
    if metadata.profile:
        options["icc_profile"] = metadata.profile
    if metadata.exif:
        options["exif"] = metadata.exif
    if metadata.xmp and image_format != "png":
        options["xmp"] = metadata.xmp
    if metadata.iptc and image_format == "jpeg":
        options["extra"] = _segment(0xED, metadata.iptc)
    first, *others = picture.frames
    if others:
        options |= {"save_all": True, "append_images": others, "duration": [round(each) for each in picture.durations]}
        if image_format != "avif":
            options["loop"] = picture.loop
    buffer = BytesIO()
    first.save(buffer, image_format, **options)
    return buffer.getvalue()


def _segment(marker: int, body: bytes) -> bytes:
    """A JPEG segment. (ITU T.81, B.1.1.4)"""
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body
