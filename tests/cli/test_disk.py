"""What a plan says of the operator's own disks, held against what a run then writes there."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Project
from tests.small_disk import small_disk_at


def to_a_folder(project: Project, place: Path, source: str) -> None:
    (place / "out").mkdir(parents=True)
    (project.folder / "migrator.toml").write_text(
        f'name = "trial"\ncheckpoint_dir = "{place}/checkpoints"\n[destination]\nurl = "file://{place}/out"\n'
        f'public_url = "https://cdn.example.com"\n[[sources]]\nkey = "{{path}}"\n{source}\n'
    )


def photos(project: Project, count: int, size: int) -> str:
    (project.folder / "photos").mkdir()
    for number in range(count):
        (project.folder / "photos" / f"{number:06}.txt").write_bytes(b"x" * size)
    return 'type = "directory"\nroot = "photos"'


def rows_of(project: Project, count: int) -> str:
    with closing(sqlite3.connect(project.folder / "shop.db")) as shop, shop:
        shop.execute("CREATE TABLE photos (id INTEGER PRIMARY KEY, path TEXT, url TEXT)")
        rows = [(f"{number:06}.txt", f"http://old.example/{number}") for number in range(count)]
        shop.executemany("INSERT INTO photos (path, url) VALUES (?, ?)", rows)
    return """
type = "table"
database_url = "sqlite:///shop.db"
root = "photos"
query = "SELECT id, path, url FROM photos"
primary_key = ["id"]
location = "{path}"
[sources.update]
table = "photos"
set = { url = "{url}" }
"""


def said(project: Project, *command: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project.run(*command, "--json").out.splitlines()[-1])["disk"]
    return found


def written(place: Path) -> int:
    return sum((place / "checkpoints" / name).stat().st_size for name in ("trial.db", "trial.audit.jsonl"))


def test_a_plan_and_a_dry_run_tell_how_much_ledger_and_audit_log_will_take(project: Project) -> None:
    photos(project, 800, 50)
    to_a_folder(project, project.folder, rows_of(project, 800))
    dry, planned = said(project, "migrate", "--dry-run"), said(project, "plan")
    before = (project.folder / "checkpoints" / "trial.db").stat().st_size
    assert project.run("migrate").status == 0
    grown = written(project.folder) - before
    assert 0.75 < planned["logs"] / grown < 1.33
    assert 0.75 < dry["logs"] / written(project.folder) < 1.33
    done = said(project, "plan")
    assert (done["logs"], done["enough"]) == (0, True)


def test_bytes_that_go_into_a_folder_are_told_beside_what_is_free(project: Project) -> None:
    to_a_folder(project, project.folder, photos(project, 20, 1000))
    out = project.run("plan").out
    assert f"20.0 kB of objects in {project.folder}/out (" in out
    assert "of ledger and audit log in" in out
    assert "not enough" not in out


def test_objects_that_go_into_a_bucket_take_no_disk(project: Project) -> None:
    project.files(one="1", two="2")
    found = said(project, "plan")
    assert found["objects"] is None
    assert "of objects in" not in project.run("plan").out


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_at(tmp_path / "small", 2) as place:
        yield place


@pytest.mark.parametrize(
    ("count", "size", "enough"),
    [(300, 1000, True), (600, 2800, False), (4000, 1, False)],
    ids=["both fit", "each fits, both do not", "the audit log does not fit"],
)
def test_a_disk_that_is_too_small_is_said_before_anything_moves(
    project: Project, small_disk: Path, count: int, size: int, enough: bool
) -> None:
    to_a_folder(project, small_disk, photos(project, count, size))
    ended = project.run("plan")
    assert ended.status == 0, ended.err
    assert ("that is not enough: `migrate` would stop when the disk is full" in ended.out) is not enough
