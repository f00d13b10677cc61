"""The photographs and the contestants of the image benchmark: small ones, once."""

import pytest

from benchmarks import images
from benchmarks.photographs import photograph, photograph_jpeg


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    return [photograph_jpeg(seed, (1600, 1200)) for seed in (1, 2)]


def test_a_seed_is_a_photograph() -> None:
    assert photograph(5, (64, 48)).tobytes() == photograph(5, (64, 48)).tobytes()
    assert photograph(5, (64, 48)).tobytes() != photograph(6, (64, 48)).tobytes()


@pytest.mark.parametrize("name", ["six-migrator", "six-script"])
def test_six_variants_are_counted_and_compared(name: str, photos: list[bytes]) -> None:
    found = images.CONTESTANTS[name](photos[:1], 1)
    assert found["cpu"] > 0.01
    assert 1 <= found["encodes"] <= 15
    for image_format in images.FORMATS:
        assert 25 < found[f"{image_format} dB"] < 60
        assert 5 < found[f"{image_format} kB"] <= 100


def test_many_images_pass(photos: list[bytes]) -> None:
    found = images.many(photos, 6)
    assert found["busy"] > 0
    assert found["memory"] > 10_000_000
