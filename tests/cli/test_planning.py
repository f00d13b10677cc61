"""What a plan says of buckets and of rows: what is in place, which requests it takes, what rows will be."""

import json
import sqlite3
from contextlib import closing

import pytest

from tests.cli.conftest import Project


def bucket_source(bucket: str, **more: str) -> str:
    lines = {"name": "old", "type": "bucket", "bucket": bucket, "key": "{path}"} | more
    return "[[sources]]\n" + "\n".join(f"{name} = '{value}'" for name, value in lines.items())


def test_what_stands_in_its_place_is_counted_and_takes_no_request(project: Project) -> None:
    client = project.server.client()
    for key in ("a/1.jpg", "a/2.jpg", "new/3.jpg"):
        client.put_object(Bucket=project.bucket, Key=key, Body=b"x")
    renaming = {"match": "^(a|new)/(?P<name_only>.*)$", "key": "new/{name_only}"}
    project.configure(bucket_source(project.bucket, **renaming))
    ended = project.run("plan")
    assert ended.status == 0
    assert "skipped   1 object in-place: they stand where they belong" in ended.out
    assert "about 2: 2 COPY (the server copies by itself)" in ended.out
    assert "besides 1 LIST for the source buckets" in ended.out
    assert "`migrator migrate` moves 2 objects" in ended.out
    found = json.loads(project.run("plan", "--json").out.splitlines()[-1])
    assert found["sources"][0]["skipped"] == {"in-place": 1}
    assert (found["estimate"]["copies"], found["estimate"]["puts"], found["estimate"]["lists"]) == (2, 0, 1)


@pytest.mark.parametrize(
    ("more", "kind"),
    [({}, "3 COPY"), ({"expect": "image"}, "3 PUT")],
)
def test_only_what_the_server_can_reach_is_copied(project: Project, more: dict[str, str], kind: str) -> None:
    other = project.server.new_bucket()
    for number in range(3):
        project.server.client().put_object(Bucket=other, Key=f"{number}.jpg", Body=b"x")
    project.configure(bucket_source(other, **more))
    assert kind in project.run("plan").out


def a_table(project: Project, update: str) -> None:
    with closing(sqlite3.connect(project.folder / "shop.db")) as shop, shop:
        shop.execute("CREATE TABLE photos (id INTEGER PRIMARY KEY, path TEXT)")
        shop.executemany("INSERT INTO photos (path) VALUES (?)", [(f"{number}.txt",) for number in range(7)])
    (project.folder / "files").mkdir()
    project.configure(
        '[[sources]]\nname = "photos"\ntype = "table"\ndatabase_url = "sqlite:///shop.db"\nroot = "files"\n'
        'query = "SELECT id, path FROM photos"\nprimary_key = ["id"]\nlocation = "{path}"\nkey = "p/{path}"\n'
        f"[sources.update]\n{update}\n"
    )


def test_five_rows_are_shown_as_they_are_and_as_they_will_be(project: Project) -> None:
    a_table(project, 'table = "photos"\nset = { path = "{key}", bucket = "{destination.bucket}" }')
    ended = project.run("plan")
    assert ended.status == 0
    assert "rows      7 rows to update when their objects stand" in ended.out
    shown = ended.out.partition("Rows of photos, as they are -> as they will be\n")[2].partition("\n\n")[0]
    assert shown.splitlines()[:3] == [
        "  id=1",
        "    path    0.txt -> p/0.txt",
        f"    bucket  (new) -> {project.bucket}",
    ]
    assert shown.count("  id=") == 5
    found = json.loads(project.run("plan", "--json").out.splitlines()[-1])
    assert found["example_rows"][4]["columns"][0] == {"name": "path", "before": "4.txt", "after": "p/4.txt"}
    dry = project.run("migrate", "--dry-run")
    assert "    path    0.txt -> p/0.txt" in dry.out


def test_a_table_that_is_not_there_is_a_problem_of_the_plan(project: Project) -> None:
    a_table(project, 'table = "pictures"\nset = { path = "{key}" }')
    ended = project.run("plan")
    assert ended.status == 1
    assert "pictures" in ended.out.partition("Rows of pictures")[2]
