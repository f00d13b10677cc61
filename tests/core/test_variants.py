"""Variants in the configuration: what is asked of the renderer, and combinations that cannot work."""

from typing import Any

import pytest

from migrator.core.config import Config
from migrator.core.errors import ConfigError
from migrator.core.loading import configure
from migrator.core.variants import Fit, Wanted

PHOTOS = {"type": "directory", "name": "photos", "root": "data", "key": "{path}"}
THUMB = {"name": "thumb", "key": "thumb/{path}.{format}", "width": 300}


def configured(*variants: dict[str, Any], sources: Any = (PHOTOS,), **destination: Any) -> Config:
    table = {"name": "n", "destination": {"bucket": "photos"} | destination, "sources": sources, "variants": variants}
    return configure(table, {}, {})


def refused(*variants: dict[str, Any], **table: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as raised:
        configured(*variants, **table)
    return raised.value.problems


def test_one_image_is_wanted_of_each_format() -> None:
    given = {"formats": ["avif", "jpeg"], "height": 200, "fit": "cover", "max_bytes": "100KB", "background": "#fA0"}
    (thumb,) = configured(THUMB | given | {"strip": False}).variants
    both: dict[str, Any] = {"name": "thumb", "width": 300, "height": 200, "fit": Fit.COVER, "max_bytes": 100_000}
    colour = (255, 170, 0)
    assert thumb.wanted == (
        Wanted(format="avif", quality=60, background=colour, strip=False, **both),
        Wanted(format="jpeg", quality=85, background=colour, strip=False, **both),
    )


def test_a_quality_that_is_given_is_that_of_every_format() -> None:
    (thumb,) = configured(THUMB | {"formats": ["avif", "webp"], "quality": 42}).variants
    assert [wanted.quality for wanted in thumb.wanted] == [42, 42]


def test_a_source_has_all_variants_or_those_it_names() -> None:
    large = {"name": "large", "key": "large/{path}", "height": 2000}
    sources = [
        PHOTOS,
        PHOTOS | {"name": "one", "variants": ["large"], "keep_original": False},
        PHOTOS | {"name": "none", "variants": []},
    ]
    config = configured(THUMB, large, sources=sources)
    names = [[variant.name for variant in config.variants_of(source)] for source in config.sources]
    assert names == [["thumb", "large"], ["large"], []]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"width": ""}, "variants[0].width: missing; expected width or height or both, in pixels"),
        ({"fit": "cover"}, 'variants[0].height: missing; fit = "cover" needs width and height'),
        ({"width": "", "height": 9, "fit": "contain"}, 'variants[0].width: missing; fit = "contain" needs width and'),
        ({"max_bytes": 100}, "variants[0].max_bytes: found 100 bytes; expected 256 or more"),
        ({"formats": ["png"], "quality": 80}, "variants[0].quality: found for png, which loses nothing; remove it"),
        ({"animated": True}, "variants[0].animated: found for jpeg, which has one frame; remove it"),
        ({"key": "{nme}"}, 'variants[0].key: for source "photos" found the unknown {nme}; known: key, '),
        ({"key": "{variant.thumb.key}"}, 'variants[0].key: for source "photos" found the unknown {variant.thumb.key}'),
        ({"key": "{path}"}, 'variants[0].key: gives "thumb" as jpeg the key of the original'),
        (
            {"key": "thumb/{path}", "formats": ["webp", "avif", "png"]},
            'variants[0].key: gives "thumb" as avif the key of "thumb" as webp; tell them apart by {format}',
        ),
    ],
)
def test_a_variant_that_cannot_be_made_is_refused(changes: dict[str, Any], problem: str) -> None:
    (found,) = refused(THUMB | changes)
    assert found.startswith(problem)


def test_a_brace_is_no_format() -> None:
    (found,) = refused(THUMB | {"key": "{{format}}/{path}", "formats": ["webp", "avif"]})
    assert found.startswith('variants[0].key: gives "thumb" as avif the key of "thumb" as webp')


def test_two_variants_differ_in_name_and_in_key() -> None:
    again = THUMB | {"key": "thumb/{path}.jpeg", "formats": ["jpeg"]}
    assert refused(THUMB, again) == (
        'variants[1].name: found "thumb", which names variants[0] too; expected a name of its own',
    )
    assert refused(THUMB, again | {"name": "small"}) == (
        'variants[1].key: gives "small" as jpeg the key of "thumb" as jpeg',
    )
    apart = [PHOTOS | {"variants": ["thumb"]}, PHOTOS | {"name": "p", "root": "other", "variants": ["small"]}]
    assert configured(THUMB, again | {"name": "small"}, sources=apart)


def test_an_original_that_is_not_kept_leaves_its_key_free() -> None:
    source = PHOTOS | {"keep_original": False}
    assert configured(THUMB | {"key": "{path}"}, sources=[source])
    (found,) = refused(THUMB, sources=[source | {"variants": []}])
    assert found == "sources[0].keep_original: found false for a source without variants: nothing would be stored"


def test_a_source_names_variants_that_there_are() -> None:
    assert refused(THUMB, sources=[PHOTOS | {"variants": ["thum"]}]) == (
        'sources[0].variants: found "thum", which is no variant; known: thumb; nearest: "thumb"',
    )
    assert refused(sources=[PHOTOS | {"variants": ["thumb"]}]) == (
        'sources[0].variants: found "thumb", which is no variant; there are no [[variants]]',
    )


def test_metadata_may_name_variants() -> None:
    assert configured(THUMB, metadata={"small": "{variant.thumb.key}", "same": "{variant.thumb.jpeg.key}"})
    both = THUMB | {"formats": ["jpeg", "webp"]}
    assert configured(both, metadata={"small": "{variant.thumb.webp.key}"})
    (found,) = refused(both, metadata={"small": "{variant.thumb.key}"})
    assert found.startswith('destination.metadata.small: for source "photos" found the unknown {variant.thumb.key}')


ROWS = {
    "type": "table",
    "name": "rows",
    "database_url": "sqlite:///x.db",
    "query": "SELECT id, path FROM photos",
    "primary_key": ["id"],
    "root": "data",
    "location": "{path}",
    "key": "{path}",
}


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{variant.thumb.avif.key}", "found the unknown {variant.thumb.avif.key}; known: variant.thumb.jpeg.key, "),
        ("{variant.thumb.url}", "found the URL of a variant, which has no value without destination.public_url"),
    ],
)
def test_a_row_names_variants_that_its_source_makes(template: str, problem: str) -> None:
    source = ROWS | {"update": {"table": "photos", "set": {"small": template}}}
    (found,) = refused(THUMB, sources=[source])
    assert found.startswith(f"sources[0].update.set.small: {problem}")


def test_a_row_may_name_the_url_of_a_variant() -> None:
    source = ROWS | {"update": {"table": "photos", "set": {"small": "{variant.thumb.url}"}}}
    assert configured(THUMB, sources=[source], public_url="https://cdn.example.com")
