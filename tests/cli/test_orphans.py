"""orphans: what nothing explains is listed, what is ours is removed, and nothing else."""

import fcntl
import json
import os
import pty
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from migrator.core.objects import PUT_ID
from tests.cli.conftest import Project
from tests.ended import Ended
from tests.faults.actions import answer, s3_error
from tests.faults.proxy import Proxy, Rule

HOUR = 3600


@pytest.fixture
def moved(project: Project) -> Project:
    """Three objects below photos/ that stand as they were stored."""
    project.files(a="photo a", b="photo b", c="photo c")
    below(project, "photos/{path}")
    assert project.run("migrate").status == 0
    return project


def below(project: Project, key: str) -> None:
    """The same files under another key."""
    config = project.folder / "migrator.toml"
    config.write_text(config.read_text().replace('key = "{path}"', f'key = "{key}"'))


def ledger(project: Project, query: str) -> list[Any]:
    """Rows of the ledger, read by a way of the test's own."""
    with closing(sqlite3.connect(project.folder / "checkpoints" / "trial.db")) as connection:
        rows = connection.execute(query).fetchall()
        connection.commit()
        return rows


def ledger_id(project: Project) -> str:
    [(found,)] = ledger(project, "SELECT value FROM meta WHERE key = 'id'")
    return str(found)


def put(project: Project, key: str, mark: str = "") -> None:
    """Puts an object past the tool, with or without a mark."""
    metadata = {PUT_ID: mark} if mark else {}
    project.server.client().put_object(Bucket=project.bucket, Key=key, Body=b"12345", Metadata=metadata)


def found(ended: Ended) -> dict[str, tuple[str, str]]:
    """key -> (kind, owner) of what `--json` listed."""
    told = [json.loads(line) for line in ended.out.splitlines()]
    return {each["key"]: (each["kind"], each["owner"]) for each in told if each["event"] == "orphan"}


def summary(ended: Ended) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(ended.out.splitlines()[-1])
    return told


def test_all_is_explained(moved: Project) -> None:
    put(moved, "elsewhere.txt")
    ended = moved.run("orphans")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("Nothing stands there that no row of the ledger explains.\n")


def test_what_nothing_explains_is_listed_with_size_and_owner(moved: Project) -> None:
    mine = ledger_id(moved)
    put(moved, "photos/else.txt")
    put(moved, "photos/ours.txt", f"{mine}/77")
    put(moved, "photos/theirs.txt", "0123456789abcdef/1")
    plain = moved.run("orphans")
    assert plain.status == 1
    assert "Found 3 orphans, 15 B that no row of the ledger explains.\n" in plain.out
    assert "3 objects; not asked for their mark: --marks asks each" in plain.out
    assert "  object     unknown        5 B  20" in plain.out
    marked = moved.run("orphans", "--marks", "--json")
    assert found(marked) == {
        "photos/else.txt": ("object", "foreign"),
        "photos/ours.txt": ("object", "ours"),
        "photos/theirs.txt": ("object", "foreign"),
    }
    assert (summary(marked)["exit_status"], summary(marked)["removed"]) == (1, None)
    assert len(moved.objects()) == 6, "listing removes nothing"


def test_delete_takes_what_is_ours_and_leaves_the_rest(moved: Project) -> None:
    put(moved, "photos/else.txt")
    put(moved, "photos/ours.txt", f"{ledger_id(moved)}/77")
    dry = moved.run("orphans", "--delete", "--dry-run")
    assert dry.status == 1
    assert "`migrator orphans --delete` would remove 1 orphan, 5 B; nothing was changed" in dry.out
    assert len(moved.objects()) == 5
    ended = moved.run("orphans", "--delete", "--yes")
    assert ended.status == 1, "one is left"
    assert "Removed 1 orphan, 5 B." in ended.out
    assert sorted(moved.objects()) == ["photos/a.txt", "photos/b.txt", "photos/c.txt", "photos/else.txt"]
    lines = (moved.folder / "checkpoints" / "trial.audit.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert "photos/ours.txt" in lines[-1]
    assert "delete" in last.values()
    foreign = moved.run("orphans", "--delete", "--foreign", "--yes")
    assert foreign.status == 0
    assert sorted(moved.objects()) == ["photos/a.txt", "photos/b.txt", "photos/c.txt"]


@contextmanager
def asked(project: Project, *arguments: str) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """A command that has just asked for the name on its terminal: where to type, and the process."""
    keyboard, terminal = pty.openpty()
    process = project.start(*arguments, stdin=terminal)
    try:
        assert process.stderr
        assert process.stderr.readline().endswith("Type its name to go on:\n")
        yield keyboard, process
    finally:
        process.kill()
        process.wait()
        os.close(keyboard)
        os.close(terminal)


def test_without_a_terminal_nothing_goes_unless_that_is_said(moved: Project) -> None:
    put(moved, "photos/ours.txt", f"{ledger_id(moved)}/77")
    ended = moved.run("orphans", "--delete")
    assert (ended.status, ended.out) == (2, "")
    assert "the name of the migration is typed on a terminal" in ended.err
    assert "photos/ours.txt" in moved.objects()


@pytest.mark.parametrize(("typed", "status", "stays"), [("trial\n", 0, False), ("yes\n", 2, True)])
def test_the_name_that_is_typed_decides(moved: Project, typed: str, status: int, stays: bool) -> None:
    put(moved, "photos/ours.txt", f"{ledger_id(moved)}/77")
    with asked(moved, "orphans", "--delete", "-q") as (keyboard, process):
        os.write(keyboard, typed.encode())
        out, err = process.communicate(timeout=60)
    assert (process.returncode, "photos/ours.txt" in moved.objects()) == (status, stays)
    assert ("nothing was removed" in err) is stays
    assert ("Removed 1 orphan, 5 B." in out) is not stays


@pytest.mark.parametrize("option", ["--foreign", "--dry-run", "--yes"])
def test_options_of_delete_alone_are_refused(moved: Project, option: str) -> None:
    ended = moved.run("orphans", option)
    assert (ended.status, "nothing is removed without --delete" in ended.err) == (2, True)


def test_an_age_that_is_none_is_refused(moved: Project) -> None:
    ended = moved.run("orphans", "--older-than", "soon")
    assert (ended.status, "--older-than soon: expected a duration" in ended.err) == (2, True)


def test_what_was_written_again_since_it_was_listed_stays(moved: Project) -> None:
    """Between the list and the typed name somebody puts something else there."""
    put(moved, "photos/ours.txt", f"{ledger_id(moved)}/77")
    with asked(moved, "orphans", "--delete") as (keyboard, process):
        moved.server.client().put_object(Bucket=moved.bucket, Key="photos/ours.txt", Body=b"something else")
        os.write(keyboard, b"trial\n")
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "photos/ours.txt: somebody wrote it again since it was listed" in out
    assert moved.objects()["photos/ours.txt"] == b"something else"


def test_what_a_killed_run_put_for_an_unsettled_item_is_awaited(moved: Project) -> None:
    """Such as a variant whose row was not written yet: the next run adopts it."""
    ledger(moved, "UPDATE items SET state = 'intended' WHERE key = 'photos/a.txt'")
    [(item,)] = ledger(moved, "SELECT id FROM items WHERE key = 'photos/a.txt'")
    put(moved, "photos/thumbs/a.webp", f"{ledger_id(moved)}/{item}/thumb.webp")
    ended = moved.run("orphans", "--delete", "--yes", "--json")
    assert found(ended) == {"photos/thumbs/a.webp": ("object", "awaited")}
    assert (ended.status, "photos/thumbs/a.webp" in moved.objects()) == (0, True)


def test_a_backup_is_kept_while_a_row_may_need_it(moved: Project) -> None:
    backups = f"_migrator/backup/{ledger_id(moved)}/1"
    put(moved, f"{backups}/photos/a.txt")
    put(moved, f"{backups}/photos/gone.txt")
    put(moved, f"{backups}/{'0' * 64}")
    put(moved, "_migrator/backup/0123456789abcdef/1/photos/gone.txt")
    ended = moved.run("orphans", "--delete", "--yes", "--json")
    assert found(ended) == {f"{backups}/photos/gone.txt": ("backup", "ours")}
    assert ended.status == 0
    assert f"{backups}/photos/gone.txt" not in moved.objects()
    assert f"{backups}/photos/a.txt" in moved.objects()
    ledger(moved, "UPDATE items SET state = 'rolled-back' WHERE key = 'photos/a.txt'")
    assert found(moved.run("orphans", "--json")) == {f"{backups}/photos/a.txt": ("backup", "ours")}


def test_old_canaries_and_samples_are_leftovers_and_young_ones_are_not(
    moved: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(moved, "_migrator/canary/0123456789abcdef", "canary")
    put(moved, "_test/01234567/1.jpg", "0123456789abcdef/1")
    put(moved, "_test/01234567/note.txt")
    put(moved, "_test/mine/note.txt")
    assert found(moved.run("orphans", "--json")) == {"_test/mine/note.txt": ("object", "unknown")}
    now = time.time
    monkeypatch.setattr("migrator.engine.stopping.time.time", lambda: now() + 2 * HOUR)
    assert found(moved.run("orphans", "--marks", "--json")) == {
        "_migrator/canary/0123456789abcdef": ("canary", "ours"),
        "_test/01234567/1.jpg": ("sample", "ours"),
        "_test/01234567/note.txt": ("sample", "foreign"),
        "_test/mine/note.txt": ("object", "foreign"),
    }


def test_the_canary_of_a_killed_probe_is_ours_at_once(moved: Project) -> None:
    put(moved, "_migrator/canary/0123456789abcdef", "canary")
    ledger(moved, "UPDATE meta SET value = '_migrator/canary/0123456789abcdef' WHERE key = 'canary'")
    assert found(moved.run("orphans", "--json")) == {"_migrator/canary/0123456789abcdef": ("canary", "ours")}


def test_uploads_of_ours_and_old_ones_of_others(moved: Project) -> None:
    client = moved.server.client()
    noted, needed, theirs = (
        client.create_multipart_upload(Bucket=moved.bucket, Key=f"photos/{name}")["UploadId"]
        for name in ("a.txt", "b.txt", "film.mov")
    )
    ledger(moved, "UPDATE items SET state = 'intended' WHERE key = 'photos/b.txt'")
    for name, upload_id in (("a", noted), ("b", needed)):
        ledger(
            moved,
            f"INSERT INTO uploads (item, upload_id, part_size, opened_at) SELECT id, '{upload_id}', 1, 1 FROM items"
            f" WHERE key = 'photos/{name}.txt'",
        )
    assert found(moved.run("orphans", "--json")) == {"photos/a.txt": ("upload", "ours")}
    assert "  ours     1 open upload; of this migration: --delete removes them\n" in moved.run("orphans").out
    assert found(moved.run("orphans", "--json", "--older-than", "7d")) == {
        "photos/a.txt": ("upload", "ours"),
        "photos/film.mov": ("upload", "foreign"),
    }
    assert moved.run("orphans", "--delete", "--yes").status == 0
    left = {each["UploadId"] for each in client.list_multipart_uploads(Bucket=moved.bucket)["Uploads"]}
    assert left == {needed, theirs}
    assert ledger(moved, "SELECT upload_id FROM uploads") == [(needed,)]
    assert moved.run("orphans", "--delete", "--foreign", "--older-than", "7d", "--yes").status == 0
    left = {each["UploadId"] for each in client.list_multipart_uploads(Bucket=moved.bucket)["Uploads"]}
    assert left == {needed}


def test_where_versions_are_kept_that_is_said(moved: Project) -> None:
    client = moved.server.client()
    client.put_bucket_versioning(Bucket=moved.bucket, VersioningConfiguration={"Status": "Enabled"})
    put(moved, "photos/ours.txt", f"{ledger_id(moved)}/77")
    ended = moved.run("orphans", "--delete", "--yes")
    assert "what was deleted stays beneath a delete marker" in ended.out
    listed = client.list_object_versions(Bucket=moved.bucket, Prefix="photos/ours.txt")
    assert (len(listed["Versions"]), len(listed["DeleteMarkers"])) == (1, 1)


def test_a_listing_that_breaks_off_goes_on_and_one_that_never_comes_stops(moved: Project) -> None:
    config = moved.folder / "migrator.toml"
    text = config.read_text() + "\n[transfer]\nretries = 1\n"
    put(moved, "photos/else.txt")
    busy = Rule(answer(s3_error(500, "InternalError")), method="GET", target="prefix=photos", times=1)
    with Proxy(f"127.0.0.1:{moved.server.port}", rules=[busy]) as proxy:
        config.write_text(text.replace(moved.server.endpoint, proxy.url))
        assert found(moved.run("orphans", "--json")) == {"photos/else.txt": ("object", "unknown")}
        assert busy.hits == 1
        busy.times = None
        ended = moved.run("orphans")
    assert (ended.status, ended.out) == (3, "")
    assert "keys cannot be listed: " in ended.err


def test_uploads_that_may_not_be_listed_are_said_to_be_missing(moved: Project) -> None:
    config = moved.folder / "migrator.toml"
    refused = Rule(answer(s3_error(403, "AccessDenied")), method="GET", target="uploads", times=None)
    with Proxy(f"127.0.0.1:{moved.server.port}", rules=[refused]) as proxy:
        config.write_text(config.read_text().replace(moved.server.endpoint, proxy.url))
        ended = moved.run("orphans")
    assert ended.status == 1
    assert "open uploads were not looked for" in ended.out
    assert "s3:ListBucketMultipartUploads" in ended.out


def test_without_a_ledger_nothing_can_be_explained(project: Project) -> None:
    project.files(a="1")
    ended = project.run("orphans")
    assert (ended.status, "There is no ledger at" in ended.err) == (4, True)


class TestFolder:
    """A destination that is a folder."""

    @pytest.fixture
    def kept(self, project: Project) -> Path:
        """The folder, after a migration into it."""
        project.files(a="photo a", b="photo b")
        config = project.folder / "migrator.toml"
        below(project, "photos/{path}")
        text = config.read_text()
        start, end = text.index("bucket ="), text.index("[[sources]]")
        config.write_text(f'{text[:start]}url = "file://{project.folder}/kept"\n\n{text[end:]}')
        (project.folder / "kept").mkdir()
        assert project.run("migrate").status == 0
        return project.folder / "kept"

    def test_files_of_others_are_listed_and_stay(self, project: Project, kept: Path) -> None:
        (kept / "photos" / "else.txt").write_text("1")
        assert found(project.run("orphans", "--marks", "--json")) == {"photos/else.txt": ("object", "foreign")}
        assert project.run("orphans", "--delete", "--yes").status == 1
        assert (kept / "photos" / "else.txt").exists()

    def test_what_a_killed_run_was_writing_goes(self, project: Project, kept: Path) -> None:
        session = kept / "_migrator" / "tmp" / "0123456789abcdef"
        session.mkdir(parents=True)
        (session / "half").write_text("half a photo")
        assert found(project.run("orphans", "--json")) == {"_migrator/tmp/0123456789abcdef/half": ("temporary", "ours")}
        assert project.run("orphans", "--delete", "--yes").status == 0
        assert not (kept / "_migrator").exists()
        assert sorted(path.name for path in (kept / "photos").iterdir()) == ["a.txt", "b.txt"]

    def test_what_a_living_run_is_writing_stays(self, project: Project, kept: Path) -> None:
        session = kept / "_migrator" / "tmp" / "0123456789abcdef"
        session.mkdir(parents=True)
        (session / "half").write_text("half a photo")
        held = os.open(session, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert project.run("orphans", "--delete", "--yes").status == 0
            assert (session / "half").exists()
        finally:
            os.close(held)

    def test_more_than_a_page_is_found_and_removed(self, project: Project, kept: Path) -> None:
        for number in range(1050):
            (kept / "photos" / f"x{number:04}").write_text("12345")
        ended = project.run("orphans", "--delete", "--foreign", "--yes", "--json")
        assert (ended.status, summary(ended)["removed"]) == (0, {"count": 1050, "bytes": 5250})
        assert sorted(path.name for path in (kept / "photos").iterdir()) == ["a.txt", "b.txt"]
