"""What the options of a variant do, seen in the files that come out."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from PIL import Image, ImageCms

from benchmarks.photographs import photograph, photograph_jpeg
from migrator.core.errors import Unrendered
from migrator.core.variants import Fit, Rendered, Wanted
from migrator.images.render import render
from tests.images import profiles
from tests.images.awkward import ORIENTATION, film
from tests.images.chart import FIELDS, SIZE, chart, fields, opened, saved

JPEG = saved(chart(), "JPEG", quality=95)
FORMATS = ("jpeg", "webp", "avif", "png")


def made(data: bytes, *wanted: Wanted) -> list[Rendered]:
    """The variants in the order in which they are wanted."""
    found: dict[int, Rendered] = {}
    for number, result in render(data, wanted, lambda _: None, 100_000_000):
        assert isinstance(result, Rendered), result
        found[number] = result
    return [found[number] for number in range(len(wanted))]


def one(data: bytes, image_format: str = "png", **options: Any) -> Rendered:
    return made(data, Wanted("v", image_format, **{"width": 80, "height": 60, **options}))[0]


def close(image: Image.Image, expected: dict[tuple[int, int], Any], tolerance: int) -> bool:
    seen = fields(image.convert("RGB"))
    return all(abs(a - b) <= tolerance for at in expected for a, b in zip(seen[at], expected[at], strict=True))


def test_a_jpeg_is_progressive_and_has_tables_of_its_own() -> None:
    variant = one(photograph_jpeg(1, (400, 300)), "jpeg", width=300, height=300)
    assert b"\xff\xc2" in variant.body[:2000]
    assert opened(variant.body).info["progressive"]
    plain = saved(opened(variant.body), "JPEG", quality=85)
    assert len(variant.body) < len(plain)


def test_fits() -> None:
    sizes = {fit: (one(JPEG, width=60, height=60, fit=fit)) for fit in Fit}
    assert {fit: (each.width, each.height) for fit, each in sizes.items()} == {
        Fit.INSIDE: (60, 45),
        Fit.COVER: (60, 60),
        Fit.CONTAIN: (60, 60),
    }
    bordered = opened(one(JPEG, width=60, height=60, fit=Fit.CONTAIN, background=(255, 0, 255)).body)
    assert bordered.getpixel((30, 3)) == bordered.getpixel((30, 56)) == (255, 0, 255)
    assert close(bordered.crop((0, 8, 60, 52)), dict(FIELDS), 4)


def test_nothing_is_enlarged() -> None:
    variant = one(JPEG, width=4000, height=4000)
    assert (variant.width, variant.height) == SIZE
    assert close(opened(variant.body), dict(FIELDS), 4)


def test_transparency_stays_where_the_format_has_it() -> None:
    image = chart().convert("RGBA")
    image.putalpha(Image.new("L", SIZE, 102))
    data = saved(image, "PNG")
    for image_format in ("webp", "avif", "png"):
        alpha = opened(one(data, image_format, quality=95).body).getchannel("A").getextrema()
        assert abs(alpha[0] - 102) <= 2  # type: ignore[operator]
    seen = fields(opened(one(data, "jpeg", quality=95, background=(0, 0, 255)).body))
    assert all(abs(a - b) <= 6 for a, b in zip(seen[0, 0], (80, 16, 165), strict=True))


def test_alpha_that_hides_nothing_costs_nothing() -> None:
    variant = one(saved(chart().convert("RGBA"), "PNG"), "webp")
    assert opened(variant.body).mode == "RGB"


def test_colours_do_not_bleed_out_of_what_cannot_be_seen() -> None:
    """Transparent pixels of another colour beside opaque ones: a resize that forgets the alpha mixes them."""
    image = Image.new("RGBA", (160, 160), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 81, 160))
    edge = opened(one(saved(image, "PNG"), width=40, height=40).body).convert("RGBA").crop((19, 0, 22, 40))
    seen = [pixel for pixel in edge.get_flattened_data() if isinstance(pixel, tuple) and pixel[3] > 8]
    assert seen
    assert all(pixel[0] < 30 for pixel in seen)


GPS = 0x8825


def _with_metadata(image_format: str) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "A camera"
    exif.get_ifd(GPS)[1] = "N"
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6">A title</a></x:xmpmeta>'
    turned = chart().transpose(Image.Transpose.ROTATE_90)
    options: dict[str, Any] = {"exif": exif, "xmp": xmp, "icc_profile": profiles.swapped()}
    if image_format == "JPEG":
        options |= {"comment": b"A comment", "extra": b"\xff\xed\x00\x12Photoshop 3.0\x00IP"}
    return saved(turned, image_format, **options)


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("source", ["JPEG", "WEBP"])
def test_metadata_goes_and_the_profile_stays(source: str, image_format: str) -> None:
    variant = one(_with_metadata(source), image_format, quality=95)
    image = opened(variant.body)
    assert (variant.width, variant.height) == (80, 60)
    assert not len(image.getexif())
    assert image.info["icc_profile"] == profiles.swapped()
    for secret in (b"A camera", b"A title", b"A comment", b"Photoshop", b"Exif"):
        assert secret not in variant.body
    assert close(image, dict(FIELDS), 14)


@pytest.mark.parametrize("image_format", ["jpeg", "webp", "avif"])
def test_metadata_stays_on_demand_but_for_the_orientation(image_format: str) -> None:
    variant = one(_with_metadata("JPEG"), image_format, quality=95, strip=False)
    image = opened(variant.body)
    assert image.getexif().get(0x010F) == "A camera"
    assert image.getexif().get_ifd(GPS) == {1: "N"}
    assert ORIENTATION not in image.getexif()
    assert b"A title" in image.info["xmp"]
    assert b"Orientation" not in image.info["xmp"]
    assert (b"Photoshop 3.0" in variant.body) == (image_format == "jpeg")
    assert close(image, dict(FIELDS), 14)


def test_gray_of_a_profile_is_srgb_where_the_format_has_no_gray() -> None:
    data = saved(Image.new("L", (64, 64), 64), "PNG", icc_profile=profiles.gray(1.0))
    png, webp = (opened(one(data, each, quality=95).body) for each in ("png", "webp"))
    assert (png.mode, png.getpixel((9, 9)), png.info["icc_profile"]) == ("L", 64, profiles.gray(1.0))
    # A quarter of the light is 137 in sRGB. (IEC 61966-2-1)
    assert "icc_profile" not in webp.info
    assert all(abs(value - 137) <= 2 for value in fields(webp)[0, 0])


def test_a_profile_that_is_kept_looks_the_same_when_it_is_applied() -> None:
    image = opened(one(saved(chart(), "PNG", icc_profile=profiles.swapped())).body)
    seen = ImageCms.profileToProfile(image, image_profile(image), ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert seen is not None
    red, _, blue = fields(seen)[0, 0]
    assert blue > 150 > 60 > red


def image_profile(image: Image.Image) -> ImageCms.ImageCmsProfile:
    from io import BytesIO

    return ImageCms.ImageCmsProfile(BytesIO(image.info["icc_profile"]))


@pytest.mark.parametrize("image_format", ["webp", "avif", "png"])
@pytest.mark.parametrize("source", ["GIF", "WEBP", "PNG", "AVIF"])
def test_frames_stay_on_demand(source: str, image_format: str) -> None:
    data = film(source, **({"lossless": True} if source == "WEBP" else {}))
    still, moving = made(
        data,
        Wanted("still", image_format, 80, 60, quality=95),
        Wanted("moving", image_format, 80, 60, quality=95, animated=True),
    )
    assert getattr(opened(still.body), "n_frames", 1) == 1
    image = opened(moving.body)
    assert image.n_frames == 3  # type: ignore[attr-defined]
    durations, seen = [], []
    for number in range(3):
        image.seek(number)
        image.load()
        durations.append(round(image.info["duration"]))
        seen.append(fields(image.convert("RGB")))
    assert durations == [80, 120, 200]
    turned = {(1 - column, 1 - row): colour for (column, row), colour in FIELDS.items()}
    for at in FIELDS:
        assert all(abs(a - b) <= 24 for a, b in zip(seen[0][at], FIELDS[at], strict=True)), (seen[0], FIELDS)
        assert all(abs(a - b) <= 24 for a, b in zip(seen[1][at], turned[at], strict=True)), (seen[1], turned)
        assert max(seen[2][at]) - min(seen[2][at]) <= 16


def test_a_format_of_one_frame_takes_the_first() -> None:
    variant = one(film("GIF"), "jpeg", animated=True, quality=95)
    assert close(opened(variant.body), dict(FIELDS), 12)


def test_a_film_that_is_cut_has_its_first_frame_only() -> None:
    data = film("PNG")[:-200]
    assert one(data).width == 80
    with pytest.raises((Unrendered, OSError, SyntaxError, ValueError)):
        made(data, Wanted("v", "webp", 80, 60, animated=True))


def test_too_many_frames_are_refused() -> None:
    with pytest.raises(Unrendered, match="3 frames of 160 x 120 pixels; at most 20000 are kept"):
        list(render(film("GIF"), [Wanted("v", "webp", 200, 200, animated=True)], lambda _: None, 20_000))


def test_max_bytes_holds_and_is_told() -> None:
    data = photograph_jpeg(9, (1200, 900))
    wanted = [Wanted("v", each, 600, 600, quality=85, max_bytes=20_000) for each in FORMATS]
    for variant in made(data, *wanted):
        assert len(variant.body) <= 20_000
        assert 1 <= variant.encodes <= 4
        if variant.format == "png":
            assert variant.quality is None
            assert variant.width < 600
        else:
            assert 20 <= (variant.quality or 0) < 85


def test_what_cannot_fit_costs_that_variant_only() -> None:
    data = photograph_jpeg(9, (1200, 900))
    results = dict(
        render(
            data,
            [Wanted("tiny", "png", 900, 900, max_bytes=256), Wanted("fine", "jpeg", 300, 300)],
            lambda _: None,
            10**8,
        )
    )
    assert isinstance(results[0], Unrendered)
    assert results[0].message.startswith("cannot be made to fit in 256 bytes: still ")
    assert isinstance(results[1], Rendered)


def _distance(one_image: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB."""
    import math

    from PIL import ImageChops, ImageStat

    squares = sum(ImageStat.Stat(ImageChops.difference(one_image, other)).sum2)
    return 10 * math.log10(255 * 255 * 3 * one_image.width * one_image.height / max(1.0, squares))


@pytest.mark.parametrize("seed", [31])
def test_shortcuts_cannot_be_seen(seed: int) -> None:
    """One decode, smaller than the file where it may be, and each variant of another; against all pixels."""
    data = photograph_jpeg(seed, (2400, 1800))
    sides = (1100, 500, 240, 90)
    wanted = [Wanted(str(side), "png", side, side) for side in sides]
    whole = opened(data)
    for side, variant in zip(sides, made(data, *wanted), strict=True):
        expected = whole.resize((side, round(side * 0.75)), Image.Resampling.LANCZOS)
        assert (variant.width, variant.height) == expected.size
        assert _distance(opened(variant.body), expected) > 42


def test_it_is_decoded_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import JpegImagePlugin

    loads: list[Sequence[int]] = []
    load = JpegImagePlugin.JpegImageFile.load

    def counted(image: Any) -> Any:
        loads.append(image.size)
        return load(image)

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", counted)
    data = photograph_jpeg(33, (1600, 1200))
    sizes = [Wanted(each, each, 300, 300) for each in FORMATS] + [Wanted("s", "jpeg", 90, 90, Fit.COVER)]
    made(data, *sizes)
    assert set(loads) == {(800, 600)}
    loads.clear()
    made(data, *(replace(each, width=100, height=100) for each in sizes))
    assert set(loads) == {(200, 150)}


def test_seconds_are_the_cpu_of_each() -> None:
    variants = made(saved(photograph(2, (800, 600)), "PNG"), Wanted("a", "avif", 600, 600), Wanted("b", "png", 20, 20))
    assert variants[0].seconds > variants[1].seconds > 0
