"""cleanup: its words and exit statuses, what it takes for a source that may go, and how it is confirmed."""

import json
import os
import pty
import sqlite3
import subprocess
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import MIGRATOR, Project
from tests.faults.proxy import Proxy

Serve = Callable[[dict[str, bytes]], str]

NO_GRACE = '\n\n[cleanup]\ngrace = "0s"'
PHOTOS = '[[sources]]\nname = "photos"\ntype = "directory"\nroot = "photos"\nkey = "{path}"'


def run(project: Project, *commands: str, status: int = 0) -> str:
    """Runs one after the other; what the last one said."""
    said = ""
    for command in commands:
        ended = project.run(*command.split())
        assert ended.status == status, ended.out + ended.err
        said = ended.out + ended.err
    return said


def told(project: Project, *arguments: str, status: int = 0) -> dict[str, Any]:
    """The summary for machines."""
    ended = project.run("cleanup", "--json", *arguments)
    assert ended.status == status, ended.out + ended.err
    summary: dict[str, Any] = json.loads(ended.out.splitlines()[-1])
    return summary


def kept(summary: Mapping[str, Any]) -> dict[str, int]:
    return {name: group["sources"] for name, group in summary["kept"].items()}


def gone(summary: Mapping[str, Any]) -> int:
    return sum(group["sources"] for group in summary["gone"])


@pytest.fixture
def verified(project: Project) -> Project:
    """Three files that were moved and verified, and whose grace period is over."""
    project.files(a="photo a", b="photo b", c="photo c")
    project.configure(PHOTOS + NO_GRACE)
    run(project, "migrate", "verify")
    return project


def test_a_dry_run_names_what_would_go_and_changes_nothing(verified: Project) -> None:
    ended = verified.run("cleanup", "--dry-run")
    root = (verified.folder / "photos").resolve()
    assert ended.status == 0
    assert sorted(ended.out.splitlines()[:3]) == [f"  trash   file://{root}/{name}.txt" for name in "abc"]
    assert ended.out.endswith(
        "photos: 3 files (21 B) would be moved to the trash\nnothing was changed; `migrator cleanup` does it\n"
    )
    assert len(list(root.iterdir())) == 3
    assert "cleanup" not in verified.run("report").out


def test_what_went_is_said_and_comes_back(verified: Project) -> None:
    said = run(verified, "cleanup --yes")
    assert "photos: 3 files (21 B) moved to the trash\n" in said
    assert "next    `migrator rollback` brings back what is in the trash" in said
    assert "cleaned 3 sources" in run(verified, "status")
    assert json.loads(run(verified, "status --json"))["cleaned"] == [
        {"source": "photos", "state": "trashed", "sources": 3, "bytes": 21}
    ]
    assert "## Cleanup" in run(verified, "report")
    back = run(verified, "rollback --yes")
    assert "3 sources brought back from the trash\n3 objects deleted\n" in back
    assert {path.name for path in (verified.folder / "photos").iterdir()} == {"a.txt", "b.txt", "c.txt"}


def test_why_sources_stay_is_said_with_what_to_do(verified: Project) -> None:
    (verified.folder / "photos/new.txt").write_text("new")
    run(verified, "migrate")
    (verified.folder / "photos/a.txt").write_text("other")
    said = run(verified, "cleanup --yes", status=1)
    assert "photos: 2 files (14 B) moved to the trash\nkept    2 sources\n" in said
    assert "  unverified 1: not verified since they were stored\n" in said
    assert "new.txt was not verified since it was stored\n    what to do  run `migrator verify`\n" in said
    assert "  source-changed 1: the source is no longer what was stored\n" in said


def test_nobody_is_asked_where_nobody_is(verified: Project) -> None:
    ended = subprocess.run(
        [*MIGRATOR, "cleanup"],
        cwd=verified.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "in scripts: --yes" in ended.stderr
    assert (verified.folder / "photos/a.txt").exists()


@pytest.mark.parametrize(("typed", "status", "left"), [("trial", 0, 0), ("yes", 2, 3)])
def test_the_name_of_the_migration_confirms(verified: Project, typed: str, status: int, left: int) -> None:
    master, slave = pty.openpty()
    try:
        command = [*MIGRATOR, "cleanup"]
        process = subprocess.Popen(
            command, cwd=verified.folder, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        os.write(master, f"{typed}\n".encode())
        _, said = process.communicate(timeout=60)
    finally:
        os.close(master)
        os.close(slave)
    assert process.returncode == status
    assert "photos: 3 files (21 B) would be moved to the trash\n" in said
    assert "This takes away 3 sources (21 B) of the migration trial. Type its name to go on:" in said
    assert len(list((verified.folder / "photos").glob("*.txt"))) == left


def test_a_limit_and_a_source(verified: Project) -> None:
    assert gone(told(verified, "--limit", "2", "--yes")) == 2
    assert gone(told(verified, "--source", "photos", "--yes")) == 1
    ended = verified.run("cleanup", "--source", "other", "--yes")
    assert (ended.status, "there is no source called 'other'" in ended.err) == (3, True)


def test_http_sources_are_counted_and_never_touched(project: Project, site: Serve) -> None:
    base = site({"/a.jpg": b"photo"})
    project.lots([f"{base}/a.jpg"])
    run(project, "migrate", "verify")
    summary = told(project, "--yes")
    assert (kept(summary), gone(summary)) == ({"http": 1}, 0)


def test_two_items_of_one_file_go_together_or_not_at_all(project: Project) -> None:
    project.files(a="photo a")
    again = PHOTOS.replace('"photos"', '"again"', 1).replace('"{path}"', '"again/{path}"')
    project.configure(f"{PHOTOS}\n\n{again}{NO_GRACE}")
    run(project, "migrate", "verify --source photos")
    summary = told(project, "--yes")
    assert (kept(summary), gone(summary)) == ({"unverified": 1}, 0)
    run(project, "verify")
    assert gone(told(project, "--yes")) == 1
    run(project, "rollback --yes --source again")
    assert (project.folder / "photos/a.txt").exists()
    assert set(project.objects()) == {"a.txt"}


def test_files_of_a_table_go_when_their_rows_are_updated(project: Project) -> None:
    (project.folder / "files").mkdir()
    for name in ("a", "b"):
        (project.folder / f"files/{name}.jpg").write_text(f"photo {name}")
    with closing(sqlite3.connect(project.folder / "shop.db")) as shop:
        shop.executescript(
            "CREATE TABLE images (id INTEGER PRIMARY KEY, path TEXT, key TEXT);"
            "INSERT INTO images VALUES (1, 'a.jpg', NULL), (2, 'b.jpg', NULL)"
        )
    project.configure(
        '[[sources]]\nname = "shop"\ntype = "table"\ndatabase_url = "sqlite:///shop.db"\nroot = "files"\n'
        'query = "SELECT id, path FROM images"\nprimary_key = ["id"]\nlocation = "{path}"\nkey = "new/{path}"\n'
        f'[sources.update]\ntable = "images"\nset = {{ key = "{{key}}" }}{NO_GRACE}'
    )
    run(project, "plan")
    with closing(sqlite3.connect(project.folder / "shop.db")) as shop:
        shop.execute("UPDATE images SET path = 'x.jpg' WHERE id = 2")
        shop.commit()
    run(project, "migrate", status=1)
    run(project, "verify")
    (project.folder / "files/a.jpg").write_text("photo A")
    summary = told(project, "--yes", status=1)
    assert kept(summary) == {"rows": 1, "source-changed": 1}, "the scan told no fingerprint: bytes are compared"
    (project.folder / "files/a.jpg").write_text("photo a")
    assert gone(told(project, "--yes")) == 1
    assert (project.folder / "files/.migrator-trash/a.jpg").read_text() == "photo a"
    run(project, "cleanup --purge --yes")
    ended = project.run("rollback", "--yes")
    assert ended.status == 1
    with closing(sqlite3.connect(project.folder / "shop.db")) as shop:
        rows = shop.execute("SELECT path, key FROM images ORDER BY id").fetchall()
    assert rows == [("a.jpg", "new/a.jpg"), ("x.jpg", None)], "a row is not put back to a file that is gone"
    assert set(project.objects()) == {"new/a.jpg"}


def test_row_29_links_are_no_sources_of_their_own(project: Project) -> None:
    project.files(a="photo a")
    (project.folder / "photos/link.txt").symlink_to("a.txt")
    project.configure(PHOTOS + "\nfollow_symlinks = true" + NO_GRACE)
    run(project, "migrate", "verify")
    summary = told(project, "--yes")
    assert kept(summary)["link"] == 1
    assert (project.folder / "photos/link.txt").is_symlink()


def test_row_29_a_file_goes_only_when_all_its_names_may(project: Project) -> None:
    project.files(a="photo a", b="photo b")
    (project.folder / "photos/link.txt").symlink_to("a.txt")
    os.link(project.folder / "photos/b.txt", project.folder / "photos/hard.txt")
    project.configure(PHOTOS + "\nfollow_symlinks = true" + NO_GRACE)
    run(project, "migrate")
    for key in ("link.txt", "hard.txt"):
        project.server.client().delete_object(Bucket=project.bucket, Key=key)
    run(project, "verify", status=1)
    summary = told(project, "--yes")
    assert (kept(summary), gone(summary)) == ({"differs": 4}, 0)
    run(project, "retry --verified missing", "migrate", "verify")
    summary = told(project, "--yes")
    assert (kept(summary), gone(summary)) == ({"link": 1}, 3)


def test_row_29_renaming_within_a_bucket_leaves_the_new_names(project: Project) -> None:
    client = project.server.client()
    for name in ("a", "b"):
        client.put_object(Bucket=project.bucket, Key=f"old/{name}", Body=name.encode())
    project.configure(
        f'[[sources]]\nname = "old"\ntype = "bucket"\nbucket = "{project.bucket}"\nmatch = "^(old/)?(?P<name>.*)$"\n'
        f'key = "new/{{name}}"\nexclude = ["_migrator/"]{NO_GRACE}'
    )
    run(project, "migrate", "verify", "migrate --rescan", "verify")
    assert gone(told(project, "--yes")) == 2
    run(project, "migrate --rescan")
    assert gone(told(project, "--yes")) == 0
    assert project.objects() == {"new/a": b"a", "new/b": b"b"}


def to_folder(project: Project, root: str) -> Path:
    """A migration of photos/ into a folder."""
    folder = project.folder / root
    folder.mkdir(parents=True, exist_ok=True)
    text = f'name = "trial"\n\n[destination]\nurl = "{folder.resolve().as_uri()}"\n\n{PHOTOS}{NO_GRACE}\n'
    (project.folder / "migrator.toml").write_text(text)
    return folder


def test_row_29_a_hard_link_is_the_object_itself(project: Project) -> None:
    project.files(a="photo a", b="photo b")
    archive = to_folder(project, "archive")
    os.link(project.folder / "photos/a.txt", archive / "a.txt")
    run(project, "migrate", "verify")
    summary = told(project, "--yes")
    assert (kept(summary), gone(summary)) == ({"destination": 1}, 1)
    assert (project.folder / "photos/a.txt").read_text() == "photo a"


def test_row_29_what_this_migration_wrote_is_no_source(project: Project) -> None:
    project.files(a="photo a")
    archive = to_folder(project, "archive")
    run(project, "migrate", "verify")
    os.link(archive / "a.txt", project.folder / "photos/b.txt")
    run(project, "migrate", "verify")
    summary = told(project, "--yes")
    assert (kept(summary), gone(summary)) == ({"destination": 1}, 1)


def test_row_29_an_alias_of_the_endpoint_is_found_by_a_canary(project: Project) -> None:
    client = project.server.client()
    client.put_object(Bucket=project.bucket, Key="a.bin", Body=b"photo a", ContentType="image/jpeg")
    (project.folder / "urls.txt").write_text(f"s3://{project.bucket}/a.bin\n")
    with Proxy(f"127.0.0.1:{project.server.port}") as alias:
        project.configure(
            f'[[sources]]\nname = "alias"\ntype = "bucket"\nbucket = "{project.bucket}"\nprefix = "none/"\n'
            f'endpoint_url = "{alias.url}"\nkey = "{{path}}x"\n\n'
            '[[sources]]\nname = "lots"\ntype = "manifest"\nfiles = "urls.txt"\nkey = "{path}"\n'
            f'buckets = ["{project.bucket}"]{NO_GRACE}'
        )
        run(project, "migrate", "verify")
        summary = told(project, "--yes", "--without-condition")
        assert (kept(summary), gone(summary)) == ({"destination": 1}, 0)
        assert alias.count("PUT", "/_migrator/canary/") == 1
    assert project.objects() == {"a.bin": b"photo a"}, "and no canary is left"


def test_row_29_an_object_of_this_migration_is_found_under_an_alias(project: Project) -> None:
    client = project.server.client()
    for key in ("old/a.bin", "new/a.bin"):
        client.put_object(Bucket=project.bucket, Key=key, Body=b"photo a", ContentType="image/jpeg")
    (project.folder / "urls.txt").write_text(f"s3://{project.bucket}/new/a.bin\n")
    with Proxy(f"127.0.0.1:{project.server.port}") as alias:
        project.configure(
            f'[[sources]]\nname = "alias"\ntype = "bucket"\nbucket = "{project.bucket}"\nprefix = "old/"\n'
            f'endpoint_url = "{alias.url}"\nkey = "new/{{name}}"\n\n'
            '[[sources]]\nname = "lots"\ntype = "manifest"\nfiles = "urls.txt"\nkey = "third/{name}"\n'
            f'buckets = ["{project.bucket}"]{NO_GRACE}'
        )
        run(project, "migrate", "verify")
        summary = told(project, "--yes")
    assert (kept(summary), gone(summary)) == ({"destination": 1}, 1)
    assert project.objects() == {"new/a.bin": b"photo a", "third/a.bin": b"photo a"}


def test_a_trash_that_cannot_be_used_is_refused_by_name(verified: Project) -> None:
    verified.configure(PHOTOS + NO_GRACE + '\ntrash = "/proc/trash"')
    ended = verified.run("cleanup", "--yes")
    assert ended.status == 3
    assert "cleanup.trash: /proc/trash/photos is on another filesystem than the source 'photos'" in ended.err
    (verified.folder / "elsewhere").mkdir()
    verified.configure(PHOTOS + NO_GRACE + f'\ntrash = "{verified.folder}/elsewhere"')
    assert gone(told(verified, "--yes")) == 3
    assert (verified.folder / "elsewhere/photos/a.txt").read_text() == "photo a"
    run(verified, "rollback --yes")
    assert (verified.folder / "photos/a.txt").read_text() == "photo a"


def test_what_stands_in_the_trash_is_never_replaced(verified: Project) -> None:
    trash = verified.folder / "photos/.migrator-trash"
    trash.mkdir()
    (trash / "a.txt").write_text("somebody's")
    summary = told(verified, "--yes", status=1)
    assert kept(summary) == {"refused": 1}
    assert "stands in the trash already, and is never replaced" in summary["kept"]["refused"]["message"]
    assert (trash / "a.txt").read_text() == "somebody's"
    assert (verified.folder / "photos/a.txt").read_text() == "photo a"


def test_every_source_that_went_is_in_the_audit_log(verified: Project) -> None:
    run(verified, "cleanup --yes", "cleanup --purge --yes --limit 1")
    assert verified.run("rollback", "--yes").status == 1
    lines = (verified.folder / "checkpoints/trial.audit.jsonl").read_text().splitlines()
    deeds = [line["deed"] for line in map(json.loads, lines) if line.get("kind") == "source"]
    assert sorted(deeds) == ["purge", "restore", "restore", "trash", "trash", "trash"]


def test_an_object_that_is_lost_meanwhile_keeps_its_source_in_the_trash(verified: Project) -> None:
    run(verified, "cleanup --yes")
    verified.server.client().delete_object(Bucket=verified.bucket, Key="a.txt")
    summary = told(verified, "--purge", "--yes", status=1)
    assert (kept(summary), gone(summary)) == ({"object-changed": 1}, 2)
    trash = verified.folder / "photos/.migrator-trash"
    assert [path.name for path in trash.iterdir()] == ["a.txt"]


def test_what_one_cleanup_took_away_comes_back_and_no_more(verified: Project) -> None:
    run(verified, "cleanup --yes --limit 1", "cleanup --yes")
    (number,) = {each["run"] for each in json.loads(run(verified, "report --format json"))["runs"][-1:]}
    said = run(verified, f"rollback --run {number} --yes")
    assert "2 sources brought back from the trash\n" in said
    assert len(list((verified.folder / "photos").glob("*.txt"))) == 2
    assert set(verified.objects()) == {"a.txt", "b.txt", "c.txt"}


def test_a_proof_from_before_it_was_stored_again_is_none(verified: Project) -> None:
    run(verified, "rollback --yes", "retry --rolled-back", "migrate")
    with closing(sqlite3.connect(verified.folder / "checkpoints/trial.db")) as ledger:
        ledger.execute("UPDATE verified SET verified_at = verified_at - 10")
        ledger.commit()
    summary = told(verified, "--yes")
    assert (kept(summary), gone(summary)) == ({"unverified": 3}, 0)
