"""The ten sample images of `migrator smoke`, made by Pillow: one of each kind that has surprised somebody."""

from io import BytesIO

from PIL import Image, ImageDraw

ORIENTATION = 0x0112
"""The EXIF tag; 6 means: turn 90 degrees clockwise to look at it."""


def samples() -> dict[str, bytes]:
    """File name -> bytes. The same bytes every time for one version of Pillow."""
    picture = _picture(320, 240)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    see_through = picture.convert("RGBA")
    see_through.putalpha(Image.linear_gradient("L").resize(picture.size))
    deep = Image.linear_gradient("L").resize((64, 64)).convert("I").point(lambda value: value * 257)
    frames = [picture.rotate(angle).resize((80, 60)) for angle in (0, 90, 180)]
    return {
        "orientation.jpg": _save(picture, "JPEG", quality=85, exif=exif),
        "transparent.png": _save(see_through, "PNG"),
        "palette.png": _save(picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=64), "PNG"),
        "photo.webp": _save(picture, "WEBP", quality=80),
        "photo.avif": _save(picture, "AVIF", quality=60),
        "animated.gif": _save(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=120, loop=0),
        "cmyk.jpg": _save(picture.convert("CMYK"), "JPEG", quality=85),
        "sixteen-bit.png": _save(deep.convert("I;16"), "PNG"),
        "progressive.jpg": _save(picture, "JPEG", quality=85, progressive=True),
        "tiny.png": _save(Image.new("RGB", (1, 1), "teal"), "PNG"),
    }


def _picture(width: int, height: int) -> Image.Image:
    """A sky over a hill with a sun in it: gradients and edges, as photographs have."""
    gradient = Image.linear_gradient("L").resize((width, height))
    picture = Image.merge("RGB", (gradient, gradient.point(lambda v: 255 - v // 2), Image.new("L", gradient.size, 210)))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((width * 0.65, height * 0.1, width * 0.85, height * 0.4), fill=(255, 214, 92))
    draw.polygon([(0, height), (width * 0.4, height * 0.5), (width, height)], fill=(46, 110, 72))
    return picture


def _save(image: Image.Image, format_name: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()
