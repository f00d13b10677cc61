"""`migrator preview`: files in a folder, a page to look at, and the words for what could not be made."""

import json
import os
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from benchmarks.photographs import photograph_jpeg
from migrator.cli.app import application
from tests.images.chart import chart, opened, saved

CONFIG = """
name = "look"
[destination]
bucket = "photos"
[[sources]]
type = "directory"
root = "photos"
key = "{path}"
[[variants]]
name = "full"
key = "full/{path}.{format}"
width = 300
formats = ["avif", "webp", "jpeg", "png"]
[[variants]]
name = "small"
key = "small/{path}"
width = 40
height = 40
fit = "cover"
max_bytes = "2kB"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("migrator.toml").write_text(CONFIG.replace("2kB", "2KB"))
    Path("one.jpg").write_bytes(photograph_jpeg(1, (640, 480), orientation=6))
    Path("a <b>&.png").write_bytes(saved(chart(), "PNG"))
    Path("page.jpg").write_bytes(b"<!doctype html><p>Please log in")
    return tmp_path


def preview(*arguments: str) -> Result:
    return CliRunner().invoke(application(), ["preview", *arguments])


def test_variants_and_a_page_are_written(folder: Path) -> None:
    ended = preview("one.jpg", "a <b>&.png")
    assert ended.exit_code == 0, ended.output
    names = sorted(os.listdir("preview"))
    kinds = ("full.avif", "full.jpeg", "full.png", "full.webp", "small.jpeg")
    assert names == [*(f"a <b>&.{kind}" for kind in kinds), "index.html", *(f"one.{kind}" for kind in kinds)]
    assert opened(Path("preview/one.full.avif").read_bytes()).size == (300, 400)
    assert opened(Path("preview/one.small.jpeg").read_bytes()).size == (40, 40)
    assert "one.jpg" in ended.stdout
    assert re.search(r"full png +300 x 400, .* kB \(.* %\), lossless, \d+ ms", ended.stdout)
    assert ended.stdout.endswith("wrote preview/index.html\n")


def test_the_page_needs_nothing_else_and_believes_no_name(folder: Path) -> None:
    assert preview("one.jpg", "a <b>&.png", "--out", "look").exit_code == 0
    page = Path("look/index.html").read_text(encoding="utf-8")
    assert "<h2>a &lt;b&gt;&amp;.png</h2>" in page
    assert '<a href="a%20%3Cb%3E%26.full.avif">' in page
    assert not re.search(r"https?:|<script|<link", page)
    images = re.findall(r'src="data:(image/\w+);base64,([^"]+)"', page)
    assert len(images) == 2 * 6
    assert {kind for kind, _ in images} == {"image/avif", "image/webp", "image/jpeg", "image/png"}
    assert b64decode(images[1][1]) == Path("look/one.full.avif").read_bytes()
    assert "<span>480 x 640</span>" in page
    assert "<span>300 x 400</span>" in page


def test_what_cannot_be_made_is_told(folder: Path) -> None:
    ended = preview("page.jpg", "one.jpg")
    assert ended.exit_code == 1
    assert "full avif   no decoder here for text/html" in ended.stdout
    assert Path("preview/one.full.avif").exists()
    assert "<p>no decoder here for text/html</p>" in Path("preview/index.html").read_text(encoding="utf-8")


def test_machines_may_read_it(folder: Path) -> None:
    ended = preview("one.jpg", "page.jpg", "--json")
    good, bad = (json.loads(line) for line in ended.stdout.splitlines())
    variant: dict[str, Any] = good["variants"][-1]
    assert (variant["name"], variant["format"], variant["width"], variant["path"]) == (
        "small",
        "jpeg",
        40,
        "preview/one.small.jpeg",
    )
    assert variant["bytes"] == Path("preview/one.small.jpeg").stat().st_size <= 2000
    assert {each["fault"] for each in bad["variants"]} == {"render"}


def test_files_of_one_name_are_kept_apart(folder: Path) -> None:
    Path("more").mkdir()
    Path("more/one.png").write_bytes(saved(chart(), "PNG"))
    assert preview("one.jpg", "more/one.png").exit_code == 0
    assert Path("preview/one-1.full.png").exists()
    assert Path("preview/one-2.full.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.jpg"], "error: absent.jpg is no file"),
        (["."], "error: . is no file"),
        (["one.jpg", "--out", "one.jpg"], "error: one.jpg cannot be made: File exists"),
    ],
)
def test_what_it_cannot_work_with(folder: Path, arguments: list[str], said: str) -> None:
    ended = preview(*arguments)
    assert ended.exit_code == 2
    assert said in ended.stderr


def test_there_must_be_variants(folder: Path) -> None:
    Path("migrator.toml").write_text(CONFIG.partition("[[variants]]")[0])
    ended = preview("one.jpg")
    assert ended.exit_code == 2
    assert "error: there are no [[variants]] to preview" in ended.stderr
