"""Combinations that cannot work are refused, each at the key that the operator would change."""

from pathlib import Path
from typing import Any

import pytest

from migrator.core.config import Config
from migrator.core.errors import ConfigError
from migrator.core.loading import configure

DIRECTORY = {"type": "directory", "root": "data", "key": "{path}"}
TABLE = {
    "type": "table",
    "database_url_env": "DATABASE_URL",
    "query": "SELECT id, photo FROM images",
    "primary_key": ["id"],
    "location": "s3://old/{photo}",
    "key": "{id}/{name}",
}
MANIFEST = {"type": "manifest", "files": "lots/*.json", "fields": ["url"], "key": "{path}"}


def configured(destination: dict[str, Any], *sources: dict[str, Any], **transfer: object) -> Config:
    table = {"name": "n", "destination": destination, "sources": sources or (DIRECTORY,), "transfer": transfer}
    return configure(table, {}, {})


def refused(destination: dict[str, Any], *sources: dict[str, Any], **transfer: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as raised:
        configured(destination, *sources, **transfer)
    return raised.value.problems


BUCKET = {"bucket": "photos"}


def test_a_destination_is_one_place() -> None:
    assert refused({}) == (
        'destination.bucket: missing; expected the name of a bucket, or url = "file:///..." for a folder',
    )
    assert refused({"bucket": "photos", "url": "file:///mnt/x"}) == (
        "destination.url: found beside bucket; expected one of the two",
    )


def test_a_folder_is_a_destination() -> None:
    assert configured({"url": "file:///mnt/an%20archive"}).destination.folder == Path("/mnt/an archive")
    assert configured(BUCKET).destination.folder is None


@pytest.mark.parametrize(
    "url",
    ["/mnt/x", "file:mnt", "file://host/mnt", "http://h/x", "s3://b/k", "file:///a?b", "file:///a#b", "file:///%00"],
)
def test_a_folder_is_given_whole(url: str) -> None:
    (problem,) = refused({"url": url})
    assert problem.startswith("destination.url: found ")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fallback_buckets", ["other"]),
        ("region", "eu-west-1"),
        ("endpoint_url", "http://h:9000"),
        ("profile", "p"),
        ("storage_class", "STANDARD_IA"),
        ("sse", "AES256"),
        ("acl", "private"),
        ("cache_control", "no-cache"),
        ("content_disposition", "inline"),
        ("tags", {"a": "b"}),
    ],
)
def test_what_only_a_bucket_has_is_refused_for_a_folder(key: str, value: object) -> None:
    assert refused({"url": "file:///mnt/x", key: value}) == (
        f"destination.{key}: says something of a bucket; a folder (url) has none",
    )


def test_a_key_of_kms_needs_kms() -> None:
    for sse in ("", "AES256"):
        (problem,) = refused({**BUCKET, "kms_key_id": "k", "sse": sse})
        assert problem.startswith('destination.kms_key_id: found without a key service; expected sse = "aws:kms"')
    for sse in ("aws:kms", "aws:kms:dsse"):
        configured({**BUCKET, "kms_key_id": "k", "sse": sse})


def test_memory_holds_four_parts() -> None:
    assert refused(BUCKET, part_size="64MiB", memory="255MiB") == (
        "transfer.memory: found 267386880 bytes; expected at least 4 parts of part_size, 268435456 bytes",
    )
    configured(BUCKET, part_size="64MiB", memory="256MiB")


def test_bounds_of_sizes_are_in_order() -> None:
    (problem,) = refused(BUCKET, {**DIRECTORY, "min_size": "2KB", "max_size": "1KB"})
    assert problem == "sources[0].min_size: found 2000 bytes; expected at most max_size, 1000 bytes"
    configured(BUCKET, {**DIRECTORY, "min_size": "1KB", "max_size": "1KB"})


def test_names_of_sources_differ_also_from_given_ones() -> None:
    (problem,) = refused(BUCKET, {**DIRECTORY, "name": "manifest-2"}, MANIFEST)
    assert problem.startswith('sources[1].name: found "manifest-2", which names sources[0] too')


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"fields": []},
            'sources[0].fields: missing; expected the names whose text is a location, such as ["image_url"]',
        ),
        ({"fields": [], "files": "x.csv"}, "sources[0].fields: missing"),
        ({"fields": [], "files": "lots/*"}, 'or format = "txt"'),
        ({"files": "urls.txt"}, "sources[0].fields: found for txt"),
        ({"format": "txt"}, "sources[0].fields: found for txt"),
    ],
)
def test_fields_belong_to_formats_that_have_names(keys: dict[str, Any], line: str) -> None:
    (problem,) = refused(BUCKET, {**MANIFEST, **keys})
    assert line in problem


@pytest.mark.parametrize(
    "keys",
    [{"files": "URLS.TXT", "fields": []}, {"files": "lots/*"}, {"files": "lots/*", "format": "txt", "fields": []}],
)
def test_formats_that_work(keys: dict[str, Any]) -> None:
    configured(BUCKET, {**MANIFEST, **keys})


def test_an_unknown_name_lists_the_known_ones() -> None:
    source = {**DIRECTORY, "key": "{lot}/{rest}/{stm}", "match": "^(?P<rest>.+)$"}
    assert refused(BUCKET, source) == (
        "sources[0].key: found the unknown {lot}, {stm}; known: path, dir, name, stem, ext, host, bucket, rest",
    )
    (problem,) = refused(BUCKET, {**DIRECTORY, "key": "{stm}"})
    assert problem.endswith("nearest: {stem}")


def test_items_of_a_manifest_bring_names_of_their_own_but_lines_of_text_do_not() -> None:
    configured(BUCKET, {**MANIFEST, "key": "{lot}/{name}"})
    (problem,) = refused(BUCKET, {**MANIFEST, "files": "u.txt", "fields": [], "key": "{lot}/{name}"})
    assert problem.startswith("sources[0].key: found the unknown {lot}")


def test_metadata_must_be_known_to_every_source() -> None:
    destination = {**BUCKET, "metadata": {"lot": "{lot}", "sum": "{sha256}"}, "tags": {"from": "{name}"}}
    configured(destination, MANIFEST)
    (problem,) = refused(destination, MANIFEST, {**DIRECTORY, "name": "storage"})
    assert problem.startswith('destination.metadata.lot: for source "storage" found the unknown {lot}; known: key, url')
    configured(destination, MANIFEST, {**DIRECTORY, "match": "(?P<lot>[0-9]+)"})


def test_a_url_needs_its_base() -> None:
    destination = {**BUCKET, "metadata": {"at": "{url}"}}
    (problem,) = refused(destination)
    assert problem.startswith("destination.metadata.at: found {url}, which has no value without destination.public_url")
    configured({**destination, "public_url": "https://cdn.example.com"})


def test_a_folder_keeps_metadata_but_has_no_bucket_to_tell_of() -> None:
    folder = {"url": "file:///mnt/x"}
    configured({**folder, "metadata": {"from": "{path}"}})
    (problem,) = refused({**folder, "metadata": {"in": "{destination.bucket}"}})
    assert "has no value without destination.bucket" in problem


class TestSamePlace:
    """FAULTS row 29, for folders."""

    @pytest.fixture
    def here(self, tmp_path: Path) -> Path:
        for folder in ("data/out", "elsewhere"):
            (tmp_path / folder).mkdir(parents=True)
        (tmp_path / "link").symlink_to(tmp_path / "data", target_is_directory=True)
        return tmp_path

    @pytest.mark.parametrize(
        ("url", "root", "keys"),
        [
            ("data", "data", {}),
            ("link", "data", {}),
            ("data", "link", {}),
            ("elsewhere/../data", "data", {}),
            ("", "data", {"key": "data/{path}"}),
            ("", "link", {"key": "data/{path}"}),
            ("data", "data", {"key": "{all}", "match": "^(?P<all>.+)$"}),
        ],
    )
    def test_a_source_whose_every_key_is_its_own_location(
        self, here: Path, url: str, root: str, keys: dict[str, str]
    ) -> None:
        (problem,) = refused({"url": f"file://{here}/{url}"}, {**DIRECTORY, "root": str(here / root), **keys})
        assert problem.startswith(f"sources[0].root: every file of {here}/data already stands at its own key")

    def test_a_prefix_counts(self, here: Path) -> None:
        source = {**DIRECTORY, "root": str(here / "data")}
        (problem,) = refused({"url": f"file://{here}", "prefix": "data/"}, source)
        assert "already stands at its own key" in problem
        configured({"url": f"file://{here}", "prefix": "data-2/"}, source)

    def test_local_paths_of_a_manifest(self, here: Path) -> None:
        source = {**MANIFEST, "root": str(here / "link")}
        (problem,) = refused({"url": f"file://{here}/data"}, source)
        assert "already stands at its own key" in problem

    def test_a_scan_must_not_find_what_is_written(self, here: Path) -> None:
        source = {**DIRECTORY, "root": str(here / "data")}
        (problem,) = refused({"url": f"file://{here}/link/out"}, source)
        assert problem == (
            f"sources[0].root: the scan of {here}/data would find what is written to {here}/data/out; "
            'add "/out/**" to exclude'
        )
        configured({"url": f"file://{here}/link/out"}, {**source, "exclude": ["/out/**"]})
        (problem,) = refused({"url": f"file://{here}/data"}, {**source, "key": "{stem}"})
        assert problem.endswith("choose another destination")

    def test_a_manifest_finds_only_what_it_names(self, here: Path) -> None:
        configured({"url": f"file://{here}/data/out"}, {**MANIFEST, "root": str(here / "data")})

    def test_another_place_is_free(self, here: Path) -> None:
        configured({"url": f"file://{here}/elsewhere"}, {**DIRECTORY, "root": str(here / "data")})
        configured({"url": f"file://{here}"}, {**DIRECTORY, "root": str(here / "data")})
        configured({"url": f"file://{here}/data-2"}, {**DIRECTORY, "root": str(here / "data")})


def test_a_source_does_not_move_its_own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = {"type": "directory", "root": ".", "key": "{path}"}
    assert refused(BUCKET, here) == (
        f"sources[0].root: the scan of . would find the ledger in {tmp_path}/checkpoints; "
        'add "/checkpoints/**" to exclude',
    )
    configured(BUCKET, here | {"exclude": ["/checkpoints/**"]})


def test_a_table_has_one_database() -> None:
    assert configured(BUCKET, TABLE).sources[0].type == "table"
    expected = 'expected the name of an environment variable that holds the URL, such as "DATABASE_URL"'
    assert refused(BUCKET, TABLE | {"database_url_env": ""}) == (f"sources[0].database_url_env: missing; {expected}",)
    assert refused(BUCKET, TABLE | {"database_url": "sqlite:///a.db"}) == (
        "sources[0].database_url_env: found beside database_url; expected one of the two",
    )


@pytest.mark.faults
def test_row_25_a_database_url_that_is_refused_is_not_shown() -> None:
    known = "sqlite://, postgresql://, postgres://, mysql://, mariadb://"
    for url in ("oracle://app:CANARY@host/x", "app:CANARY@host/x", "CANARY"):
        assert refused(BUCKET, TABLE | {"database_url_env": "", "database_url": url}) == (
            f"sources[0].database_url: begins as no database URL that is known here; expected one of {known}",
        )
    (problem,) = refused(BUCKET, TABLE | {"database_url_env": "", "database_url": ["mysql://app:CANARY@host/x"]})
    assert "CANARY" not in problem


def test_an_update_needs_a_key_that_it_leaves_alone() -> None:
    update = {"table": "images", "set": {"new_key": "{key}"}}
    assert configured(BUCKET, TABLE | {"update": update})
    assert refused(BUCKET, TABLE | {"update": update, "primary_key": []}) == (
        'sources[0].primary_key: missing; update needs it to find the row again, such as ["id"]',
    )
    (problem,) = refused(BUCKET, TABLE | {"update": update | {"set": {"id": "{key}"}}})
    assert problem.startswith("sources[0].update.set.id: found a column of primary_key")
    (problem,) = refused(BUCKET, TABLE | {"update": update | {"set": {"link": "{url}"}}})
    assert problem == "sources[0].update.set.link: found {url}, which has no value without destination.public_url"
