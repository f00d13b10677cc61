"""The source `directory`: what is found, what is refused by name, and that a resume loses nothing."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from migrator.clients.fingerprints import file_fingerprint
from migrator.core.errors import PreflightError
from migrator.core.files import file_path
from migrator.core.model import Fault
from migrator.sources import page as page_module
from migrator.sources import walk as walk_module
from tests.sources.scanning import directory, whole


def write(root: Path, *names: str | bytes, body: bytes = b"x") -> None:
    for name in names:
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def test_items_carry_location_key_size_and_fingerprint(tmp_path: Path) -> None:
    write(tmp_path, "a/b.jpg", body=b"12345")
    [item] = whole(directory(tmp_path, prefix="storage/", key="{dir}-{stem}.{ext}", carry=["name"])).items
    assert item.key == "storage/a-b.jpg"
    assert file_path(item.location) == str(tmp_path.resolve() / "a/b.jpg")
    assert item.size == 5
    assert item.fingerprint == file_fingerprint((tmp_path / "a/b.jpg").stat())
    assert item.fields == {"name": "b.jpg"}


def test_the_order_is_files_before_folders_each_by_name(tmp_path: Path) -> None:
    write(tmp_path, "z", "a/z", "a/b/c", "a-b", "b/a", "a/a")
    assert whole(directory(tmp_path)).keys == ["a-b", "z", "a/a", "a/z", "a/b/c", "b/a"]


@pytest.mark.faults
def test_row_11_every_file_name_is_byte_exact_or_refused_by_name(tmp_path: Path) -> None:
    good = [
        "a b",
        "100%",
        "a%20b",
        "q?x=1",
        "#h",
        "+&=;,",
        "é",
        "e\u0301",
        "🖼.jpg",
        "a\nb",
        "tab\t",
        "\\",
        "...",
        "~",
        "'\"",
    ]
    write(tmp_path, *good)
    write(tmp_path, b"not-utf8-\xff.jpg")
    scanned = whole(directory(tmp_path))
    assert set(scanned.keys) == set(good)
    for item in scanned.items:
        assert item.location.isascii()
        assert not set(item.location) & set(" ?#\n\t\\")
        assert file_path(item.location) == f"{tmp_path.resolve()}/{item.key}"
    [problem] = scanned.problems
    assert problem.place == f"{tmp_path.resolve()}/not-utf8-\\xff.jpg"
    assert problem.message == "the key is not valid UTF-8"


@pytest.mark.faults
def test_row_11_a_key_of_1025_bytes_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "x" * 200)
    assert len(whole(directory(tmp_path, prefix="p" * 823 + "/")).items) == 1
    scanned = whole(directory(tmp_path, prefix="p" * 824 + "/"))
    assert not scanned.items
    assert scanned.problems[0].message == "the key has 1025 bytes; S3 allows 1024"
    assert scanned.problems[0].fault is Fault.INVALID


@pytest.mark.faults
def test_row_12_two_files_for_one_key_are_both_passed_on(tmp_path: Path) -> None:
    write(tmp_path, "a/x.jpg", "b/x.jpg")
    assert whole(directory(tmp_path, key="{name}")).keys == ["x.jpg", "x.jpg"]


@pytest.mark.faults
def test_row_22_what_is_no_regular_file_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "good.jpg")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(tmp_path)  # A socket's path may be only 107 bytes long.
        try:
            listening.bind("socket")
        finally:
            os.chdir(here)
    scanned = whole(directory(tmp_path))
    assert scanned.keys == ["good.jpg"]
    assert scanned.told == {
        "pipe:": "a named pipe: only regular files are moved",
        "socket:": "a socket: only regular files are moved",
    }


@pytest.mark.faults
def test_row_22_symbolic_links_are_refused_by_name_unless_followed(tmp_path: Path) -> None:
    write(tmp_path, "root/real.jpg", "root/sub/x.jpg", "outside/secret")
    root = tmp_path / "root"
    (root / "link.jpg").symlink_to("real.jpg")
    (root / "sublink").symlink_to("sub")
    scanned = whole(directory(root))
    assert scanned.keys == ["real.jpg", "sub/x.jpg"]
    assert {Path(problem.place).name for problem in scanned.problems} == {"link.jpg", "sublink"}
    assert all("follow_symlinks" in problem.message for problem in scanned.problems)


@pytest.mark.faults
def test_row_22_followed_links_stay_under_the_root_and_never_loop(tmp_path: Path) -> None:
    write(tmp_path, "root/real.jpg", "root/sub/x.jpg", "outside/secret", "root-sibling/y")
    root = tmp_path / "root"
    for name, target in {
        "link.jpg": "real.jpg",
        "sublink": "sub",
        "out-file": "../outside/secret",
        "out-folder": "../outside",
        "out-sibling": "../root-sibling",
        "broken": "nothing",
        "self": "self",
        "loop": ".",
        "sub/up": "..",
    }.items():
        (root / name).symlink_to(target)
    scanned = whole(directory(root, follow_symlinks=True))
    assert scanned.keys == ["link.jpg", "real.jpg", "sub/x.jpg", "sublink/x.jpg"]
    reasons = {str(Path(p.place).relative_to(root.resolve())): (p.fault, p.message) for p in scanned.problems}
    assert set(reasons) == {"out-file", "out-folder", "out-sibling", "broken", "self", "loop", "sub/up", "sublink/up"}
    for name in ("out-file", "out-folder", "out-sibling"):
        assert reasons[name] == (Fault.FORBIDDEN, "a symbolic link that leads out of the root: not followed")
    for name in ("loop", "sub/up", "sublink/up"):
        assert "loop" in reasons[name][1]
    assert reasons["broken"][0] is Fault.GONE


@pytest.mark.faults
def test_row_22_links_that_lead_to_each_other_end(tmp_path: Path) -> None:
    write(tmp_path, "a/1", "b/2")
    (tmp_path / "a/to-b").symlink_to("../b")
    (tmp_path / "b/to-a").symlink_to("../a")
    scanned = whole(directory(tmp_path, follow_symlinks=True))
    assert sorted(scanned.keys) == ["a/1", "a/to-b/2", "b/2", "b/to-a/1"]


@pytest.mark.faults
def test_row_22_unreadable_files_and_folders_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "tree/good.jpg", "tree/shut.jpg", "tree/locked/x.jpg")
    (tmp_path / "tree/shut.jpg").chmod(0)
    (tmp_path / "tree/locked").chmod(0)
    program = (
        "from pathlib import Path; from tests.sources.scanning import directory, whole\n"
        f"found = whole(directory(Path({str(tmp_path / 'tree')!r})))\n"
        "print(found.keys, sorted((Path(p.place).name, p.fault.value) for p in found.problems))"
    )
    if os.geteuid() == 0:
        # Root may read everything: the scan gives that up first, once everything is loaded that scanning needs.
        loaded = "import os; from pathlib import Path; from tests.sources.scanning import directory; directory(Path())"
        program = f"{loaded}\nos.setuid(65534)\n{program}"
        for parent in (tmp_path, *tmp_path.parents):
            if parent.stat().st_mode & 0o005 != 0o005 and str(parent).startswith("/tmp/pytest-of"):
                parent.chmod(0o755)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    (tmp_path / "tree/locked").chmod(0o755)
    assert answer.stdout.strip() == "['good.jpg'] [('locked', 'forbidden'), ('shut.jpg', 'forbidden')]"


def test_empty_files_are_objects_unless_an_image_is_expected(tmp_path: Path) -> None:
    write(tmp_path, "empty", body=b"")
    assert whole(directory(tmp_path)).items[0].size == 0
    assert whole(directory(tmp_path, expect="image")).told == {"empty:": "an empty file where an image is expected"}


def test_sizes_out_of_bounds_are_invalid(tmp_path: Path) -> None:
    for size in (1, 2, 3, 4):
        write(tmp_path, str(size), body=b"x" * size)
    scanned = whole(directory(tmp_path, min_size="2B", max_size="3B"))
    assert scanned.keys == ["2", "3"]
    assert scanned.told == {"1:": "1 bytes, where min_size is 2", "4:": "4 bytes, where max_size is 3"}
    assert {problem.fault for problem in scanned.problems} == {Fault.INVALID}


def test_what_is_excluded_or_does_not_match_is_counted(tmp_path: Path) -> None:
    write(tmp_path, "temp/a", "temp/b/c", "x/1.jpg", "x/2.tmp", "x/lot7.jpg")
    scanned = whole(
        directory(tmp_path, exclude=["temp/**", "*.tmp"], match="lot(?P<n>[0-9]+)", key="{n}", on_no_match="skip")
    )
    assert scanned.keys == ["7"]
    assert scanned.skipped == 3
    assert not scanned.problems
    scanned = whole(directory(tmp_path, include=["x/*.jpg"], match="lot(?P<n>[0-9]+)", key="{n}"))
    assert scanned.keys == ["7"]
    assert "does not match" in scanned.told["1.jpg:"]


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_root_that_cannot_be_listed_stops_the_run(tmp_path: Path, kind: str) -> None:
    write(tmp_path, "file")
    with pytest.raises(PreflightError, match="does not exist" if kind == "missing" else "is not a directory") as caught:
        whole(directory(tmp_path / kind))
    assert caught.value.hint


def test_the_root_path_tells_one_place_from_another(tmp_path: Path) -> None:
    write(tmp_path, "real/x")
    (tmp_path / "alias").symlink_to("real")
    assert directory(tmp_path / "alias").root_path == directory(tmp_path / "real").root_path
    assert whole(directory(tmp_path / "alias")).locations == whole(directory(tmp_path / "real")).locations


def test_an_empty_root_is_one_empty_page(tmp_path: Path) -> None:
    [page] = directory(tmp_path).scan(None)
    assert (page.items, page.problems) == ((), ())
    assert list(directory(tmp_path).scan(page.cursor)) == []


@pytest.mark.parametrize("sorted_entries", [100_000, 4], ids=["sorted", "streamed"])
def test_a_resume_after_any_page_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sorted_entries: int
) -> None:
    monkeypatch.setattr(page_module, "PAGE_ENTRIES", 3)
    monkeypatch.setattr(walk_module, "SORTED_ENTRIES", sorted_entries)
    names = [f"{folder}f{i}" for folder in ("", "a/", "a/b/", "a/b/c/", "a-b/", "d/e/") for i in range(5)]
    write(tmp_path, *names, b"a/\xff-bad")
    pages = list(directory(tmp_path).scan(None))
    assert len(pages) > 8
    assert max(len(page.items) + len(page.problems) for page in pages) <= 3
    everything = {item.key for page in pages for item in page.items}
    assert everything == set(names)
    seen: set[str] = set()
    for page in pages:
        seen |= {item.key for item in page.items}
        rest = [item.key for later in directory(tmp_path).scan(page.cursor) for item in later.items]
        assert seen | set(rest) == everything
        if sorted_entries > 4:
            assert not seen & set(rest), "a sorted tree is resumed exactly"
            assert len(rest) == len(set(rest))


def test_a_resume_goes_on_when_the_folder_it_stood_in_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "PAGE_ENTRIES", 1)
    write(tmp_path, "a/1", "b/2", "c/3")
    pages = list(directory(tmp_path).scan(None))
    (tmp_path / "b/2").unlink()
    (tmp_path / "b").rmdir()
    assert [item.key for page in directory(tmp_path).scan(pages[1].cursor) for item in page.items] == ["c/3"]


def test_a_large_folder_is_streamed_with_all_that_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_module, "SORTED_ENTRIES", 10)
    names = [f"big/{i:03}" for i in range(50)] + [f"big/sub{i}/x" for i in range(5)] + ["after/y"]
    write(tmp_path, *names)
    assert sorted(whole(directory(tmp_path)).keys) == sorted(names)


def test_a_resume_loses_nothing_when_a_large_folder_has_become_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "PAGE_ENTRIES", 1)
    names = [f"{folder}f{i}" for folder in ("a/", "a/x/", "a/y/", "a/z/") for i in range(8)]
    write(tmp_path, *names)
    monkeypatch.setattr(walk_module, "SORTED_ENTRIES", 4)
    pages = list(directory(tmp_path).scan(None))
    monkeypatch.setattr(walk_module, "SORTED_ENTRIES", 100)
    seen: set[str] = set()
    for page in pages:
        seen |= {item.key for item in page.items}
        rest = {item.key for later in directory(tmp_path).scan(page.cursor) for item in later.items}
        assert seen | rest == set(names)
