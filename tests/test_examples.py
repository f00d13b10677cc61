"""The whole configurations in examples/ load as they stand."""

from pathlib import Path

import pytest

from migrator.core.config import BucketSource, DirectorySource, ManifestSource, TableSource
from migrator.core.loading import load

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_an_example_loads_as_it_stands(path: Path) -> None:
    config = load(path, {}, {})
    assert config.name == path.stem
    other = load(path, {"MIGRATOR_DESTINATION__ENDPOINT_URL": "http://127.0.0.1:9000"}, {})
    assert other.destination.endpoint_url == "http://127.0.0.1:9000"


def test_the_auction_lots() -> None:
    config = load(EXAMPLES / "auction-lots.toml", {}, {})
    (lots,) = config.sources
    assert isinstance(lots, ManifestSource)
    assert (lots.name, lots.format_of(lots.files), lots.fields) == ("lots", "json", ("image_url", "thumb_url"))
    assert (lots.expect, config.transfer.concurrency) == ("image", 10)
    assert config.destination.fallback_buckets == ("west-auction-images-historic",)


def test_the_recordings() -> None:
    config = load(EXAMPLES / "recordings.toml", {}, {})
    (storage,) = config.sources
    assert isinstance(storage, DirectorySource)
    assert (storage.root, storage.exclude, config.destination.prefix) == (Path("storage"), ("temp/**",), "storage/")


def test_two_buckets() -> None:
    config = load(EXAMPLES / "two-buckets.toml", {}, {})
    originals, visualizations = config.sources
    assert isinstance(originals, BucketSource)
    assert originals.bucket == config.destination.bucket
    assert isinstance(visualizations, TableSource)
    assert visualizations.update
    assert set(visualizations.update.add_columns) < set(visualizations.update.set)
    assert [len(config.variants_of(source)) for source in config.sources] == [1, 0]
    assert not config.needed_variants(visualizations)


def test_the_local_photos() -> None:
    config = load(EXAMPLES / "local-photos.toml", {}, {})
    (photos,) = config.sources
    assert isinstance(photos, TableSource)
    assert (photos.root, photos.expect, photos.max_size) == (Path("public/uploads"), "image", 50_000_000)
    assert [each.format for variant in config.variants_of(photos) for each in variant.wanted] == [
        *("avif", "webp", "jpeg"),
        *("avif", "webp", "jpeg"),
    ]
    # A row is updated when these stand, and not before.
    assert config.needed_variants(photos) == (("full", "avif"), ("full", "jpeg"), ("thumbnail", "jpeg"))
