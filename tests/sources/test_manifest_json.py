"""Manifests of JSON: what counts as a location, what is a problem and where, and that every size reads the same."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrator.core.model import Fault
from migrator.sources import json_events as json_events_module
from migrator.sources import manifest as manifest_module
from tests.sources.scanning import Scanned, in_manifest, manifest, whole

URL = "https://h.example/"


@pytest.fixture(params=["small", "streamed"])
def _size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to read a file: parsed whole, and streamed as a large one."""
    if request.param == "streamed":
        monkeypatch.setattr(manifest_module, "SMALL_FILE", -1)


both_sizes = pytest.mark.usefixtures("_size")


@both_sizes
def test_locations_are_found_under_their_names_at_any_depth(tmp_path: Path) -> None:
    document = {
        "image_url": URL + "1",
        "lots": [{"image_url": URL + "2", "deep": {"er": [[{"thumb_url": URL + "3"}]]}}, {"other": URL + "no"}],
        "thumb_url": [URL + "4", [URL + "5"], {"image_url": URL + "6", "x": URL + "no"}],
        "list": [URL + "no"],
    }
    scanned = in_manifest(tmp_path, json.dumps(document))
    assert scanned.keys == ["1", "2", "3", "4", "5", "6"]
    assert not scanned.problems


@both_sizes
def test_template_values_come_from_the_object_of_the_location(tmp_path: Path) -> None:
    text = """{"lot": 7, "images": [
        {"image_url": "https://h.example/a", "n": 1.50, "main": true, "lot": "x"},
        {"n": 12345678901234567890123, "main": false, "lot": "y", "thumb_url": ["https://h.example/b"]}]}"""
    scanned = in_manifest(tmp_path, text, key="{lot}/{n}-{main}/{name}", carry=["lot", "absent"])
    assert scanned.keys == ["x/1.50-true/a", "y/12345678901234567890123-false/b"]
    assert [item.fields for item in scanned.items] == [{"lot": "x"}, {"lot": "y"}]


@both_sizes
def test_a_missing_or_null_template_value_is_a_problem(tmp_path: Path) -> None:
    text = '[{"image_url": "https://h.example/a"}, {"lot": null, "image_url": "https://h.example/b"}]'
    assert in_manifest(tmp_path, text, key="{lot}").told == {
        "lot.json:$[0].image_url": "{lot} has no value here",
        "lot.json:$[1].image_url": "{lot} has no value here",
    }


@pytest.mark.faults
@both_sizes
def test_row_33_values_that_are_no_locations_are_problems_with_their_position(tmp_path: Path) -> None:
    text = """{"images": [{"image_url": null}, {"image_url": 5}, {"image_url": ""}, {"image_url": true},
        {"image_url": ["https://h.example/a", null]}, {"image_url": "ftp://h.example/x"}, {"thumb_url": "https://h.example/b"}],
        "a b": {"thumb_url": 1.5}}"""
    scanned = in_manifest(tmp_path, text)
    assert scanned.keys == ["a", "b"]
    assert scanned.told == {
        "lot.json:$.images[0].image_url": "'image_url' is null where a location is expected",
        "lot.json:$.images[1].image_url": "'image_url' is a number where a location is expected",
        "lot.json:$.images[2].image_url": "'image_url' is an empty string where a location is expected",
        "lot.json:$.images[3].image_url": "'image_url' is a boolean where a location is expected",
        "lot.json:$.images[4].image_url[1]": "'image_url' is null where a location is expected",
        "lot.json:$.images[5].image_url": "the scheme ftp: is not allowed in a manifest, only http, https and s3",
        'lot.json:$["a b"].thumb_url': "'thumb_url' is a number where a location is expected",
    }
    assert {problem.fault for problem in scanned.problems} == {Fault.INVALID}


@pytest.mark.faults
@both_sizes
@pytest.mark.parametrize("second", ["image_url", "image\\u005furl"])
def test_row_33_a_name_that_stands_twice_is_a_problem_and_nothing_is_lost(tmp_path: Path, second: str) -> None:
    text = f'[{{"image_url": "{URL}a", "{second}": "{URL}b"}}, {{"image_url": "{URL}c"}}]'
    scanned = in_manifest(tmp_path, text)
    assert scanned.keys == ["a", "b", "c"]
    assert scanned.told == {"lot.json:$[0].image_url": "the name 'image_url' stands twice in one object: say it once"}


@both_sizes
def test_a_container_that_stands_twice_is_searched_twice(tmp_path: Path) -> None:
    text = f'{{"images": [{{"image_url": "{URL}a"}}], "images": [{{"image_url": "{URL}b"}}]}}'
    assert in_manifest(tmp_path, text).keys == ["a", "b"]


@both_sizes
def test_the_first_of_two_template_values_counts(tmp_path: Path) -> None:
    text = f'{{"lot": 1, "image_url": "{URL}a", "lot": 2}}'
    scanned = in_manifest(tmp_path, text, key="{lot}/{name}")
    assert scanned.keys == ["1/a"]
    assert list(scanned.told) == ["lot.json:$.lot"]


@pytest.mark.faults
@both_sizes
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_row_33_every_unicode_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    scanned = in_manifest(tmp_path, json.dumps({"image_url": URL + "é中🖼"}, ensure_ascii=False).encode(encoding))
    assert scanned.keys == ["é中🖼"]
    assert not scanned.problems


@pytest.mark.faults
@both_sizes
def test_row_33_nesting_of_10_000_levels_is_read(tmp_path: Path) -> None:
    text = '{"a":[' * 5_000 + f'{{"image_url": "{URL}x"}}, {{"image_url": null}}' + "]}" * 5_000
    scanned = in_manifest(tmp_path, text)
    assert scanned.keys == ["x"]
    [position] = scanned.told
    assert position.startswith("lot.json:$.a[0].a[0]")
    assert position.endswith(".a[1].image_url")
    assert len(position) < 400


@pytest.mark.faults
@pytest.mark.parametrize(
    ("text", "position"),
    [
        (f'[{{"image_url": "{URL}x"}},\n oops]', "line 2, column 2"),
        (f'[{{"image_url": "{URL}x"}}', "line 1, column 38"),
        (f'[{{"image_url": "{URL}x"}}] []', "line 1, column 40"),
        (f'[{{"image_url": "{URL}x"}},]', "line 1, column 3"),
        (f'[{{"image_url": "{URL}x"}}, NaN]', "line 1, column 40"),
        (f'[{{"image_url": "{URL}x"}}, -Infinity]', "line 1, column 41"),
        (b'[{"image_url": "https://h.example/x"}, "\xe9"]', None),
    ],
)
def test_row_33_a_break_is_a_problem_and_what_stands_before_it_counts(
    tmp_path: Path, text: str | bytes, position: str | None
) -> None:
    scanned = in_manifest(tmp_path, text)
    assert scanned.keys == ["x"]
    [(where, message)] = scanned.told.items()
    assert position is None or where.startswith(f"lot.json:{position}")
    assert "nothing after it was read" in message


@pytest.mark.faults
@pytest.mark.parametrize(
    "body", [b"", b"  ", b"not json", b"\xff\xfe\x00", bytes(range(256)), b"\x80\x81", b'"a', b"nul"]
)
@both_sizes
def test_row_33_a_file_that_is_no_json_is_one_problem_and_the_others_go_on(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "a.json").write_bytes(body)
    (tmp_path / "b.json").write_text(json.dumps({"image_url": URL + "x"}))
    scanned = whole(manifest(tmp_path / "*.json"))
    assert scanned.keys == ["x"]
    [problem] = scanned.problems
    assert problem.place == str(tmp_path / "a.json")
    assert problem.position
    assert problem.message


@both_sizes
def test_a_number_of_thousands_of_digits_ends_the_file_as_a_problem(tmp_path: Path) -> None:
    scanned = in_manifest(tmp_path, f'[{{"image_url": "{URL}x"}}, {"9" * 5_000}, 1]')
    assert scanned.keys == ["x"]
    assert "too many digits" in next(iter(scanned.told.values()))


@both_sizes
def test_half_a_surrogate_pair_is_a_problem_wherever_the_pieces_fall(tmp_path: Path) -> None:
    padding = " " * 16_300
    objects = [f'{{"image_url": "{URL}{text}"}}' for text in ("\\ud83d\\ude00", "\\ud83d", "\\\\ud83d")]
    document = f"[{padding}{','.join(objects)}]"
    for shift in range(150):
        scanned = in_manifest(tmp_path, " " * shift + document)
        assert scanned.keys == ["😀", "\\ud83d"]
        assert list(scanned.told) == ["lot.json:$[1].image_url"]


def test_what_streams_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_module, "SMALL_FILE", -1)
    endless = in_manifest(tmp_path, f'[{{"image_url": "{URL}x"}}, "' + "a" * 20_000_000 + '"]')
    assert endless.keys == ["x"]
    assert "longer than 8,388,608 bytes" in next(iter(endless.told.values()))
    deep = in_manifest(tmp_path, "[" * 200_000)
    assert "nested deeper than 100,000 levels" in next(iter(deep.told.values()))
    spaces = in_manifest(tmp_path, f'[{{"image_url": "{URL}x"}}' + " " * 20_000_000 + "]")
    assert (spaces.keys, spaces.told) == (["x"], {})


NAMES = st.sampled_from(["image_url", "thumb_url", "lot", "images", "a/b", "é", 'q"', "image"])
TEXTS = st.one_of(
    st.sampled_from([URL + "a", URL + "b c", URL + "?sig=secret", "ftp://h.example/x", "", "image_url", "//x", "\x00"]),
    st.text(st.characters(), max_size=8),
)
SCALARS = st.one_of(TEXTS, st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))


class Twice(dict[str, object]):
    """An object whose last name may stand twice: json.dumps writes what items() says."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def written(value: object, escape: bool) -> str:
    """JSON of the value, with names that stand twice, and with or without escapes."""
    if isinstance(value, Twice):
        pairs = [f"{json.dumps(n, ensure_ascii=escape)}: {written(v, escape)}" for n, v in value.pairs]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(v, escape) for v in value) + "]"
    return json.dumps(value, ensure_ascii=escape)


DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.lists(st.tuples(NAMES, inner), max_size=5).map(Twice),
    max_leaves=25,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(
    document=DOCUMENTS,
    escape=st.booleans(),
    key=st.sampled_from(["{path}", "{lot}/{path}", "{é}{path}", "{image_url}{a/b}"][:3]),
    cut=st.integers(0, 200),
)
def test_small_and_streamed_files_give_the_same(
    tmp_path: Path, document: object, escape: bool, key: str, cut: int
) -> None:
    body = written(document, escape).encode("utf-8", "surrogatepass")
    if cut < 20:
        body = body[: len(body) * cut // 20]

    def scan(small: int) -> Scanned:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(manifest_module, "SMALL_FILE", small)
            return in_manifest(tmp_path, body, key=key, carry=["lot"])

    quick, streamed = scan(1 << 20), scan(-1)
    assert sorted(quick.items, key=repr) == sorted(streamed.items, key=repr)
    assert sorted(p.message for p in quick.problems) == sorted(p.message for p in streamed.problems)
    breaks = [p for p in streamed.problems if "nothing after" in p.message]
    assert len(breaks) <= 1
    if not breaks:
        assert sorted(quick.problems, key=repr) == sorted(streamed.problems, key=repr)


def test_locations_that_wait_too_long_for_their_value_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_module, "SMALL_FILE", -1)
    monkeypatch.setattr(json_events_module, "MOST_WAITING", 10)
    urls = json.dumps([f"{URL}{n}" for n in range(25)])
    scanned = in_manifest(tmp_path, f'{{"image_url": {urls}, "lot": 7}}', key="{lot}/{path}")
    assert scanned.keys == [f"7/{n}" for n in range(20, 25)]
    assert list(scanned.told) == [f"lot.json:$.image_url[{n}]" for n in range(20)]
