"""Pixels of every mode become L, LA, RGB or RGBA of 8 bits, and colours keep their meaning."""

import math
from io import BytesIO

from PIL import Image, ImageCms

_SPACES = {b"GRAY": ("L", "LA"), b"RGB ": ("RGB", "RGBA")}
"""Modes that a profile of each colour space can stand beside. (ICC.1:2022, 7.2.8)"""

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def plain(image: Image.Image, profile: bytes) -> Image.Image:
    """`image` in L, LA, RGB or RGBA. CMYK and Lab become sRGB, by their profile where it is a sound one."""
    image = _eight_bits(image)
    match image.mode:
        case "L" | "RGB":
            # One colour of these may be declared transparent (tRNS).
            if image.info.get("transparency") is not None:
                image = image.convert("LA" if image.mode == "L" else "RGBA")
        case "LA" | "RGBA":
            pass
        case "P":
            image = image.convert("RGBA" if image.info.get("transparency") is not None else "RGB")
        case "PA" | "RGBa":
            image = image.convert("RGBA")
        case "La":
            image = image.convert("LA")
        case "1":
            image = image.convert("L")
        case "CMYK":
            image = _converted(image, profile if _space(profile) == b"CMYK" else b"") or image.convert("RGB")
        case "LAB":
            image = _converted(image, _LAB) or image.getchannel("L")
        case _:
            image = image.convert("RGB")
    return _without_idle_alpha(image)


def fitting(image: Image.Image, profile: bytes) -> bytes:
    """`profile` where it is one for the mode of `image`; else nothing: the colours are sRGB then."""
    return profile if image.mode in _SPACES.get(_space(profile), ()) else b""


def srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """`image`, whose colours are those of `profile`, as sRGB in RGB or RGBA."""
    opaque = image.convert("L" if image.mode == "LA" else "RGB") if image.mode.endswith("A") else image
    converted = _converted(opaque, profile) or opaque.convert("RGB")
    if image.mode.endswith("A"):
        converted.putalpha(image.getchannel("A"))
    return converted


def _space(profile: bytes) -> bytes:
    """The colour space that a profile says it is of; empty for what is no profile."""
    return profile[16:20] if len(profile) >= 128 and profile[36:40] == b"acsp" else b""


def _converted(image: Image.Image, profile: bytes) -> Image.Image | None:
    """`image` as sRGB; None where the profile cannot be used."""
    if not profile:
        return None
    try:
        return ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(BytesIO(profile)),
            _SRGB,
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _eight_bits(image: Image.Image) -> Image.Image:
    """16 and 32 bits, whole or not, become 8: by the range of the type where it is told, else of the values."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = image if image.mode in ("I", "F") else image.convert("I")
    low, high = (float(extreme) for extreme in values.getextrema())  # type: ignore[arg-type]
    if not (math.isfinite(low) and math.isfinite(high)):
        return values.convert("L")
    if image.mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif image.mode in ("I", "F") and low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    scale = 255 / ((high - low) or 1.0)
    # Half a step more: the conversion cuts off.
    return values.point(lambda value: value * scale + (0.5 - low * scale)).convert("L")


def _without_idle_alpha(image: Image.Image) -> Image.Image:
    """Without an alpha channel that hides nothing: it would only cost bytes."""
    if image.mode not in ("LA", "RGBA") or image.getchannel("A").getextrema() != (255, 255):
        return image
    return image.convert("L" if image.mode == "LA" else "RGB")
