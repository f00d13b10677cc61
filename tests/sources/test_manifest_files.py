"""Which files a manifest source reads, in which order, and that a scan resumes after any page."""

import json
import os
from pathlib import Path

import pytest

from migrator.core.errors import PreflightError
from migrator.core.model import Page
from migrator.sources import manifest as manifest_module
from migrator.sources import page as page_module
from migrator.sources import walk as walk_module
from tests.sources.scanning import manifest, whole

URL = "https://h.example/"


def lot(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"image_url": URL + name} for name in names]))


def test_files_are_relative_to_the_working_directory_and_read_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("z", "a/2", "a/1", "b/c/3", ".hidden/4"):
        lot(tmp_path / f"data/{name}.json", name)
    lot(tmp_path / "other.json", "other")
    (tmp_path / "data/x.json").mkdir()
    (tmp_path / "data/notes.md").write_text("no manifest")
    assert whole(manifest("data/**/*.json")).keys == ["z", "a/1", "a/2", "b/c/3"]
    one = whole(manifest("data/a/1.json"))
    assert one.keys == ["a/1"]
    beside = whole(manifest("data/z.json"))
    assert (beside.keys, beside.skipped) == (["z"], 0), "folders beside it are nothing that was left out"
    assert whole(manifest(str(tmp_path / "data/*/*.json"))).keys == ["a/1", "a/2"]


def test_links_are_followed_but_not_in_a_circle(tmp_path: Path) -> None:
    lot(tmp_path / "elsewhere/x.json", "x")
    lot(tmp_path / "data/y.json", "y")
    (tmp_path / "data/link").symlink_to("../elsewhere")
    (tmp_path / "elsewhere/back").symlink_to("../data")
    scanned = whole(manifest(tmp_path / "data/**/*.json"))
    assert scanned.keys == ["y", "x"]
    assert "loop" in "".join(scanned.told.values())


@pytest.mark.parametrize("files", ["none/*.json", "*.json", "data"])
def test_files_that_match_nothing_stop_the_run(tmp_path: Path, files: str) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(PreflightError, match="no file matches") as caught:
        whole(manifest(tmp_path / files))
    assert caught.value.hint


@pytest.mark.faults
def test_row_33_what_is_no_readable_manifest_is_a_problem_by_name(tmp_path: Path) -> None:
    lot(tmp_path / "good.json", "a")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "broken.json").symlink_to("nowhere")
    (tmp_path / "strange.xml").write_text("<x/>")
    scanned = whole(manifest(tmp_path / "*"))
    assert scanned.keys == ["a"]
    assert {Path(problem.place).name for problem in scanned.problems} == {"pipe.json", "broken.json", "strange.xml"}


def test_the_format_can_be_told(tmp_path: Path) -> None:
    (tmp_path / "urls").write_text(URL + "a\n")
    assert whole(manifest(tmp_path / "urls", format="txt", fields=())).keys == ["a"]
    assert "fields is empty" in "".join(whole(manifest(tmp_path / "urls", format="json", fields=())).told.values())


@pytest.mark.parametrize("sorted_entries", [100_000, 4], ids=["sorted", "streamed"])
@pytest.mark.parametrize("small_file", [1 << 20, -1], ids=["small", "large"])
def test_a_resume_after_any_page_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sorted_entries: int, small_file: int
) -> None:
    monkeypatch.setattr(page_module, "PAGE_ENTRIES", 3)
    monkeypatch.setattr(walk_module, "SORTED_ENTRIES", sorted_entries)
    monkeypatch.setattr(manifest_module, "SMALL_FILE", small_file)
    for folder in ("", "a/", "a/b/", "c/"):
        for i in range(6):
            lot(tmp_path / f"{folder}{i}.json", *(f"{folder}{i}/{n}" for n in range(i)), f"../bad{folder}{i}")
    (tmp_path / "a/urls.txt").write_text("".join(f"{URL}txt/{n}\n" for n in range(10)))
    source = manifest(tmp_path / "**/*")
    pages = list(source.scan(None))
    assert max(len(page.items) + len(page.problems) for page in pages) <= 3

    def found(part: list[Page]) -> list[str]:
        problems = [p.place + p.position for page in part for p in page.problems]
        return [item.key for page in part for item in page.items] + problems

    everything = found(pages)
    assert len(everything) == len(set(everything)) == 4 * (15 + 6) + 10
    for number, page in enumerate(pages, 1):
        rest = found(list(source.scan(page.cursor)))
        assert set(found(pages[:number])) | set(rest) == set(everything)
        if sorted_entries > 4:
            assert rest == everything_after(found(pages[:number]), everything)


def everything_after(seen: list[str], everything: list[str]) -> list[str]:
    """What an exact resume finds, in the order in which `found` tells it: items, then problems."""
    return [one for one in everything if one not in set(seen)]
