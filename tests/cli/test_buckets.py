"""Buckets as sources, as an operator sees them: copy, migrate, plan, test-connection."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Project

ODD = "a b+c%20d?e#f&g.jpg"


@pytest.fixture
def old(project: Project) -> str:
    """A bucket with some photographs, and things beside them."""
    bucket = project.server.new_bucket()
    for key in ("2019/a.jpg", f"2019/x/{ODD}", "2019", "2019-extra/b.jpg", "top.jpg"):
        project.server.client().put_object(Bucket=bucket, Key=key, Body=key.encode())
    return bucket


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", {"2019/a.jpg", f"2019/x/{ODD}", "2019", "2019-extra/b.jpg", "top.jpg"}),
        ("/", {"2019/a.jpg", f"2019/x/{ODD}", "2019", "2019-extra/b.jpg", "top.jpg"}),
        ("/2019/", {"a.jpg", f"x/{ODD}"}),
        ("/2019", {"a.jpg", f"x/{ODD}", "2019"}),
        ("/2019/x", {ODD}),
        ("/2019/a.jpg", {"a.jpg"}),
        (f"/2019/x/{ODD}", {ODD}),
    ],
)
def test_copy_of_a_bucket_a_folder_or_an_object(project: Project, old: str, source: str, expected: set[str]) -> None:
    where = ["--endpoint-url", project.server.endpoint]
    ended = project.run("copy", f"s3://{old}{source}", f"s3://{project.bucket}/new", *where)
    assert ended.status == 0, ended
    assert set(project.objects()) == {f"new/{key}" for key in expected}
    again = project.run("copy", f"s3://{old}{source}", f"s3://{project.bucket}/new", *where)
    assert (again.status, "Moved nothing" in again.out) == (0, True), again.out


def test_copy_of_a_bucket_into_a_folder_and_with_another_key(project: Project, old: str) -> None:
    target = project.folder / "archive"
    to = [target.as_uri(), "--endpoint-url", project.server.endpoint, "--key", "kept/{path}"]
    assert project.run("copy", f"s3://{old}/2019/", *to).status == 0
    assert (target / "kept" / "a.jpg").read_text() == "2019/a.jpg"


def test_test_connection_lists_and_reads_every_bucket(project: Project, old: str) -> None:
    source = '[[sources]]\ntype = "bucket"\nkey = "{path}"\n'
    project.configure(f'{source}bucket = "{old}"\n{source}bucket = "not-there-at-all"\nname = "lost"')
    ended = project.run("test-connection", "--json")
    checks = {(check["subject"], check["what"]): check for check in json.loads(ended.out)["checks"]}
    assert checks["bucket-1", "list"]["ok"]
    assert checks["bucket-1", "read"]["ok"]
    assert not checks["lost", "list"]["ok"]
    assert "NoSuchBucket" in checks["lost", "list"]["detail"]
    assert ended.status == 3


def test_failed_objects_of_a_bucket_are_a_manifest(project: Project, old: str) -> None:
    project.server.client().put_object(Bucket=project.bucket, Key=f"2019/x/{ODD}", Body=b"in the way")
    project.configure(f'[[sources]]\ntype = "bucket"\nkey = "{{path}}"\nbucket = "{old}"')
    assert project.run("migrate").status == 1
    assert project.run("report", "--format", "csv", "-o", "failed.csv").status == 0
    project.server.client().delete_object(Bucket=project.bucket, Key=f"2019/x/{ODD}")
    to = ["--endpoint-url", project.server.endpoint, "--key", "{key}"]
    refused = project.run("copy", "failed.csv", f"s3://{project.bucket}", *to)
    assert "not among the source's" in refused.out
    ended = project.run("copy", "failed.csv", f"s3://{project.bucket}", "--rescan", "--from-bucket", old, *to)
    assert ended.status == 0, ended
    assert project.objects()[f"2019/x/{ODD}"] == f"2019/x/{ODD}".encode()


def test_a_bucket_that_would_move_onto_itself_is_refused(project: Project) -> None:
    project.configure(f'[[sources]]\ntype = "bucket"\nkey = "{{path}}"\nbucket = "{project.bucket}"')
    ended = project.run("plan")
    assert ended.status == 2
    assert "already stands at its own key" in ended.err
    assert not Path("checkpoints").exists()
