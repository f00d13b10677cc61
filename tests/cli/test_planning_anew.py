"""The plan is what the configuration asks for and the sources have now, but for what was stored already."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Project
from tests.cli.test_variants import fill
from tests.ledger.making import query, recount, tallied
from tests.servers import databases

Site = Callable[[dict[str, bytes]], str]


def directory(key: str, more: str = "", root: str = "photos") -> str:
    """A source without a name of its own."""
    return f'[[sources]]\ntype = "directory"\nroot = "{root}"\nkey = "{key}"\n{more}\n'


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def states(project: Project) -> dict[str, int]:
    """How many items the ledger has in each state, as its tallies say and as its rows say."""
    ledger = project.folder / "checkpoints" / "trial.db"
    assert tallied(ledger) == recount(ledger)
    tallies = query(ledger, "SELECT state, sum(items) FROM tallies GROUP BY 1 HAVING sum(items) <> 0")
    return {str(state): int(count) for state, count in tallies}


def test_a_better_key_replaces_what_was_planned(project: Project) -> None:
    write(project.folder / "photos", "a/1.txt", "b/1.txt", "b/2.txt")
    project.configure(directory("{name}"))
    assert "Two locations for one key: 1" in project.run("plan").out
    project.configure(directory("{path}"))
    planned = project.run("plan")
    assert planned.status == 0
    assert "Two locations" not in planned.out
    assert "planned anew" in planned.err
    assert states(project) == {"planned": 3}
    assert project.run("migrate").status == 0
    assert set(project.objects()) == {"a/1.txt", "b/1.txt", "b/2.txt"}


def test_a_changed_filter_holds_for_a_migration_that_goes_on(project: Project) -> None:
    write(project.folder / "photos", *(f"{n}.txt" for n in range(9)), "x.tmp", "y.tmp")
    project.configure(directory("{path}"))
    assert project.run("migrate", "--limit", "3").status == 5
    project.configure(directory("{path}", 'exclude = ["*.tmp"]'))
    ended = project.run("migrate")
    assert ended.status == 0, ended.err
    assert "planned anew, the 3 that were stay as they are" in ended.err
    assert set(project.objects()) == {f"{n}.txt" for n in range(9)}
    assert states(project) == {"stored": 9}


def test_what_left_the_source_leaves_the_plan(project: Project) -> None:
    write(project.folder / "photos", "1.txt", "2.txt", "a/1.txt")
    project.configure(directory("{name}"))
    assert project.run("plan").status == 1
    (project.folder / "photos" / "1.txt").unlink()
    planned = project.run("plan")
    assert planned.status == 0, planned.out
    assert states(project) == {"planned": 2}
    assert project.run("migrate").status == 0
    assert project.objects() == {"1.txt": b"a/1.txt", "2.txt": b"2.txt"}


@pytest.mark.parametrize("again", [("migrate",), ("migrate", "--rescan"), ("plan",)])
def test_a_corrected_url_takes_the_key_of_one_that_failed(project: Project, site: Site, again: tuple[str, ...]) -> None:
    base = site({"/new/1.jpg": b"new", "/old/2.jpg": b"two"})
    urls = [f"{base}/old/1.jpg", f"{base}/old/2.jpg", f"{base}/old/3.jpg"]
    project.lots(urls, key="{name}")
    assert project.run("migrate").status == 1
    assert states(project) == {"stored": 1, "failed": 2}
    project.lots([f"{base}/new/1.jpg", *urls[1:]], key="{name}")
    project.run(*again)
    ended = project.run("migrate")
    assert ended.status == 1, ended.err  # 3.jpg is still listed, and still failed
    assert project.objects() == {"1.jpg": b"new", "2.jpg": b"two"}
    assert states(project) == {"stored": 2, "failed": 1}


def test_a_corrected_row_takes_the_key_of_one_that_failed(project: Project, tmp_path: Path) -> None:
    write(project.folder / "photos", "right.txt")
    with databases.sqlite(tmp_path) as database:
        database.run(
            "CREATE TABLE photos (id INTEGER PRIMARY KEY, path TEXT, s3_key TEXT)",
            "INSERT INTO photos VALUES (7, 'wrong.txt', NULL)",
        )
        project.configure(
            f'[[sources]]\ntype = "table"\ndatabase_url = "{database.url}"\nquery = "SELECT id, path FROM photos"\n'
            'primary_key = ["id"]\nlocation = "{path}"\nroot = "photos"\nkey = "{id}.txt"\n'
            '[sources.update]\ntable = "photos"\nset = { s3_key = "{key}" }'
        )
        assert project.run("migrate").status == 1
        database.run("UPDATE photos SET path = 'right.txt'")
        ended = project.run("migrate")
        assert ended.status == 0, ended.err
        assert database.rows("SELECT * FROM photos") == [(7, "right.txt", "7.txt")]
    assert project.objects() == {"7.txt": b"right.txt"}
    assert states(project) == {"stored": 1}


def test_a_source_that_another_goes_before_is_the_same_source(project: Project) -> None:
    write(project.folder / "photos", "1.txt", "2.txt")
    write(project.folder / "more", "3.txt")
    (project.folder / "photos" / "2.txt").chmod(0)
    project.configure(directory("{path}"))
    assert project.run("plan").status == 0
    project.configure(directory("{path}", root="more") + directory("{path}"))
    ended = project.run("migrate")
    assert ended.status == 0, ended.err
    assert set(project.objects()) == {"1.txt", "2.txt", "3.txt"}
    assert states(project) == {"stored": 3}


def test_a_source_of_another_name_has_what_failed(project: Project) -> None:
    write(project.folder / "photos", "1.txt")
    (project.folder / "urls.txt").write_text("gone.txt\n1.txt\n")
    manifest = '[[sources]]\nname = "{}"\ntype = "manifest"\nfiles = "urls.txt"\nroot = "photos"\nkey = "{{path}}"\n'
    project.configure(manifest.format("first"))
    assert project.run("migrate").status == 1
    project.configure(manifest.format("second"))
    assert project.run("migrate").status == 1
    write(project.folder / "photos", "gone.txt")
    assert project.run("retry").status == 0
    assert project.run("migrate").status == 0
    assert set(project.objects()) == {"1.txt", "gone.txt"}
    assert states(project) == {"stored": 2}


def test_a_source_that_is_removed_takes_its_plan_with_it(project: Project) -> None:
    write(project.folder / "photos", "1.txt")
    write(project.folder / "more", "3.txt")
    project.configure(directory("{path}") + directory("{path}", root="more"))
    assert project.run("plan").status == 0
    project.configure(directory("{path}"))
    assert project.run("migrate").status == 0
    assert set(project.objects()) == {"1.txt"}
    assert states(project) == {"stored": 1}


def test_what_two_sources_have_stays_planned_for_the_other(project: Project) -> None:
    write(project.folder / "photos", "1.txt", "2.txt")

    def configure(exclude: str) -> None:
        project.configure(directory("{path}", exclude) + directory("{path}", 'include = ["1.txt"]'))

    configure("")
    assert project.run("plan").status == 0
    configure('exclude = ["1.txt"]')
    assert project.run("migrate").status == 0
    assert set(project.objects()) == {"1.txt", "2.txt"}
    assert states(project) == {"stored": 2}


def test_the_same_plan_again_is_the_same_plan(project: Project) -> None:
    write(project.folder / "photos", "a/1.txt", "b/1.txt", "2.txt")
    project.configure(directory("{name}"))
    first, again = ([line for line in project.run("plan").out.splitlines() if "disk" not in line] for _ in range(2))
    assert first == again
    assert states(project) == {"planned": 2, "failed": 1}


def test_a_root_that_was_moved_away_is_followed(project: Project) -> None:
    write(project.folder / "photos", *(f"{n}.txt" for n in range(8)))
    project.configure(directory("{path}"))
    assert project.run("migrate", "--limit", "4").status == 5
    shutil.copytree(project.folder / "photos", project.folder / "elsewhere")  # other inodes, the same times
    shutil.rmtree(project.folder / "photos")
    stored = query(project.folder / "checkpoints" / "trial.db", "SELECT key FROM items WHERE state = 'stored'")
    (changed,), *_ = stored
    (project.folder / "elsewhere" / changed).write_text("another")
    project.configure(directory("{path}", root="elsewhere"))
    ended = project.run("migrate")
    assert ended.status == 1
    assert f"elsewhere/{changed}: it was stored as {changed} and has changed since" in ended.out
    assert "conflict" not in ended.out
    assert project.run("retry", "--changed").status == 0
    assert project.run("migrate").status == 0
    assert states(project) == {"stored": 8}
    assert project.objects() == {f"{n}.txt": f"{n}.txt".encode() for n in range(8)} | {changed: b"another"}
    assert project.run("verify", "--sources").status == 0


def test_rows_that_name_another_host_are_updated_for_what_is_stored(
    project: Project, site: Site, tmp_path: Path
) -> None:
    old, new = site({f"/{n}.jpg": b"%d" % n for n in range(8)}), site({f"/{n}.jpg": b"%d" % n for n in range(8)})
    with databases.sqlite(tmp_path) as database:
        database.run("CREATE TABLE photos (id INTEGER PRIMARY KEY, path TEXT, s3_key TEXT)")
        database.run(*(f"INSERT INTO photos VALUES ({n}, '{n}.jpg', NULL)" for n in range(8)))

        def configure(host: str) -> None:
            project.configure(
                f'[[sources]]\ntype = "table"\ndatabase_url = "{database.url}"\nallow_private = true\n'
                f'query = "SELECT id, path FROM photos"\nprimary_key = ["id"]\nlocation = "{host}/{{path}}"\n'
                'key = "{id}.jpg"\n[sources.update]\ntable = "photos"\nset = { s3_key = "{key}" }'
            )

        configure(old)
        assert project.run("migrate", "--limit", "3").status == 5
        configure(new)
        ended = project.run("migrate")
        assert ended.status == 0, ended.out
        assert database.rows("SELECT s3_key FROM photos ORDER BY id") == [(f"{n}.jpg",) for n in range(8)]
    assert states(project) == {"stored": 8}
    assert len(project.objects()) == 8


def test_two_locations_that_are_both_listed_still_collide(project: Project) -> None:
    write(project.folder / "photos", "a/1.txt", "b/1.txt", "b/2.txt")
    project.configure(directory("{name}"))
    assert project.run("migrate").status == 1
    project.configure(directory("{name}", 'exclude = ["b/2.txt"]'))
    ended = project.run("migrate")
    assert ended.status == 1
    assert "b/1.txt is not moved to 1.txt" in ended.out
    assert project.objects() == {"1.txt": b"a/1.txt", "2.txt": b"b/2.txt"}
    assert states(project) == {"stored": 2, "failed": 1}


def test_a_key_that_was_rolled_back_is_free_for_another_location(project: Project) -> None:
    write(project.folder / "wrong", "1.txt", "2.txt")
    write(project.folder / "photos", "1.txt", "2.txt")
    project.configure(directory("{path}", root="wrong"))
    assert project.run("migrate").status == 0
    assert project.run("rollback", "--yes").status == 0
    assert project.run("migrate").status == 0
    assert project.objects() == {}  # undone until it is asked for
    (project.folder / "photos" / "1.txt").write_text("right")
    project.configure(directory("{path}"))
    assert project.run("migrate").status == 0
    assert project.objects() == {"1.txt": b"right", "2.txt": b"2.txt"}
    assert states(project) == {"stored": 2}


def test_what_was_rolled_back_leaves_nothing_to_an_item_that_gets_its_number(project: Project) -> None:
    fill(project)
    thumbs = '\n[[variants]]\nname = "thumb"\nkey = "thumbs/{stem}.jpg"\nwidth = 40\n\n[cleanup]\ngrace = "0s"\n'
    shutil.copytree(project.folder / "photos", project.folder / "wrong")
    project.configure(directory("{path}", root="wrong") + thumbs)
    assert project.run("migrate").status == 0
    assert project.run("verify").status == 0
    assert project.run("rollback", "--yes").status == 0
    project.configure(directory("{path}") + thumbs)
    ended = project.run("migrate")
    assert ended.status == 0, ended.out
    assert len(project.objects()) == 6
    ledger = project.folder / "checkpoints" / "trial.db"
    assert query(ledger, "SELECT count(*) FROM verified") == [(0,)]
    assert query(ledger, "SELECT state, count(*) FROM variants GROUP BY 1") == [("stored", 3)]
    assert query(ledger, "SELECT state, variants FROM variant_progress") == [("stored", 3)]
    project.run("cleanup", "--yes")
    assert len(list((project.folder / "photos").glob("*.jpg"))) == 3, "nothing was verified yet"


def test_a_plan_that_could_not_end_is_gone_on_with(project: Project) -> None:
    write(project.folder / "photos", "a/1.txt", "b/1.txt")
    away = project.folder / "more"
    sources = directory("{name}", 'name = "photos"') + directory("more/{name}", 'name = "more"', root="more")
    project.configure(sources)
    write(away, "2.txt")
    shutil.move(away, project.folder / "kept")
    assert project.run("plan").status == 3
    shutil.move(project.folder / "kept", away)
    moved = project.run("migrate")
    assert moved.status == 1
    assert set(project.objects()) == {"1.txt", "more/2.txt"}
    assert states(project) == {"stored": 2, "failed": 1}, "two locations for one key, from before the plan had ended"
