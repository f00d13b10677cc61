"""`migrator report --format html`: what the page says, that it needs nothing else, and that it believes nothing."""

import asyncio
import html
import json
import os
import pty
import re
import sqlite3
from contextlib import closing
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.photographs import photograph_jpeg
from migrator.core.model import Failed, Fault, Item, Page, Problem, Settlement, Stored
from migrator.ledger.sqlite import SqliteLedger
from tests.cli import chromium
from tests.cli.conftest import Project

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x01 {{ 7 * 7 }}"
THUMBS = '\n[[variants]]\nname = "thumb"\nkey = "{stem}.thumb.{format}"\nwidth = 40\nformats = ["jpeg", "webp"]\n'
PHOTOS = '[[sources]]\nname = "photos"\ntype = "directory"\nroot = "photos"\nkey = "{path}"\n'


class Outline(HTMLParser):
    """Tags with their attributes, and the words between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """As a reader sees it."""
        return " ".join(" ".join(self.words).split())

    def titles(self) -> list[str]:
        """Sections of the page, by their ids."""
        return [str(attributes["id"]) for tag, attributes in self.tags if tag == "section"]


def page_of(project: Project, *options: str) -> str:
    """The page, written to a file and read again."""
    ended = project.run("report", "-o", "report.html", *options)
    assert (ended.status, ended.out) == (0, "wrote report.html\n"), ended.err
    return (project.folder / "report.html").read_text(encoding="utf-8")


async def _fill(path: Path) -> None:
    """A ledger in which whatever comes from outside is hostile."""
    location = f"https://old.example/{HOSTILE}"
    items = [Item(f"{location}/{number}", f"{HOSTILE}/{number}", 10) for number in range(8)]
    taken = Item(f"{location}/taken", f"{HOSTILE}/0", 10)
    secret = "https://old.example/a?X-Amz-Signature=canary-secret-canary"
    problem = Problem(HOSTILE, f"line {HOSTILE}", Fault.INVALID, f"{HOSTILE} in {secret}")
    with SqliteLedger.open(path, name="trial") as ledger:
        await ledger.add("lots", Page((*items, taken), (problem,), "end"))
        await ledger.finish_scan("lots")
        run = await ledger.begin_run("migrate", "hash")
        tasks = await ledger.claim(8)
        stored = Stored(10, bytes(32), "image/jpeg", "etag", None)
        failed = Failed(Fault.GONE, f"{HOSTILE}: {secret} answered 404")
        await ledger.settle([Settlement(task, stored, 3, 0.1) for task in tasks[:3]])
        await ledger.settle([Settlement(task, failed, 1, 0.1) for task in tasks[3:]])
        await ledger.finish_run(run, 1, {"PUT": 3, "HEAD": 1}, (3, 30))


@pytest.fixture
def hostile(project: Project) -> Project:
    project.lots(["http://old.example/a"])
    asyncio.run(_fill(project.folder / "checkpoints" / "trial.db"))
    return project


@pytest.fixture
def pictured(project: Project) -> Project:
    """Three photographs with their thumbnails."""
    (project.folder / "photos").mkdir()
    for seed in range(3):
        (project.folder / "photos" / f"{seed}.jpg").write_bytes(photograph_jpeg(seed, (200, 150)))
    project.configure(PHOTOS + THUMBS)
    assert project.run("migrate").status == 0
    return project


def test_the_page_loads_nothing_and_runs_nothing(hostile: Project) -> None:
    page = page_of(hostile)
    tags = Outline(page).tags
    assert "script" not in {tag for tag, _ in tags}
    assert not {tag for tag, _ in tags} & {"link", "iframe", "object", "embed", "base", "form"}
    for _, attributes in tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert re.match(r"#|data:image/|$", attributes.get(name) or ""), attributes
    assert re.findall(r"url\(|@import", page) == []
    policy = next(attributes for _, attributes in tags if attributes.get("http-equiv"))
    assert str(policy["content"]).startswith("default-src 'none';")


def test_what_comes_from_outside_is_text_and_secrets_stay_away(hostile: Project) -> None:
    page = page_of(hostile)
    outline = Outline(page)
    shown = HOSTILE.replace("\x01", "\u2401")
    assert "canary" not in page
    assert "\x01" not in page
    assert f"{shown}: https://old.example/a?*** answered 404" in outline.text
    assert f"https://old.example/{shown}/3" in outline.text
    assert f"line {shown}" in outline.text
    assert f"not moved: https://old.example/{shown}/taken" in outline.text
    assert html.escape("<script>", quote=False) in page


def test_it_says_what_happened_and_what_to_do(hostile: Project) -> None:
    outline = Outline(page_of(hostile))
    assert "Finished with gaps 6 objects failed, 1 problem in the sources." in outline.text
    assert "gone: 5 objects" in outline.text
    assert "What to do: find the objects elsewhere: migrator report --format csv lists them as a manifest." in (
        outline.text
    )
    assert "retries 6 tries after the first" in outline.text
    assert "4 requests: migrate 4." in outline.text
    assert outline.titles() == [
        "sources", "throughput", "failed", "conflicts", "problems", "requests", "runs", "about"
    ]  # fmt: skip


def test_tables_and_charts_can_be_read_aloud(hostile: Project) -> None:
    tags = Outline(page_of(hostile)).tags
    heads = [attributes for tag, attributes in tags if tag == "th"]
    assert {attributes.get("scope") for attributes in heads} == {"col", "row"}
    tables = [tag for tag, _ in tags if tag in ("table", "caption")]
    assert tables[::2].count("table") == tables[1::2].count("caption") == len(tables) // 2
    drawn = [attributes for tag, attributes in tags if tag == "svg" and attributes.get("role") == "img"]
    assert drawn
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_same_ledger_makes_the_same_page(pictured: Project) -> None:
    assert page_of(pictured) == page_of(pictured)
    assert pictured.run("report", "--format", "html").out == page_of(pictured)


def test_it_shows_the_smallest_variants_as_they_stand(pictured: Project) -> None:
    objects = pictured.objects()
    page = page_of(pictured)
    sizes = {form: sum(len(objects[f"{seed}.thumb.{form}"]) for seed in range(3)) for form in ("jpeg", "webp")}
    smallest = min(sizes, key=lambda form: sizes[form])
    assert re.findall(r'src="(data:image/\w+);', page) == [f"data:image/{smallest}"] * 3
    assert sorted(re.findall(r'alt="([^"]+)"', page)) == [f"{seed}.thumb.{smallest}" for seed in range(3)]
    assert "40 x 30" in Outline(page).text
    assert "data:" not in page_of(pictured, "--no-images").replace("img-src data:", "")


def test_it_shows_nothing_that_is_not_what_was_stored(pictured: Project) -> None:
    client = pictured.server.client()
    for form in ("jpeg", "webp"):
        genuine = client.get_object(Bucket=pictured.bucket, Key=f"0.thumb.{form}")["Body"].read()
        client.put_object(Bucket=pictured.bucket, Key=f"0.thumb.{form}", Body=genuine[:-1] + bytes([genuine[-1] ^ 1]))
        client.put_object(Bucket=pictured.bucket, Key=f"1.thumb.{form}", Body=b"<script>alert(1)</script>" * 1000)
        client.delete_object(Bucket=pictured.bucket, Key=f"2.thumb.{form}")
    page = page_of(pictured)
    assert "<img" not in page
    assert page.count("Something else stands there now than was stored.") == 2
    assert page.count("It could not be read: ") == 1


def test_it_needs_neither_network_nor_credentials(pictured: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    config = pictured.folder / "migrator.toml"
    config.write_text(config.read_text().replace(pictured.server.endpoint, "http://127.0.0.1:9"))
    page = page_of(pictured)
    assert "No images are shown: the destination could not be read when this was written" in page
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert "No images are shown: the destination could not be read when this was written" in page_of(pictured)


def test_every_format_lists_what_a_rollback_left_alone(pictured: Project) -> None:
    pictured.server.client().put_object(Bucket=pictured.bucket, Key="1.jpg", Body=b"somebody's")
    assert pictured.run("rollback", "--yes").status == 1
    why = "somebody put something else there since"
    outline = Outline(page_of(pictured))
    assert "rollback" in outline.titles()
    assert f"1.jpg {why} (object of photos)" in outline.text
    assert f"- object `1.jpg` (conflict): {why}" in pictured.run("report").out
    told = json.loads(pictured.run("report", "--format", "json").out)
    assert [(each["name"], each["message"]) for each in told["left_alone"]] == [("1.jpg", why)]
    assert told["rollback"]["left_alone"] == 1
    assert f"object,1.jpg,photos,conflict,{why}," in pictured.run("report", "--format", "left-alone").out
    assert "wrote out/left_alone.csv" in pictured.run("report", "-o", "out").out


def test_it_says_what_verify_found_and_what_cleanup_took_away(pictured: Project) -> None:
    config = pictured.folder / "migrator.toml"
    config.write_text(config.read_text() + '\n[cleanup]\ngrace = "0s"\n')
    client = pictured.server.client()
    client.put_object(Bucket=pictured.bucket, Key="0.jpg", Body=b"other bytes")
    client.delete_object(Bucket=pictured.bucket, Key="1.jpg")
    client.put_object(Bucket=pictured.bucket, Key="<b>extra", Body=b"")
    assert pictured.run("verify").status == 1
    pictured.run("cleanup", "--yes")
    assert [file.name for file in sorted((pictured.folder / "photos").glob("*.jpg"))] == ["0.jpg", "1.jpg"]
    outline = Outline(page_of(pictured))
    assert "7 of 9 objects match" in outline.text
    assert "match 7 7 match differ 1 1 differ missing 1 1 missing extra 1 1 extra" in outline.text
    for name, many in (("differ", "1 object"), ("missing", "1 object"), ("extra", "1 key")):
        assert f"{name}: {many}" in outline.text
    assert "<b>extra" in outline.text
    assert outline.titles()[-6:] == ["verification", "cleanup", "destination", "requests", "runs", "about"]
    assert "photos can be had back 1 " in outline.text
    assert "photos | can be had back | 1 | " in pictured.run("report").out


def test_retries_survive_a_kill(project: Project) -> None:
    project.files(a="1")
    asyncio.run(_fill(project.folder / "checkpoints" / "trial.db"))
    with closing(sqlite3.connect(project.folder / "checkpoints" / "trial.db")) as ledger:
        ledger.execute("UPDATE runs SET finished_at = NULL, status = NULL, requests = NULL")
        ledger.commit()
    told = json.loads(project.run("report", "--format", "json").out)
    assert (told["retries"], told["runs"][0]["retries"], told["runs"][0]["finished"]) == (6, 6, None)
    assert "was cut off" in Outline(page_of(project)).text


def test_what_failed_is_a_manifest_for_another_migration(project: Project) -> None:
    project.files(a="1", b="2")
    (project.folder / "photos" / "b.txt").chmod(0)
    project.lots([(project.folder / "photos" / f"{name}.txt").as_uri() for name in ("a", "absent")])
    config = project.folder / "migrator.toml"
    config.write_text(config.read_text().replace("allow_private", 'root = "photos"\nallow_private'))
    assert project.run("migrate").status == 1
    assert project.run("report", "-o", "reports").status == 0
    (project.folder / "photos" / "absent.txt").write_text("found again")
    again = '[[sources]]\nname = "again"\ntype = "manifest"\nfiles = "reports/failed.csv"\nroot = "photos"\n'
    project.configure(again + 'fields = ["url"]\nkey = "{key}"\n', name="again")
    ended = project.run("migrate")
    assert ended.status == 0, ended.out + ended.err
    assert project.objects()["absent.txt"] == b"found again"


def test_a_terminal_gets_no_page(hostile: Project) -> None:
    leader, follower = pty.openpty()
    process = hostile.start("report", "--format", "html", stdout=follower)
    _, said = process.communicate(timeout=60)
    os.close(follower)
    os.close(leader)
    assert process.returncode == 2
    assert said.startswith("error: --format html: a page is not for a terminal")


@pytest.mark.skipif(chromium.CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)")
@pytest.mark.parametrize(("filled", "width"), [("hostile", 390), ("hostile", 1280), ("pictured", 390)])
def test_a_browser_has_nothing_to_ask_and_nothing_to_say(
    request: pytest.FixtureRequest, filled: str, width: int
) -> None:
    project: Project = request.getfixturevalue(filled)
    page_of(project)
    page = project.folder / "report.html"
    seen = chromium.look(page, width)
    assert [address for address in seen.requests if not address.startswith("data:")] == [page.as_uri()]
    assert (seen.said, seen.dialogs) == ([], [])
    assert seen.overflows == 0
