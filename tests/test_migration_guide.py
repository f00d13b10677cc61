"""Every command of docs/how-to/migration-guide.md, in its order, does what the page says."""

import re
import secrets
import sqlite3
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from migrator.cli.app import application
from tests.servers.s3 import S3Server

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "migration-guide.md").read_text(encoding="utf-8")
STEPS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
CONFIRMED = ("rollback", "cleanup")
PHOTOS = 12

CONFIG = """
name = "photos"
[destination]
bucket = "{bucket}"
endpoint_url = "{endpoint}"
[[sources]]
name = "photos"
type = "table"
database_url = "sqlite:///shop.db"
query = "SELECT id, file FROM photos"
primary_key = ["id"]
location = "{{file}}"
root = "photos"
key = "moved/{{name}}"
[sources.update]
table = "photos"
add_columns = {{ key = "VARCHAR(1024)" }}
set = {{ key = "{{key}}" }}
[[variants]]
name = "small"
key = "small/{{stem}}.{{format}}"
width = 16
formats = ["webp"]
[cleanup]
grace = "0s"
"""


@pytest.fixture
def bucket(tmp_path: Path, moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of photographs with their table, and the name of a bucket that is not there yet."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    with sqlite3.connect("shop.db") as database:
        database.execute("CREATE TABLE photos (id INTEGER PRIMARY KEY, file TEXT)")
        for number in range(PHOTOS):
            Image.new("RGB", (32, 24), (number, 9, 9)).save(f"photos/{number}.jpg")
            database.execute("INSERT INTO photos VALUES (?, ?)", (number, f"{number}.jpg"))
    name = f"guide-{secrets.token_hex(6)}"
    (tmp_path / "migrator.toml").write_text(CONFIG.format(bucket=name, endpoint=moto_server.endpoint))
    return name


def run(command: str) -> str:
    """Runs `migrator <command>`, which must succeed, and returns what it printed."""
    arguments = command.replace("'", "").split()
    if arguments[0] in CONFIRMED and "--dry-run" not in arguments:
        arguments.append("--yes")
    if arguments[0] == "preview":
        arguments[1:] = sorted(str(path) for path in Path("photos").glob("*.jpg"))[:2]
    done = CliRunner().invoke(application(), arguments)
    assert done.exit_code == 0, f"{command}: {done.exit_code}\n{done.stdout}{done.stderr}"
    return done.stdout


def commands(step: str) -> list[str]:
    """The commands that stand on lines of their own."""
    return re.findall(r"^    migrator (.*?)(?: +#.*)?$", step, flags=re.MULTILINE)


def keys(server: S3Server, bucket: str) -> set[str]:
    return {each["Key"] for each in server.client().list_objects_v2(Bucket=bucket).get("Contents", [])}


def rows() -> set[str | None]:
    with sqlite3.connect("shop.db") as database:
        return {key for (key,) in database.execute("SELECT key FROM photos")}


def test_every_command_of_the_guide(moto_server: S3Server, bucket: str) -> None:
    moved = {f"moved/{n}.jpg" for n in range(PHOTOS)} | {f"small/{n}.webp" for n in range(PHOTOS)}
    sources = {path: path.read_bytes() for path in Path("photos").iterdir()}
    for number, step in enumerate(STEPS, 1):
        for command in commands(step):
            run(command)
        if number == 3:
            assert keys(moto_server, bucket) == moved
            run("rollback")
            assert (keys(moto_server, bucket), rows()) == (set(), {None})
            run("retry --rolled-back")
            run("migrate")
        if number == 6:
            assert (keys(moto_server, bucket), rows()) == (moved, {f"moved/{n}.jpg" for n in range(PHOTOS)})
            assert all(path.read_bytes() == data for path, data in sources.items())
        if number == 7:
            assert not any(path.exists() for path in sources)
            assert keys(moto_server, bucket) == moved
    assert Path("report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_sources_come_back_from_the_trash(moto_server: S3Server, bucket: str) -> None:
    sources = {path: path.read_bytes() for path in Path("photos").iterdir()}
    for command in ("setup", "migrate", "verify", "cleanup"):
        run(command)
    assert not any(path.exists() for path in sources)
    run("rollback --drop-columns")
    assert {path: path.read_bytes() for path in Path("photos").iterdir() if path.is_file()} == sources
    assert keys(moto_server, bucket) == set()
    with sqlite3.connect("shop.db") as database:
        assert [name for _, name, *_ in database.execute("PRAGMA table_info(photos)")] == ["id", "file"]
