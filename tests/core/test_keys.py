"""Key templates understand names and nothing else, and keys are byte-exact or refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.core.keys import (
    PATH_NAMES,
    KeyMaker,
    Naming,
    NoMatch,
    Template,
    TemplateError,
    compile_template,
    key_problem,
    location_path,
)

NAMES = st.from_regex(r"[a-z_][a-z0-9_-]{0,8}(\.[a-z0-9_]{1,4})?", fullmatch=True)
PIECES = st.lists(st.tuples(st.text(max_size=12), NAMES), max_size=5)


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


@given(PIECES, st.text(max_size=12), st.dictionaries(NAMES, st.text(max_size=12)))
def test_filling_puts_each_value_in_its_place_and_leaves_the_rest(
    pieces: list[tuple[str, str]], tail: str, others: dict[str, str]
) -> None:
    values = {**others, **{name: f"<{name}> {{path}} {{{{" for _, name in pieces}}
    template = compile_template("".join(f"{_escaped(text)}{{{name}}}" for text, name in pieces) + _escaped(tail))
    assert template.names == tuple(name for _, name in pieces)
    assert template.fill(values) == "".join(text + values[name] for text, name in pieces) + tail


@given(st.text())
def test_text_without_names_is_itself(text: str) -> None:
    template = compile_template(_escaped(text))
    assert template.names == ()
    assert template.fill({}) == text


@given(st.text(alphabet="{}a.[]!:_0 ", max_size=20))
def test_a_template_compiles_to_plain_names_or_is_refused(text: str) -> None:
    try:
        template = compile_template(text)
    except TemplateError:
        return
    assert all(not set(name) & set("{}[]!: ") for name in template.names)
    filled = template.fill(dict.fromkeys(template.names, ""))
    assert len(filled) <= len(text)


@pytest.mark.parametrize(
    "text",
    [
        "{path[0]}",
        "{path!r}",
        "{path:>9}",
        "{}",
        "{0}",
        "{ path}",
        "{path.}",
        "{.path}",
        "{a..b}",
        "{path()}",
        "{a+b}",
        "{{path}",
        "{path}}",
        "{",
        "}",
        "{a{b}}",
        "{path\n}",
    ],
)
def test_what_is_no_plain_name_is_refused(text: str) -> None:
    with pytest.raises(TemplateError):
        compile_template(text)


def test_a_dotted_name_is_a_name_and_no_attribute() -> None:
    template = compile_template("{path.__class__}")
    with pytest.raises(TemplateError, match=r"\{path\.__class__\} has no value"):
        template.fill({"path": "x"})
    assert template.fill({"path.__class__": "plain"}) == "plain"


def test_a_null_is_no_value() -> None:
    with pytest.raises(TemplateError, match=r"\{lot\} has no value"):
        compile_template("{lot}").fill({"lot": None})


def test_a_lone_brace_is_named_with_its_place() -> None:
    with pytest.raises(TemplateError, match="a lone } at character 3; write }} for a brace"):
        compile_template("ab}")


GOOD_KEYS = [
    "a",
    "a+b",
    "100%",
    "%2F",
    "a#b",
    "a?b=c",
    "a&b",
    "two words",
    " lead and trail ",
    "a//b",
    "trailing/",
    "caf\u00e9",
    "cafe\u0301",
    "\U0001f4f7/\U0001f468\u200d\U0001f469\u200d\U0001f467.jpg",
    "...",
    "a/...",
    ".hidden",
    "a..b",
    "..a",
    "x" * 1024,
    "\u00e9" * 512,
    "\U0001f4f7" * 256,
    "back\\slash",
    "quote'\"",
    "new\nline",
]

BAD_KEYS = [
    ("", "empty"),
    ("/a", "begins with /"),
    ("/", "begins with /"),
    (".", "segment"),
    ("..", "segment"),
    ("../a", "segment"),
    ("a/../b", "segment"),
    ("a/./b", "segment"),
    ("a/..", "segment"),
    ("x" * 1025, "1025 bytes"),
    ("\u00e9" * 512 + "x", "1025 bytes"),
    ("a\0b", "NUL"),
    ("a\udcff", "UTF-8"),
]


@pytest.mark.parametrize("key", GOOD_KEYS)
def test_a_strange_key_is_byte_exact(key: str) -> None:
    assert key_problem(key) is None
    assert KeyMaker("{path}", Naming()).make(key) == (key, None)
    assert KeyMaker("{path}", Naming(), match="(?s)^(?P<all>.*)$").make(key) == (key, None)


@pytest.mark.parametrize(("key", "reason"), BAD_KEYS)
def test_an_impossible_key_is_refused_by_name(key: str, reason: str) -> None:
    problem = key_problem(key)
    assert problem is not None
    assert reason in problem
    with pytest.raises(TemplateError, match=reason):
        KeyMaker("{path}", Naming()).make(key)


@given(st.text(max_size=1100))
def test_every_text_is_a_key_or_has_one_line_of_reason(key: str) -> None:
    problem = key_problem(key)
    assert problem is None or ("\n" not in problem and len(problem) < 80)
    if problem is None:
        assert 1 <= len(key.encode()) <= 1024


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a/b/photo.tar.gz", ("a/b", "photo.tar.gz", "photo.tar", "gz")),
        ("photo", ("", "photo", "photo", "")),
        ("a/.hidden", ("a", ".hidden", ".hidden", "")),
        ("a.b/c", ("a.b", "c", "c", "")),
        ("a/", ("a", "", "", "")),
        ("a//b.x", ("a/", "b.x", "b", "x")),
        ("x.", ("", "x.", "x", "")),
    ],
)
def test_parts_of_a_path(path: str, parts: tuple[str, str, str, str]) -> None:
    key, _ = KeyMaker("{path}|{dir}|{name}|{stem}|{ext}", Naming()).make(path)
    assert key == "|".join((path, *parts))


def test_the_prefix_stands_before_every_key_as_it_is() -> None:
    assert KeyMaker("{path}", Naming("storage/")).make("a/b")[0] == "storage/a/b"
    assert KeyMaker("x-{name}", Naming("v1-")).make("a/b")[0] == "v1-x-b"


def test_groups_and_fields_and_what_later_templates_want() -> None:
    maker = KeyMaker("{lot}/{rest}", Naming(carry=("lot", "dir", "seller", "host", "lot")), match="^cdn/(?P<rest>.+)$")
    key, carried = maker.make("cdn/a/b.jpg", host="h", fields={"lot": "7", "seller": None, "other": "no"})
    assert key == "7/a/b.jpg"
    assert carried == {"lot": "7", "dir": "cdn/a", "host": "h"}


def test_groups_beat_path_names_and_path_names_beat_fields() -> None:
    maker = KeyMaker("{name}|{stem}", Naming(), match=r"(?P<stem>\d+)")
    assert maker.make("a-12.x", fields={"name": "field"})[0] == "a-12.x|12"


def test_a_path_without_a_match_is_told_with_the_pattern() -> None:
    with pytest.raises(NoMatch, match=r"'b' does not match '\^a'"):
        KeyMaker("{path}", Naming(), match="^a").make("b")


def test_a_group_that_took_no_part_has_no_value() -> None:
    with pytest.raises(TemplateError, match=r"\{b\} has no value"):
        KeyMaker("{b}", Naming(), match="a|(?P<b>b)").make("a")


def test_keys_of_the_tools_own_are_kept_free() -> None:
    with pytest.raises(TemplateError, match="in/_migrator/"):
        KeyMaker("{path}", Naming("in/")).make("_migrator/backup/1/a")
    assert KeyMaker("{path}", Naming("in/")).make("a/_migrator/b")[0] == "in/a/_migrator/b"


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("https://h/a/b.jpg", "a/b.jpg"),
        ("https://h/a%20b%2Bc%2fd", "a b+c/d"),
        ("https://h/a%2520b", "a%20b"),
        ("https://h/a+b", "a+b"),
        ("https://h//a", "a"),
        ("https://h/a?x=%2F#f", "a"),
        ("https://h", ""),
        ("s3://bucket/k/%F0%9F%93%B7", "k/%F0%9F%93%B7"),
        ("s3://bucket//a b?c#d%", "/a b?c#d%"),
    ],
)
def test_the_path_of_a_location_is_decoded_once_and_has_no_query(location: str, path: str) -> None:
    assert location_path(location) == path


def test_a_path_that_is_no_utf_8_is_refused_as_a_key() -> None:
    with pytest.raises(TemplateError, match="UTF-8"):
        KeyMaker("{path}", Naming()).make(location_path("https://h/%ff"))


def test_a_compiled_template_is_a_value() -> None:
    assert compile_template("a{path}b") == Template(("a", "path", "b"))
    assert set(PATH_NAMES) == {"path", "dir", "name", "stem", "ext", "host", "bucket"}
