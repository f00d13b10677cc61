"""Images of every mode, orientation and profile that have surprised somebody, and what must come out of each."""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image

from tests.images import profiles
from tests.images.chart import FIELDS, SIZE, Pixel, chart, grays, saved

ORIENTATION = 0x0112
_STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright picture is stored for a camera that was held like this: what EXIF then says undoes it."""


@dataclass(frozen=True)
class Case:
    """A file, and the colours of its fields within `tolerance` a channel."""

    data: bytes
    expected: Mapping[tuple[int, int], Pixel] = field(default_factory=lambda: FIELDS)
    tolerance: int = 2
    size: tuple[int, int] = SIZE


def oriented(number: int, image_format: str = "JPEG", **options: object) -> bytes:
    """The chart as a camera stores it."""
    exif = Image.Exif()
    exif[ORIENTATION] = number
    method = _STORED.get(number)
    image = chart() if method is None else chart().transpose(method)
    return saved(image, image_format, exif=exif, **options)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def deep_png(colour_type: int) -> bytes:
    """The chart with 16 bits a channel, which Pillow does not write in colour: 2 for RGB, 6 for RGBA."""
    rows = b""
    for y in range(SIZE[1]):
        rows += b"\0"
        for x in range(SIZE[0]):
            colour = FIELDS[2 * x // SIZE[0], 2 * y // SIZE[1]]
            rows += b"".join(
                struct.pack(">H", value * 257) for value in (*colour, *([255] if colour_type == 6 else []))
            )
    head = struct.pack(">IIBBBBB", *SIZE, 16, colour_type, 0, 0, 0)
    chunks = png_chunk(b"IHDR", head) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _see_through() -> Image.Image:
    """The chart, of which the last field is not there."""
    image = chart().convert("RGBA")
    image.paste((240, 220, 90, 0), (SIZE[0] // 2, SIZE[1] // 2, *SIZE))
    return image


def _index(image: Image.Image, column: int, row: int) -> int:
    value = image.getpixel((1 + column * SIZE[0] // 2, 1 + row * SIZE[1] // 2))
    assert isinstance(value, (int, float))
    return int(value)


def _numbers(mode: str, scale: float) -> Image.Image:
    """The gray chart in a mode of numbers: 255 becomes 255 times `scale`."""
    return chart().convert("L").convert(mode).point(lambda value: value * scale)


HOLE = {**FIELDS, (1, 1): (255, 255, 255)}
"""Where transparency lies over the white background."""


def _triples(values: Mapping[tuple[int, int], Pixel]) -> dict[tuple[int, int], Pixel]:
    """Gray as RGB has it."""
    return {at: value * 3 for at, value in values.items()}


def modes() -> dict[str, Case]:
    """Every mode in every format that holds it."""
    rgb, gray, see_through, palette = chart(), chart().convert("L"), _see_through(), chart().quantize(4)
    deep = _numbers("I", 257).convert("I;16")
    bits = {at: (255 if value[0] > 127 else 0,) for at, value in grays().items()}
    hole_gray = {**grays(), (1, 1): (255,)}
    last = _index(palette, 1, 1)
    alpha = bytes(0 if index == last else 255 for index in range(4))
    return {
        "rgb.png": Case(saved(rgb, "PNG")),
        "gray.png": Case(saved(gray, "PNG"), grays()),
        "gray-alpha.png": Case(saved(see_through.convert("LA"), "PNG"), hole_gray),
        "rgba.png": Case(saved(see_through, "PNG"), HOLE),
        "palette.png": Case(saved(palette, "PNG")),
        "palette-index.png": Case(saved(palette, "PNG", transparency=last), HOLE),
        "palette-alpha.png": Case(saved(palette, "PNG", transparency=alpha), HOLE),
        "rgb-colour-key.png": Case(saved(rgb, "PNG", transparency=FIELDS[1, 1]), HOLE),
        "gray-colour-key.png": Case(saved(gray, "PNG", transparency=grays()[1, 1][0]), hole_gray),
        "bits.png": Case(saved(gray.point(lambda v: 255 if v > 127 else 0).convert("1"), "PNG"), bits),
        "sixteen-gray.png": Case(saved(deep, "PNG"), grays()),
        "sixteen-rgb.png": Case(deep_png(2)),
        "sixteen-rgba.png": Case(deep_png(6)),
        "rgb.jpg": Case(saved(rgb, "JPEG", quality=95), tolerance=4),
        "gray.jpg": Case(saved(gray, "JPEG", quality=95), grays()),
        "progressive.jpg": Case(saved(rgb, "JPEG", quality=95, progressive=True), tolerance=4),
        "cmyk-adobe.jpg": Case(saved(rgb.convert("CMYK"), "JPEG", quality=95), tolerance=6),
        "two-pictures.mpo": Case(saved(rgb, "MPO", save_all=True, append_images=[gray.convert("RGB")]), tolerance=6),
        "rgb.bmp": Case(saved(rgb, "BMP")),
        "palette.bmp": Case(saved(palette, "BMP")),
        "bits.bmp": Case(saved(gray.point(lambda v: 255 if v > 127 else 0).convert("1"), "BMP"), bits),
        "rgb.tif": Case(saved(rgb, "TIFF")),
        "lzw.tif": Case(saved(rgb, "TIFF", compression="tiff_lzw")),
        "jpeg.tif": Case(saved(rgb, "TIFF", compression="jpeg", quality=95), tolerance=6),
        "cmyk.tif": Case(saved(rgb.convert("CMYK"), "TIFF")),
        "rgba.tif": Case(saved(see_through, "TIFF"), HOLE),
        "palette.tif": Case(saved(palette, "TIFF")),
        "bits.tif": Case(saved(gray.point(lambda v: 255 if v > 127 else 0).convert("1"), "TIFF"), bits),
        "sixteen.tif": Case(saved(deep, "TIFF"), grays()),
        "sixteen-big.tif": Case(saved(_numbers("I", 257).convert("I;16B"), "TIFF"), grays()),
        "whole-numbers.tif": Case(saved(_numbers("I", 257), "TIFF"), grays()),
        "unit-floats.tif": Case(saved(_numbers("F", 1 / 255), "TIFF"), grays()),
        "byte-floats.tif": Case(saved(_numbers("F", 1), "TIFF"), grays()),
        "ycbcr.tif": Case(saved(rgb.convert("YCbCr"), "TIFF"), tolerance=4),
        "lab.tif": Case(saved(_lab(rgb), "TIFF"), tolerance=8),
        "palette.gif": Case(saved(palette, "GIF")),
        "see-through.gif": Case(saved(palette, "GIF", transparency=last), HOLE),
        "gray.gif": Case(saved(gray, "GIF"), _triples(grays())),
        "animated.gif": Case(film("GIF")),
        "animated.webp": Case(film("WEBP", lossless=True)),
        "animated.png": Case(film("PNG")),
        "animated.avif": Case(film("AVIF", quality=95), tolerance=10),
        "lossy.webp": Case(saved(rgb, "WEBP", quality=95), tolerance=8),
        "lossless.webp": Case(saved(rgb, "WEBP", lossless=True)),
        "rgba.webp": Case(saved(see_through, "WEBP", lossless=True), HOLE),
        "rgb.avif": Case(saved(rgb, "AVIF", quality=95), tolerance=8),
        "rgba.avif": Case(saved(see_through, "AVIF", quality=95), HOLE, 8),
        "gray.avif": Case(saved(gray, "AVIF", quality=95), grays(), 8),
    }


def _lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    made = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert made is not None
    return made


def film(image_format: str, **options: object) -> bytes:
    """The chart, then the chart upside down, then gray; 80, 120 and 200 ms."""
    others = [chart().transpose(Image.Transpose.ROTATE_180), chart().convert("L").convert("RGB")]
    more = {} if image_format == "AVIF" else {"loop": 0}
    return saved(chart(), image_format, save_all=True, append_images=others, duration=[80, 120, 200], **more, **options)


def orientations() -> dict[str, Case]:
    """Every orientation, and those that mean nothing."""
    found = {f"orientation-{number}.jpg": Case(oriented(number, quality=95), tolerance=4) for number in range(1, 9)}
    return found | {
        "orientation-0.jpg": Case(oriented(0, quality=95), tolerance=4),
        "orientation-9.jpg": Case(oriented(9, quality=95), tolerance=4),
        "orientation-6.png": Case(oriented(6, "PNG")),
        "orientation-6.tif": Case(oriented(6, "TIFF")),
        "orientation-8.webp": Case(oriented(8, "WEBP", lossless=True)),
        "orientation-5.avif": Case(oriented(5, "AVIF", quality=95), tolerance=8),
    }


def profiled() -> dict[str, Case]:
    """Profiles that are applied, kept, or of no use."""
    gray, ink = chart().convert("L"), Image.new("CMYK", SIZE)
    half = SIZE[0] // 2, SIZE[1] // 2
    for (column, row), cyan in {(0, 0): 0, (1, 0): 255, (0, 1): 255, (1, 1): 0}.items():
        box = (column * half[0], row * half[1], (column + 1) * half[0], (row + 1) * half[1])
        ink.paste((cyan, 200, 200, 0), box)
    black, white = (0, 0, 0), (255, 255, 255)
    inked = {(0, 0): white, (1, 0): black, (0, 1): black, (1, 1): white}
    naive = {at: (255 if colour == white else 0, 55, 55) for at, colour in inked.items()}
    return {
        "srgb-profile.jpg": Case(saved(chart(), "JPEG", quality=95, icc_profile=profiles.SRGB), tolerance=4),
        "swapped-profile.png": Case(saved(chart(), "PNG", icc_profile=profiles.swapped())),
        "gray-profile.png": Case(saved(gray, "PNG", icc_profile=profiles.gray(2.2)), grays(), 8),
        "cmyk-profile.jpg": Case(saved(ink, "JPEG", quality=98, icc_profile=profiles.cmyk()), inked, 8),
        "cmyk-profile.tif": Case(saved(ink, "TIFF", icc_profile=profiles.cmyk()), inked, 8),
        "cmyk-broken-profile.tif": Case(saved(ink, "TIFF", icc_profile=b"no profile" * 30), naive, 2),
        "broken-profile.png": Case(saved(chart(), "PNG", icc_profile=b"no profile")),
        "rgb-profile-of-gray.png": Case(saved(gray, "PNG", icc_profile=profiles.SRGB), grays()),
        "cmyk-profile-of-rgb.png": Case(saved(chart(), "PNG", icc_profile=profiles.cmyk())),
    }


def cases() -> dict[str, Case]:
    """All that can be rendered."""
    return modes() | orientations() | profiled()
