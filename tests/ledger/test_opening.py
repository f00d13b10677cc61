"""Who may open a ledger, and which files are refused: each with what to do, and with every byte left as it was."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from migrator.core.errors import LedgerError, LedgerLocked
from migrator.ledger.lock import refuse_network
from migrator.ledger.sqlite import SqliteLedger
from migrator.ledger.view import LedgerView
from tests.ledger.making import items, page, query

HOLD = """
import sys
from pathlib import Path
from migrator.ledger.sqlite import SqliteLedger
ledger = SqliteLedger.open(Path(sys.argv[1]), name="job")
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def finished(path: Path) -> Path:
    """A ledger at rest."""
    SqliteLedger.open(path, name="job").close()
    return path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_everything_is_the_owners_alone_and_one_file_is_left_at_rest(path: Path) -> None:
    before = os.umask(0)
    try:
        with SqliteLedger.open(path, name="job") as ledger:
            await ledger.add("photos", page(items("a")))
            assert {file.suffix for file in path.parent.iterdir()} == {".db", ".db-wal", ".db-shm", ".lock"}
            assert {mode(file) for file in path.parent.iterdir()} == {0o600}
    finally:
        os.umask(before)
    assert mode(path.parent) == 0o700
    assert {file.name for file in path.parent.iterdir()} == {"job.db", "job.lock"}


def test_a_ledger_keeps_its_id_and_becomes_private_again(finished: Path) -> None:
    with SqliteLedger.open(finished, name="job") as ledger:
        first = ledger.id
    finished.chmod(0o644)
    with SqliteLedger.open(finished, name="job") as ledger:
        assert ledger.id == first != ""
    assert mode(finished) == 0o600


def test_a_second_process_is_told_who_holds_it(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(LedgerLocked) as caught:
            SqliteLedger.open(path, name="job")
        assert f"process {process.pid} on {os.uname().nodename}, since 20" in str(caught.value)
        with LedgerView.open(path) as view:
            holder = view.holder()
            assert holder
            assert holder.pid == process.pid
        process.send_signal(signal.SIGKILL)
    with LedgerView.open(path) as view:
        assert view.holder() is None
    SqliteLedger.open(path, name="job").close()


def test_a_ledger_that_was_closed_is_nobodys(finished: Path) -> None:
    with LedgerView.open(finished) as view:
        assert view.holder() is None


async def test_closing_twice_does_no_harm_and_nothing_goes_in_afterwards(path: Path) -> None:
    ledger = SqliteLedger.open(path, name="job")
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        await ledger.add("photos", page(items("a")))


MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:44 / /net\040drive rw,relatime - nfs4 server:/export rw
31 22 0:45 / /home/me/remote rw,nosuid - fuse.sshfs me@host: rw
32 30 254:1 / /net\040drive/local rw - xfs /dev/sdb1 rw
33 22 0:46 / /mnt/over rw - ext4 /dev/sdc1 rw
34 33 0:47 / /mnt/over rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/net drive/checkpoints", "nfs4"),
        ("/home/me/remote/deep/checkpoints", "fuse.sshfs"),
        ("/mnt/over", "cifs"),
        ("/net drive/local/checkpoints", None),
        ("/net driver/checkpoints", None),
        ("/var/checkpoints", None),
    ],
)
def test_network_file_systems_are_refused(tmp_path: Path, place: str, kind: str | None) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    if kind is None:
        refuse_network(Path(place) / "job.db", mounts)
        return
    with pytest.raises(LedgerError, match="checkpoint_dir") as caught:
        refuse_network(Path(place) / "job.db", mounts)
    assert kind in str(caught.value)


def test_where_mounts_cannot_be_known_nothing_is_refused(tmp_path: Path) -> None:
    refuse_network(tmp_path / "job.db", tmp_path / "no-such-file")


def test_a_newer_ledger_is_refused_by_both(finished: Path) -> None:
    with closing(sqlite3.connect(finished)) as database:
        database.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('ledger', '0042-later', '')"
        )
        database.commit()
    before = finished.read_bytes()
    for opened in (lambda: SqliteLedger.open(finished, name="job"), lambda: LedgerView.open(finished)):
        with pytest.raises(LedgerError, match=r"0042-later.*upgrade migrator"):
            opened()
    assert finished.read_bytes() == before


def test_a_ledger_that_lacks_a_step_is_brought_up_to_date_by_the_writer_only(path: Path) -> None:
    path.parent.mkdir()
    path.touch()  # as a kill right after its creation leaves it
    with pytest.raises(LedgerError, match="not up to date"):
        LedgerView.open(path)
    SqliteLedger.open(path, name="job").close()
    LedgerView.open(path).close()


def test_another_programs_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    for opened in (lambda: SqliteLedger.open(path, name="job"), lambda: LedgerView.open(path)):
        with pytest.raises(LedgerError, match="no ledger"):
            opened()
    assert path.read_bytes() == before


def test_another_migrations_ledger_is_refused(finished: Path) -> None:
    other = finished.with_name("other.db")
    shutil.copy(finished, other)
    with pytest.raises(LedgerError, match=r"'job'.*'other'"):
        SqliteLedger.open(other, name="other")


def overwrite_with_text(path: Path) -> None:
    path.write_text("this is no database at all, just a text that is long enough to be read as one\n" * 20)


def cut_in_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def scribble(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 8)


def swap_two_rows(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("INSERT INTO sources (name) VALUES ('one'), ('two')")
        database.commit()
        ((root,),) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sources'")
    with path.open("r+b") as file:
        # The pointers to a leaf's cells follow its 8 bytes of header: https://www.sqlite.org/fileformat2.html#b_tree_pages
        file.seek(4096 * (root - 1) + 8)
        pointers = file.read(4)
        file.seek(-4, os.SEEK_CUR)
        file.write(pointers[2:] + pointers[:2])


@pytest.mark.parametrize("damage", [overwrite_with_text, cut_in_half, scribble, swap_two_rows])
def test_a_damaged_ledger_is_refused_with_what_to_do(finished: Path, damage: object) -> None:
    assert callable(damage)
    damage(finished)
    before = finished.read_bytes()
    with pytest.raises(LedgerError, match=r"job\.db.*(keep|restore)"):
        SqliteLedger.open(finished, name="job")
    assert finished.read_bytes() == before
    if damage is not swap_two_rows:  # only the writer looks that closely
        with pytest.raises(LedgerError), LedgerView.open(finished) as view:
            view.tallies()


def test_a_missing_ledger_is_not_made_by_looking(path: Path) -> None:
    with pytest.raises(LedgerError, match="migrator plan"):
        LedgerView.open(path)
    assert not path.parent.exists()


def test_looking_at_a_ledger_at_rest_leaves_no_file(finished: Path) -> None:
    before = sorted(finished.parent.iterdir())
    with LedgerView.open(finished) as view:
        view.tallies()
        assert sorted(finished.parent.iterdir()) == before
    assert sorted(finished.parent.iterdir()) == before


def test_a_folder_that_cannot_be_made_is_a_ledger_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="check the path"):
        SqliteLedger.open(tmp_path / "file" / "job.db", name="job")


async def test_a_ledger_opens_while_somebody_has_it_open_to_read(finished: Path) -> None:
    with LedgerView.open(finished) as view:
        assert view.tallies() == []
        with SqliteLedger.open(finished, name="job") as ledger:
            await ledger.add("photos", page(items("a")))
            assert [tally.items for tally in view.tallies()] == [1]
        assert [tally.items for tally in view.tallies()] == [1]
    SqliteLedger.open(finished, name="job").close()
    assert query(finished, "SELECT key FROM items") == [("a",)]


def test_a_write_that_was_cut_off_between_two_runs_is_undone_by_the_next(finished: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(finished)) as database:
        database.execute("PRAGMA cache_size = 1")
        for number in range(500):  # more than the cache holds, so that some of it stands in the file already
            database.execute("INSERT INTO meta VALUES (?, ?)", (f"{number:04d}", "x" * 1000))
        copy = Path(shutil.copytree(finished.parent, tmp_path / "copy")) / finished.name
        database.rollback()
    assert copy.with_name("job.db-journal").exists()
    with pytest.raises(LedgerError, match="in the middle of a write"):
        LedgerView.open(copy)
    with SqliteLedger.open(copy, name="job"):
        pass
    assert query(copy, "SELECT count(*) FROM meta WHERE value LIKE 'x%'") == [(0,)]
