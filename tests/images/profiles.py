"""ICC profiles made by hand, as small as they may be. (ICC.1:2001-04)"""

import struct

from PIL import ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

_D50 = (0.9642, 1.0, 0.8249)


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _description(text: bytes) -> bytes:
    body = b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(78)
    return body + bytes(-len(body) % 4)


def profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile of a device `kind` (mntr, prtr) with colours in `space`."""
    tags = {b"desc": _description(b"made for a test"), b"wtpt": _xyz(*_D50), **tags}
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += struct.pack(">4sII", name, offset + len(body), len(value))
        body += value
    size = offset + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, kind, space, connection)
    head += bytes(12) + b"acsp" + bytes(28) + b"".join(struct.pack(">i", round(v * 65536)) for v in _D50)
    return head.ljust(128, b"\0") + table + body


def gray(gamma: float) -> bytes:
    """Gray whose light is the `gamma`-th power of its value."""
    return profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def swapped() -> bytes:
    """RGB whose red is blue and whose blue is red: nobody overlooks it when it is not applied."""
    red, green, blue = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    tags = {b"rXYZ": _xyz(*blue), b"gXYZ": _xyz(*green), b"bXYZ": _xyz(*red)}
    return profile(b"mntr", b"RGB ", b"XYZ ", tags | {name: _curve(2.2) for name in (b"rTRC", b"gTRC", b"bTRC")})


def cmyk() -> bytes:
    """Ink in which cyan alone tells how light it is: 0 is white, all else of the inks is without effect."""
    identity = bytes(range(256))
    # Corners of the four inks, cyan the slowest: white (L 255, a and b in the middle) without it, black with it.
    corners = bytes((255, 128, 128)) * 8 + bytes((0, 128, 128)) * 8
    matrix = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + matrix + identity * 4 + corners + identity * 3
    return profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})
