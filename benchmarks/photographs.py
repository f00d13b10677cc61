"""Photographs out of a seed: haze, sky, edges, texture and grain, so that they shrink and encode as real ones do."""

import random
from io import BytesIO

from PIL import Image, ImageChops, ImageDraw, ImageFilter

TWELVE_MEGAPIXELS = (4000, 3000)


def photograph(seed: int, size: tuple[int, int] = (1600, 1200)) -> Image.Image:
    """The same picture each time for one seed and size. Seeds differ in roughness, grain, shapes and light."""
    rng = random.Random(seed)
    ground = _surface(rng, size, roughness=rng.uniform(0.4, 0.85))
    picture = ground
    for _ in range(rng.randint(3, 9)):
        picture.paste(_surface(rng, size, rng.uniform(0.3, 0.9)), (0, 0), _shape(rng, size))
    light = Image.linear_gradient("L").rotate(rng.choice((0, 90, 180, 270))).resize(size)
    picture = Image.blend(picture, Image.merge("RGB", (light, light, light)), rng.uniform(0.05, 0.3))
    if rng.random() < 0.4:
        blurred = picture.resize((size[0] // 4, size[1] // 4), Image.Resampling.BOX)
        blurred = blurred.filter(ImageFilter.GaussianBlur(rng.uniform(1, 4))).resize(size, Image.Resampling.BICUBIC)
        picture.paste(blurred, (0, 0), _shape(rng, size))
    return _grained(rng, picture, rng.uniform(0.0, 0.05))


def photograph_jpeg(seed: int, size: tuple[int, int], *, quality: int = 92, orientation: int = 1) -> bytes:
    """The same as a camera would store it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = BytesIO()
    photograph(seed, size).save(buffer, "JPEG", quality=quality, exif=exif)
    return buffer.getvalue()


def _noise(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    return Image.frombytes("L", size, rng.randbytes(size[0] * size[1]))


def _surface(rng: random.Random, size: tuple[int, int], roughness: float) -> Image.Image:
    """Octaves of noise whose strength falls with their frequency, as in natural scenes; the colour changes slowly."""
    lightness = _octaves(rng, size, roughness, count=10)
    warmth, tint = (_octaves(rng, size, 0.3, count=3) for _ in range(2))
    centre = rng.randint(70, 190)
    contrast = rng.uniform(0.6, 1.6)
    lightness = lightness.point([max(0, min(255, round(centre + (v - 128) * contrast))) for v in range(256)])
    offsets = rng.randint(-30, 30), rng.randint(-30, 30)
    warmth, tint = (
        plane.point([max(0, min(255, round(128 + shift + (v - 128) * 0.4))) for v in range(256)])
        for plane, shift in zip((warmth, tint), offsets, strict=True)
    )
    return Image.merge("YCbCr", (lightness, warmth, tint)).convert("RGB")


def _octaves(rng: random.Random, size: tuple[int, int], roughness: float, count: int) -> Image.Image:
    side = max(size)
    total = Image.new("L", size, 128)
    weight = 1.0
    for octave in range(count):
        cells = 3 * 2**octave
        grid = (max(2, size[0] * cells // side), max(2, size[1] * cells // side))
        layer = _noise(rng, grid).resize(size, Image.Resampling.BICUBIC)
        total = Image.blend(total, layer, weight / (1 + weight)) if octave else layer
        weight *= roughness
    return total


def _shape(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """A mask with hard edges; drawn small and enlarged would be soft, so it is drawn as it is."""
    mask = Image.new("L", size, 0)
    draw = ImageDraw.Draw(mask)
    width, height = size
    corners = [(rng.uniform(0, width), rng.uniform(0, height)) for _ in range(rng.randint(3, 6))]
    if rng.random() < 0.35:
        (left, top), radius = corners[0], rng.uniform(0.05, 0.25) * height
        draw.ellipse((left - radius, top - radius, left + radius, top + radius), fill=255)
    else:
        draw.polygon(corners, fill=255)
    return mask


def _grained(rng: random.Random, picture: Image.Image, strength: float) -> Image.Image:
    grain = _noise(rng, picture.size).filter(ImageFilter.BoxBlur(0.6))
    grain = grain.point([round(128 + (v - 128) * strength * 2) for v in range(256)])
    return ImageChops.add(picture, Image.merge("RGB", (grain, grain, grain)), scale=1, offset=-128)
