"""What include, exclude and files mean."""

import pytest

from migrator.sources.globs import PathGlob, Selection


@pytest.mark.parametrize(
    ("pattern", "matches", "leaves"),
    [
        ("temp/**", ["temp/a", "temp/a/b.jpg"], ["temp", "x/temp/a", "temper/a"]),
        ("**/*.jpg", ["a.jpg", "x/a.jpg", "x/y/z/a.jpg"], ["a.jpeg", "a.jpg2"]),
        ("*.tmp", ["a.tmp", "x/y/a.tmp"], ["a.tmpx", "tmp"]),
        ("cache", ["cache", "cache/a", "x/cache/y/z"], ["cached", "x/cached/y"]),
        ("cache/", ["cache/a", "x/cache/a"], ["cache", "x/cache"]),
        ("/top", ["top", "top/a"], ["x/top"]),
        ("a/*/c", ["a/b/c", "a/b/c/d"], ["a/c", "a/b/b/c"]),
        ("a/**/c", ["a/c", "a/b/c", "a/b/b/c", "a/c/d"], ["b/a/c"]),
        ("a?c", ["abc", "x/abc"], ["ac", "a/c"]),
        ("[ab].txt", ["a.txt", "b.txt"], ["c.txt", "[ab].txt"]),
        ("[!ab].txt", ["c.txt"], ["a.txt"]),
        (r"\*.txt", ["*.txt"], ["a.txt"]),
        ("a.c", ["a.c"], ["abc"]),
        ("x\ny", ["x\ny"], ["x"]),
        ("**", ["a", "a/b", "new\nline"], []),
    ],
)
def test_a_pattern_is_read_as_gitignore_reads_it(pattern: str, matches: list[str], leaves: list[str]) -> None:
    included, excluded = Selection([pattern], []), Selection([], [pattern])
    for path in matches:
        assert included.takes(path), path
        assert not excluded.takes(path), path
    for path in leaves:
        assert not included.takes(path), path
        assert excluded.takes(path), path


def test_an_excluded_folder_is_not_entered() -> None:
    selection = Selection([], ["temp/**", "*.cache", "old/*.jpg"])
    assert not selection.enters("temp")
    assert not selection.enters("x/y.cache")
    assert selection.enters("old")
    assert selection.enters("x/temp")


def test_only_folders_on_the_way_to_an_included_path_are_entered() -> None:
    selection = Selection(["photos/*/full/**", "docs/a.pdf"], [])
    assert all(
        selection.enters(folder) for folder in ("photos", "photos/1", "photos/1/full", "photos/1/full/x", "docs")
    )
    assert not any(selection.enters(folder) for folder in ("video", "photos/1/thumb", "photos2"))
    assert Selection(["*.jpg"], []).enters("any/where")


def test_exclude_beats_include() -> None:
    selection = Selection(["**/*.jpg"], ["temp/**"])
    assert selection.takes("a.jpg")
    assert not selection.takes("temp/a.jpg")
    assert not selection.takes("a.png")


@pytest.mark.parametrize(
    ("pattern", "base", "takes", "leaves"),
    [
        ("data/lots/**/lot_*_images.json", "data/lots", ["lot_1_images.json", "x/y/lot_2_images.json"], ["lot_1.json"]),
        ("*.json", ".", ["a.json"], ["x/a.json", ".a.json", "a.json/b"]),
        ("/abs/x/*.json", "/abs/x", ["a.json"], ["b/a.json"]),
        ("/*.json", "/", ["a.json"], []),
        ("../up/**", "../up", ["a", "b/c"], [".hidden", "b/.git/c"]),
        ("one/file.json", "one", ["file.json"], ["file2.json"]),
        ("file.json", ".", ["file.json"], ["x/file.json"]),
        ("d/*/.keep/*.txt", "d", ["a/.keep/b.txt"], ["a/keep/b.txt"]),
    ],
)
def test_files_is_read_as_a_shell_reads_it(pattern: str, base: str, takes: list[str], leaves: list[str]) -> None:
    glob = PathGlob(pattern)
    assert glob.base == base
    assert all(map(glob.takes, takes))
    assert not any(map(glob.takes, leaves))
    for path in takes:
        folder = path.rpartition("/")[0]
        assert not folder or glob.enters(folder), folder


def test_folders_off_the_way_of_a_glob_are_not_entered() -> None:
    glob = PathGlob("data/*/full/**/x.json")
    assert glob.enters("a")
    assert glob.enters("a/full/b/c")
    assert not glob.enters("a/thumb")
    assert not glob.enters("a/full/.git")
