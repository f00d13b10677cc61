"""Files that are cut, that lie, or that are no images at all, and the words by which each must be refused."""

import struct
import zlib

from tests.images.awkward import png_chunk
from tests.images.chart import chart, saved

CUTS = (0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 0.97)
"""Where a JPEG is cut, as a part of its length."""

PNG = b"\x89PNG\r\n\x1a\n"


def _png(width: int, height: int, *chunks: bytes, bits: int = 8, colour: int = 0) -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return PNG + head + b"".join(chunks) + png_chunk(b"IEND", b"")


def _tiff(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """Entries (tag, type, count, value) of one directory, little-endian."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", following) + bytes(64)


def _bmp(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 12, 0, 0, 54) + info + bytes(12)


def cut() -> dict[str, tuple[bytes, str]]:
    """Truncated files of every format."""
    noise = chart((640, 480)).effect_spread(60)
    jpeg = saved(noise, "JPEG", quality=90)
    found = {f"cut-{part}.jpg": (jpeg[: int(len(jpeg) * part)], r"truncated|it is damaged") for part in CUTS}
    whole = {
        "cut-progressive.jpg": saved(noise, "JPEG", quality=90, progressive=True),
        "cut.png": saved(noise, "PNG"),
        "cut.gif": saved(noise, "GIF"),
        "cut.webp": saved(noise, "WEBP"),
        "cut.avif": saved(noise, "AVIF"),
        "cut.tif": saved(noise, "TIFF", compression="tiff_lzw"),
        "cut.bmp": saved(noise, "BMP"),
    }
    said = r"truncated|it is damaged|could not create decoder|decod|broken|not enough|Truncated"
    return found | {name: (data[: len(data) // 2], said) for name, data in whole.items()}


def bombs() -> dict[str, tuple[bytes, str]]:
    """Small files that stand for very many pixels or bytes."""
    text = zlib.compress(bytes(200_000_000), 9)
    zeros = zlib.compress(bytes(1000))
    return {
        "bomb.png": (_png(30_000, 30_000, png_chunk(b"IDAT", zeros)), "900000000|30000 x 30000 pixels"),
        "bomb-widest.png": (_png(2**31 - 1, 2**31 - 1, png_chunk(b"IDAT", zeros)), "pixels"),
        "bomb.gif": (b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"\x2c" + bytes(9) + b"\x3b", "pixels"),
        "bomb.bmp": (_bmp(60_000, 60_000), "60000 x 60000 pixels"),
        "bomb.tif": (
            _tiff((256, 4, 1, 100_000), (257, 4, 1, 100_000), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8)),
            "100000 x 100000 pixels",
        ),
        "bomb.webp": (
            b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xfe\x3f\0\xfe\x3f\0",
            "pixels|it is damaged|decoder",
        ),
        "bomb-text.png": (
            _png(8, 8, png_chunk(b"zTXt", b"a\0\0" + text), png_chunk(b"IDAT", zeros)),
            "too large|ecompress",
        ),
    }


def no_images() -> dict[str, tuple[bytes, str]]:
    """What a name ending in .jpg may hide."""
    return {
        "html.jpg": (b"<!doctype html><title>Login</title>", "no decoder here for text/html"),
        "pdf.jpg": (b"%PDF-1.7\n", "no decoder here for application/pdf"),
        "zip.jpg": (b"PK\x03\x04" + bytes(40), "no decoder here for application/zip"),
        "svg.jpg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no decoder here for image/svg"),
        "postscript.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "no decoder here for bytes of no known"),
        "heic.jpg": (b"\0\0\0\x18ftypheic" + bytes(16), "no decoder here for image/heic"),
        "jxl.jpg": (b"\xff\x0a" + bytes(20), "no decoder here for image/jxl"),
        "icon.jpg": (saved(chart((32, 32)), "ICO"), "no decoder here for image/vnd.microsoft.icon"),
        "psd.jpg": (b"8BPS\0\1" + bytes(30), "no decoder here for bytes of no known"),
        "empty.jpg": (b"", "no decoder here for bytes of no known"),
        "zeros.jpg": (bytes(4096), "no decoder here for bytes of no known"),
    }


def liars() -> dict[str, tuple[bytes, str]]:
    """Headers that say what is not so."""
    jpeg, png = saved(chart(), "JPEG", quality=90), saved(chart(), "PNG")
    frame = jpeg.index(b"\xff\xc0")
    gif = saved(chart().quantize(4), "GIF")
    return {
        "no-lines.jpg": (jpeg[: frame + 5] + bytes(4) + jpeg[frame + 9 :], "it is damaged|truncated|broken|image"),
        "no-tables.jpg": (jpeg.replace(b"\xff\xdb", b"\xff\xe5"), "broken|truncated|decod"),
        "no-width.png": (_png(0, 5, png_chunk(b"IDAT", zlib.compress(b""))), "it is damaged|pixels|image"),
        "odd-bits.png": (_png(8, 8, png_chunk(b"IDAT", zlib.compress(bytes(72))), bits=7), "it is damaged|mode"),
        "wrong-sum.png": (png[:40] + bytes((png[40] ^ 1,)) + png[41:], "broken|it is damaged"),
        "long-chunk.png": (
            PNG + struct.pack(">I", 0xFFFFFFFF) + b"IHDR" + bytes(64),
            "it is damaged|[Tt]runcated|broken",
        ),
        "no-pixels.png": (_png(64, 64), "truncated|broken|image"),
        "nothing.gif": (gif[:13] + b"\x3b", "it is damaged|image|decod"),
        "far-strip.tif": (
            _tiff(
                *((256, 3, 1, 64), (257, 3, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)),
                *((273, 4, 1, 1 << 30), (277, 3, 1, 1), (278, 3, 1, 64), (279, 4, 1, 4096)),
            ),
            "truncated|decod|image",
        ),
        "no-directory.tif": (b"II*\0" + struct.pack("<I", 1 << 31), "it is damaged|image"),
        "brand-only.avif": (b"\0\0\0\x14ftypavif\0\0\0\0avif", "it is damaged|decod|Invalid"),
        "riff-only.webp": (b"RIFF\x10\0\0\0WEBPVP8 \0\0\0\0", "it is damaged|decod"),
    }


def cases() -> dict[str, tuple[bytes, str]]:
    """All that must be refused: the bytes, and a pattern of the message."""
    return cut() | bombs() | no_images() | liars()
