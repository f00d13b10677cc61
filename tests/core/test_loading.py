"""File, environment and flags become one Config, or one ConfigError that tells everything at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.core.config import Config, DirectorySource, ManifestSource
from migrator.core.errors import ConfigError
from migrator.core.loading import configure, load
from migrator.core.schema import KeyPath, known

FILE = """\
name = "lots"

[destination]
bucket = "photos"
metadata = { lot = "{lot}" }

[[sources]]
type = "manifest"
files = "lots/*.json"
fields = ["image_url"]
key = "{path}"

[[sources]]
type = "directory"
root = "recordings"
key = "{path}"

[transfer]
concurrency = 10
timeout = "1m30s"
"""

VARIABLES = [
    "MIGRATOR_NAME",
    "MIGRATOR_DESTINATION",
    "MIGRATOR_DESTINATION__BUCKET",
    "MIGRATOR_DESTINATION__TAGS__A",
    "MIGRATOR_SOURCES",
    "MIGRATOR_SOURCES__0",
    "MIGRATOR_SOURCES__0__ROOT",
    "MIGRATOR_SOURCES__1__FIELDS",
    "MIGRATOR_TRANSFER__RETRIES",
    "MIGRATOR_TRANSFER__RETRIES__X",
    "MIGRATOR_NOTIFY__X",
    "MIGRATOR_VARIANTS__0",
    "MIGRATOR_VARIANTS__0__FORMATS__1",
    "MIGRATOR___",
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "migrator.toml"
    path.write_text(FILE.replace("{lot}", "{key}"))
    return path


def problems(text: str, tmp_path: Path, environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    path = tmp_path / "migrator.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load(path, environment or {}, {})
    assert all("\n" not in problem for problem in raised.value.problems)
    return raised.value.problems


def test_a_file_becomes_a_config_with_its_defaults(file: Path) -> None:
    config = load(file, {}, {})
    manifest, directory = config.sources
    assert isinstance(manifest, ManifestSource)
    assert isinstance(directory, DirectorySource)
    assert (manifest.name, directory.name) == ("manifest-1", "directory-2")
    assert (manifest.fields, directory.root) == (("image_url",), Path("recordings"))
    assert (config.transfer.concurrency, config.transfer.timeout, config.transfer.retries) == (10, 90.0, 5)
    assert config.transfer.bandwidth is None
    assert config.ledger_path == Path("checkpoints/lots.db")
    assert config.log_path == Path("checkpoints/lots.log")


def test_flags_beat_the_environment_and_that_beats_the_file(file: Path) -> None:
    environment = {"MIGRATOR_TRANSFER__CONCURRENCY": "20", "MIGRATOR_TRANSFER__RETRIES": "7", "PATH": "/bin"}
    config = load(file, environment, {"transfer.concurrency": 30, "transfer.bandwidth": None})
    assert (config.transfer.concurrency, config.transfer.retries) == (30, 7)
    assert load(file, environment, {}).transfer.concurrency == 20
    assert load(file, {}, {"transfer.bandwidth": "50MB"}).transfer.bandwidth == 50_000_000


def test_the_environment_writes_values_as_their_keys_need_them(file: Path) -> None:
    config = load(
        file,
        {
            "MIGRATOR_CONFIG": "elsewhere.toml",
            "MIGRATOR_NAME": "007",
            "MIGRATOR_CHECKPOINT_DIR": "/var/lib/ledgers",
            "MIGRATOR_DESTINATION__BUCKET": "true-name",
            "MIGRATOR_DESTINATION__ENDPOINT_URL": "http://127.0.0.1:9000/",
            "MIGRATOR_DESTINATION__FALLBACK_BUCKETS": '["one", "two"]',
            "MIGRATOR_DESTINATION__METADATA__ORIGIN": "it's {path}",
            "MIGRATOR_DESTINATION__TAGS": '{ Team = "photos" }',
            "MIGRATOR_SOURCES__0__ALLOW_PRIVATE": "true",
            "MIGRATOR_SOURCES__0__MATCH": r'^"(?P<rest>\d+)"$',
            "MIGRATOR_SOURCES__0__MAX_SIZE": "10MB",
            "MIGRATOR_SOURCES__1__ROOT": "/srv/a b",
            "MIGRATOR_TRANSFER__MEMORY": "1073741824",
            "MIGRATOR_TRANSFER__REQUESTS_PER_SECOND": "2.5",
        },
        {},
    )
    assert (config.name, config.checkpoint_dir) == ("007", Path("/var/lib/ledgers"))
    destination = config.destination
    assert (destination.bucket, destination.endpoint_url) == ("true-name", "http://127.0.0.1:9000")
    assert destination.fallback_buckets == ("one", "two")
    assert destination.metadata == {"lot": "{key}", "origin": "it's {path}"}
    assert destination.tags == {"Team": "photos"}
    manifest, directory = config.sources
    assert isinstance(manifest, ManifestSource)
    assert (manifest.allow_private, manifest.match, manifest.max_size) == (True, r'^"(?P<rest>\d+)"$', 10_000_000)
    assert directory.root == Path("/srv/a b")
    assert (config.transfer.memory, config.transfer.requests_per_second) == (2**30, 2.5)


def test_the_environment_alone_can_be_a_whole_configuration() -> None:
    config = configure(
        {},
        {
            "MIGRATOR_NAME": "n",
            "MIGRATOR_DESTINATION__BUCKET": "photos",
            "MIGRATOR_SOURCES__0__TYPE": "directory",
            "MIGRATOR_SOURCES__0__ROOT": "data",
            "MIGRATOR_SOURCES__0__KEY": "{path}",
        },
        {},
    )
    assert config.sources[0].root == Path("data")


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("MIGRATOR_FOO", "1", "MIGRATOR_FOO: unknown variable"),
        ("MIGRATOR_", "1", "MIGRATOR_: unknown variable"),
        ("MIGRATOR_DESTINATION_BUCKET", "x", "nearest: MIGRATOR_DESTINATION__BUCKET"),
        (
            "MIGRATOR_DESTINATION__BUKCET",
            "x",
            "destination.bukcet (MIGRATOR_DESTINATION__BUKCET): unknown key; nearest: bucket",
        ),
        (
            "MIGRATOR_TRANSFER__RETRIES",
            "many",
            'transfer.retries (MIGRATOR_TRANSFER__RETRIES): found "many"; expected a whole',
        ),
        ("MIGRATOR_TRANSFER__RETRIES", "1\nx = 2", "expected a whole number from 0 to 100"),
        ("MIGRATOR_TRANSFER__RETRIES", "-1", "found the number -1; expected a whole number from 0 to 100"),
        ("MIGRATOR_TRANSFER__RETRIES", "", 'found ""; expected a whole number'),
        ("MIGRATOR_SOURCES__0__ALLOW_PRIVATE", "yes", 'found "yes"; expected true or false'),
        ("MIGRATOR_SOURCES__0__FIELDS", "image_url", "expected a list such as"),
        (
            "MIGRATOR_SOURCES__5__KEY",
            "x",
            "sources[5].key (MIGRATOR_SOURCES__5__KEY): there is no such place; there are 2",
        ),
        ("MIGRATOR_SOURCES__X__KEY", "x", "there is no such place"),
        ("MIGRATOR_NAME__X", "x", 'there is no such place; above it is "lots"'),
        ("MIGRATOR_NOTIFY__WEBHOOK_URL_ENV", "X", "notify (MIGRATOR_NOTIFY__WEBHOOK_URL_ENV): not available yet"),
        (
            "MIGRATOR_SOURCES__1__QUERY",
            "X",
            'sources[1].query (MIGRATOR_SOURCES__1__QUERY): a key of sources of type "table"; this one is "directory"',
        ),
    ],
)
def test_a_variable_that_is_no_key_or_no_value(file: Path, name: str, value: str, line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(file, {name: value}, {})
    (problem,) = raised.value.problems
    assert line in problem


def test_a_flag_that_cannot_be_is_said_to_come_from_the_command_line(file: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(file, {}, {"transfer.concurrency": 0, "transfer.bandwidth": "fast"})
    assert [line.partition(":")[0] for line in raised.value.problems] == [
        "transfer.concurrency (command line)",
        "transfer.bandwidth (command line)",
    ]


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    told = problems(
        """
        name = 3
        [destination]
        buket = "photos"
        prefix = "/x"
        storage_class = "standard_ia"
        kms_key_id = "k"
        tags = { a = 3, b = "{lot}" }
        [notify]
        [[sources]]
        name = "twice"
        type = "directory"
        rot = "x"
        key = "{pth}"
        query = "select"
        fields = ["x"]
        variants = ["thumb"]
        varants = []
        match = "("
        min_size = "10MX"
        [[sources]]
        type = "bucket"
        bucket = "old"
        [[sources]]
        type = "manifst"
        [[sources]]
        name = "twice"
        type = "manifest"
        files = "a/*.txt"
        fields = ["x"]
        key = "{lot}/{path}"
        min_size = "5MB"
        max_size = 10
        [transfer]
        concurrency = "10"
        memory = "1MiB"
        timeout = 10
        """,
        tmp_path,
        {"MIGRATOR_FOO": "1"},
    )
    assert [line.partition(": ")[0] for line in told] == [
        "MIGRATOR_FOO",
        "name",
        "destination.prefix",
        "destination.storage_class",
        "destination.tags.a",
        "destination.buket",
        "sources[0].match",
        "sources[0].min_size",
        "sources[0].rot",
        "sources[0].query",
        "sources[0].fields",
        "sources[0].varants",
        "sources[1].key",
        "sources[2].type",
        "transfer.concurrency",
        "transfer.timeout",
        "notify",
        "destination.kms_key_id",
        "transfer.memory",
        "sources[3].name",
        "sources[3].min_size",
        "sources[3].key",
        "sources[3].fields",
        *["destination.tags.b"] * 2,  # for each source that has no such value
    ]


VALID: dict[str, Any] = {
    "name": "n",
    "destination": {"bucket": "photos"},
    "sources": [{"type": "directory", "root": "data", "key": "{path}"}],
}


THUMB = {"name": "thumb", "key": "thumb/{path}", "width": 300}


@pytest.mark.parametrize("missing", ["name", "destination", "sources"])
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(ConfigError) as raised:
        configure({name: value for name, value in VALID.items() if name != missing}, {}, {})
    (problem,) = raised.value.problems
    assert problem.startswith(f"{missing}: missing; expected ")


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"sources": []}, "sources: missing; expected one or more tables"),
        ({"sources": {"type": "directory"}}, "sources: found a table; expected one or more tables"),
        ({"sources": ["data"]}, 'sources[0]: found "data"; expected a table'),
        ({"sources": [{"root": "x", "key": "y"}]}, 'sources[0].type: missing; expected one of "directory", "manifest"'),
        ({"sources": [{"type": 3}]}, "sources[0].type: found the number 3; expected one of"),
        (
            {"sources": [{"type": "table", "key": "{id}", "query": "x", "database_url_env": "X"}]},
            "sources[0].location: missing; expected a template",
        ),
        ({"destination": "s3://x"}, 'destination: found "s3://x"; expected a table'),
        ({"bucket": "x"}, "bucket: unknown key here; nearest: bucket of [destination]"),
        ({"x": 1}, "x: unknown key; known here: name, checkpoint_dir, destination, sources, variants, transfer"),
        ({"variants": {"name": "thumb"}}, "variants: found a table; expected one or more tables"),
        ({"variants": ["thumb"]}, 'variants[0]: found "thumb"; expected a table'),
        ({"variants": [THUMB | {"name": "a.b"}]}, 'variants[0].name: found "a.b"; expected 1 to 50 letters'),
        ({"variants": [{"name": "t", "width": 9}]}, "variants[0].key: missing; expected a template"),
        ({"variants": [THUMB | {"quality": 0}]}, "variants[0].quality: found the number 0; expected a whole number"),
        (
            {"variants": [THUMB | {"width": 3e4}]},
            "variants[0].width: found the number 30000.0; expected a whole number",
        ),
        ({"variants": [THUMB | {"formats": []}]}, "variants[0].formats: found a list; expected one format or more"),
        (
            {"variants": [THUMB | {"formats": ["png", "png"]}]},
            "variants[0].formats: found a list; a format stands here",
        ),
        ({"variants": [THUMB | {"formats": ["jpg"]}]}, 'variants[0].formats[0]: found "jpg"'),
        (
            {"variants": [THUMB | {"background": "pink"}]},
            'variants[0].background: found "pink"; expected #rgb, #rrggbb',
        ),
        (
            {"variants": [THUMB | {"fit": "insid"}]},
            'variants[0].fit: found "insid"; expected one of "inside", "cover", ',
        ),
        ({"variants": [THUMB | {"formt": ["png"]}]}, "variants[0].formt: unknown key; nearest: formats"),
        ({"budget": {}}, "budget: not available yet"),
        ({"cleanup": {"grace": "7"}}, 'cleanup.grace: found "7"; expected a duration such as'),
        ({"cleanup": {"trash": "a/../b"}}, 'cleanup.trash: found "a/../b"; expected a folder, below the root'),
        ({"cleanup": {"grac": "7d"}}, "cleanup.grac: unknown key; nearest: grace"),
        (
            {"transfer": {"concurrency": True}},
            "transfer.concurrency: found true; expected a whole number from 1 to 4096",
        ),
        ({"transfer": {"concurrency": 1.0}}, "transfer.concurrency: found the number 1.0; expected a whole number"),
        ({"transfer": {"requests_per_second": float("nan")}}, "transfer.requests_per_second: found the number nan"),
        ({"transfer": {"concurency": 1}}, "transfer.concurency: unknown key; nearest: concurrency"),
        ({"checkpoint_dir": ""}, 'checkpoint_dir: found ""; expected a path'),
        ({"name": "a/b"}, 'name: found "a/b"; expected 1 to 100 letters'),
        ({"name": "x" * 200}, f'name: found "{"x" * 60}..."; expected'),
    ],
)
def test_one_problem_is_one_line(table: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        configure(VALID | table, {}, {})
    (problem,) = raised.value.problems
    assert problem.startswith(line)


def test_no_line_shows_a_password() -> None:
    with pytest.raises(ConfigError) as raised:
        configure(VALID | {"destination": {"bucket": "photos", "endpoint_url": "http://me:pa55word@h"}}, {}, {})
    (problem,) = raised.value.problems
    assert "http://***@h" in problem
    assert "pa55word" not in problem


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'name = "x"\n\nbucket = \n', "is no valid TOML: Invalid value (at line 3, column 10)"),
        (b'name = "x"\na = [1,\n', "at the end, line 2"),
        (b'name = "x"\nname = "y"\n', "Cannot overwrite a value (at line 2"),
        (b'name = "x"\n# caf\xe9\n', ", line 2: not UTF-8"),
        (b"a = " + b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "migrator.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        load(path, {}, {})
    assert str(path) in raised.value.message
    assert message in raised.value.message


def test_a_byte_order_mark_is_no_error(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load(file, {}, {}).name == "lots"


def test_a_missing_file_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"migrator\.toml does not exist .*migrator init"):
        load(tmp_path / "migrator.toml", {}, {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {}, {})


def test_the_table_that_is_laid_over_does_not_change() -> None:
    before = repr(VALID)
    configure(VALID, {"MIGRATOR_SOURCES__0__ROOT": "x", "MIGRATOR_TRANSFER__RETRIES": "1"}, {"name": "other"})
    assert repr(VALID) == before


def test_the_digest_tells_migrations_apart_and_not_the_way_they_were_written(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(file.read_text().replace('"1m30s"', '"90s"') + '\nmemory = "256MiB"\n')
    assert load(file, {}, {}).digest == load(other, {}, {}).digest
    assert load(file, {}, {"transfer.retries": 6}).digest != load(file, {}, {}).digest
    assert len(load(file, {}, {}).digest) == 64


def test_what_metadata_and_tags_want_of_the_items() -> None:
    source = {"type": "manifest", "files": "*.json", "fields": ["u"], "key": "{path}"}
    destination = {
        "bucket": "photos",
        "metadata": {"a": "{lot}-{sha256}", "b": "{dir}{{x}}"},
        "tags": {"c": "{lot}{seller}{destination.bucket}"},
    }
    config = configure(VALID | {"sources": [source], "destination": destination}, {}, {})
    assert config.carry == ("lot", "dir", "seller")
    assert configure(VALID, {}, {}).carry == ()


def _tables() -> st.SearchStrategy[dict[str, Any]]:
    """Tables with every known key, some typos, and values of every kind in every place."""
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
        max_leaves=3,
    ).filter(lambda value: value is not None)
    text = st.sampled_from(["a", "{path}", "{lot}", "{", "*.txt", "/", "file:///tmp", "10MB", "1s", "http://h", "("])

    def section(*places: KeyPath) -> st.SearchStrategy[dict[str, Any]]:
        names = st.sampled_from(
            [name for place in places for name in (*known(place), "nam", "rot", "query", "variants")]
        )
        return st.dictionaries(names, junk | text, max_size=6)

    kinds = st.sampled_from(["directory", "manifest", "table", "dir", 3])
    source = st.builds(lambda keys, kind: {**keys, "type": kind}, section(("sources", 0)), kinds)
    return st.fixed_dictionaries(
        {},
        optional={
            "name": st.just("n") | junk,
            "destination": section(("destination",)) | junk,
            "sources": st.lists(source | junk, max_size=3) | junk,
            "transfer": section(("transfer",)) | junk,
            "notify": junk,
            "bucket": junk,
        },
    )


@given(_tables(), st.dictionaries(st.sampled_from(VARIABLES), st.text(max_size=6), max_size=3))
def test_any_table_is_a_config_or_one_line_for_each_problem(table: dict[str, Any], environment: dict[str, str]) -> None:
    told: tuple[str, ...] = ("it is a config: ",)
    try:
        configure(table, environment, {})
    except ConfigError as error:
        told = error.problems
    assert told
    assert len(set(told)) == len(told)
    assert all(": " in problem and problem.isprintable() for problem in told)


def test_a_config_is_a_frozen_value(file: Path) -> None:
    config: Config = load(file, {}, {})
    with pytest.raises(ValueError, match="frozen"):
        config.name = "x"
