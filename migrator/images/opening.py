"""Bytes -> a checked, upright picture in a mode that can be resized. The bytes are hostile."""

import re
from collections.abc import Iterator, Sequence
from io import BytesIO

from msgspec import Struct
from PIL import AvifImagePlugin, Image

from migrator.core.content import sniff
from migrator.core.errors import Unrendered
from migrator.images.colour import plain
from migrator.images.spec import Size

# One worker a core: a decoder with threads of its own would only get in the way of the others.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
# The bound is checked below, before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

DECODERS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/avif": "AVIF",
    "image/tiff": "TIFF",
    "image/bmp": "BMP",
}
"""The formats that are decoded, told by their bytes; Pillow is shown no others."""

ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
"""Formats whose further images are frames; those of others are pages or previews."""

GAP = 1.5
"""How many times larger than what is wanted an image is that a decoder makes smaller by itself: 48 dB and more between
what comes of that and of all pixels, measured on photographs (decisions.md)."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its EXIF orientation. (Exif 2.32, 4.6.4)"""

_XMP_ORIENTATION = re.compile(rb'\s*tiff:Orientation="[0-9]"|<tiff:Orientation>[0-9]</tiff:Orientation>')


class Metadata(Struct, frozen=True):
    """What an image says of itself; empty where it says nothing. `profile` is its ICC profile."""

    profile: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""


class Picture(Struct, frozen=True):
    """Decoded pixels in L, LA, RGB or RGBA, one image a frame; `durations` in milliseconds, `loop` 0 for ever."""

    frames: tuple[Image.Image, ...]
    metadata: Metadata = Metadata()
    durations: tuple[float, ...] = ()
    loop: int = 0

    @property
    def size(self) -> Size:
        """Of every frame."""
        return self.frames[0].size

    @property
    def first(self) -> "Picture":
        """The picture as a still."""
        return Picture(self.frames[:1], self.metadata)


class Source:
    """An image that was opened and checked, but not decoded yet."""

    def __init__(self, data: bytes, pixels: int) -> None:
        """Raises Unrendered for a format that is not decoded, and for more than `pixels`."""
        kind = sniff(data[:1024])
        if kind not in DECODERS:
            raise Unrendered(f"no decoder here for {kind or 'bytes of no known image type'}")
        self._image = Image.open(BytesIO(data), formats=(DECODERS[kind],))
        width, height = self._image.size
        if width * height > pixels:
            raise Unrendered(f"{width} x {height} pixels; at most {pixels} are decoded")
        self._pixels = pixels
        self._orientation = self._read_orientation()
        self.size: Size = (height, width) if self._orientation >= 5 else (width, height)
        """Upright."""

    @property
    def frames(self) -> int:
        """More than 1 for an animation."""
        image = self._image
        return getattr(image, "n_frames", 1) if image.format in ANIMATED else 1

    def still(self, at_least: Size) -> Picture:
        """The first frame. A format that can be decoded smaller is, to no less than GAP times `at_least`."""
        if self._image.format in ("JPEG", "MPO"):
            width, height = (round(side * GAP) for side in at_least)
            self._image.draft(None, (height, width) if self._orientation >= 5 else (width, height))
        self._image.load()
        metadata = self._metadata()
        return Picture((self._upright(plain(self._image, metadata.profile)),), metadata)

    def animation(self, at_most: Size) -> Picture:
        """All frames, made no larger than `at_most` one by one, so that only those are held."""
        scale = min(1.0, at_most[0] / self.size[0], at_most[1] / self.size[1])
        size = max(1, round(self.size[0] * scale)), max(1, round(self.size[1] * scale))
        if size[0] * size[1] * self.frames > self._pixels:
            raise Unrendered(f"{self.frames} frames of {size[0]} x {size[1]} pixels; at most {self._pixels} are kept")
        frames: list[Image.Image] = []
        durations: list[float] = []
        for frame, duration in self._frames():
            if frame.size != size:
                frame = frame.resize(size, Image.Resampling.LANCZOS, reducing_gap=GAP)
            frames.append(frame)
            durations.append(duration)
        return Picture(_alike(frames), self._metadata(), tuple(durations), int(self._image.info.get("loop", 0) or 0))

    def _frames(self) -> Iterator[tuple[Image.Image, float]]:
        profile = self._metadata().profile
        for number in range(self.frames):
            self._image.seek(number)
            self._image.load()
            yield self._upright(plain(self._image, profile)), float(self._image.info.get("duration", 0) or 0)

    def _upright(self, image: Image.Image) -> Image.Image:
        method = _UPRIGHT.get(self._orientation)
        return image if method is None else image.transpose(method)

    def _read_orientation(self) -> int:
        # Pillow turns a TIFF while it decodes it.
        if self._image.format == "TIFF":
            return 1
        try:
            value = self._image.getexif().get(_ORIENTATION, 1)
        except Exception:
            return 1  # EXIF that nobody can read says nothing
        return value if value in _UPRIGHT else 1

    def _metadata(self) -> Metadata:
        """Read after the pixels: what PNG has to say may follow them."""
        info = self._image.info
        try:
            exif = self._image.getexif()
            exif.pop(_ORIENTATION, None)
            exif_bytes = exif.tobytes() if len(exif) else b""
        except Exception:
            exif_bytes = b""
        xmp = info.get("xmp", b"")
        segments: Sequence[tuple[str, bytes]] = getattr(self._image, "applist", ())
        return Metadata(
            profile=info.get("icc_profile") or b"",
            exif=exif_bytes,
            xmp=_XMP_ORIENTATION.sub(b"", xmp.encode() if isinstance(xmp, str) else bytes(xmp)),
            iptc=next((body for marker, body in segments if marker == "APP13"), b""),
        )


def _alike(frames: Sequence[Image.Image]) -> tuple[Image.Image, ...]:
    """All frames in one mode: some encoders take the mode of the first for that of all."""
    modes = {frame.mode for frame in frames}
    if len(modes) == 1:
        return tuple(frames)
    mode = "RGBA" if any(mode.endswith("A") for mode in modes) else "RGB"
    return tuple(frame.convert(mode) for frame in frames)
