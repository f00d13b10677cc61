"""The command line itself: help, exit statuses, and how whatever goes wrong is said."""

import json
import os
import runpy
import shlex
import signal
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

from migrator.cli import failing
from migrator.cli.app import GROUPS, application
from migrator.core.errors import ConfigError, Interrupted, MigratorError
from tests.cli.conftest import MIGRATOR, Project

DOCS = Path(__file__).parent.parent.parent / "docs"

COMMANDS = [
    *("init", "setup", "test-connection", "smoke"),
    *("plan", "migrate", "retry", "copy"),
    *("status", "report", "runs", "events"),
    *("preview", "verify", "rollback", "cleanup", "orphans", "demo"),
]


def test_a_group_is_loaded_for_the_commands_that_it_has() -> None:
    assert {group: tuple(import_module(f"migrator.cli.{group}").commands) for group in GROUPS} == GROUPS
    assert [one.name for one in application("migrate").registered_commands] == list(GROUPS["moving"])
    assert [one.name for one in application("nothing-of-ours").registered_commands] == COMMANDS


def test_help_lists_the_commands_that_there_are(project: Project) -> None:
    ended = project.run("--help")
    assert ended.status == 0
    listed = [line.split()[0] for line in ended.out.partition("Commands:")[2].splitlines() if line.startswith("  ")]
    assert listed[: len(COMMANDS)] == COMMANDS
    assert "Exit status: 0 complete" in ended.out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_begins_with_examples(project: Project, name: str) -> None:
    ended = project.run(name, "--help")
    assert ended.status == 0
    assert 0 < ended.out.index("Examples:") < ended.out.index("Options:")
    assert f"migrator {name}" in ended.out


def test_help_imports_nothing_heavy() -> None:
    # Measuring coverage imports much by itself.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    line = [sys.executable, "-X", "importtime", "-m", "migrator", "--help"]
    ended = subprocess.run(line, env=plain, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ended.stderr.splitlines()}
    heavy = {"boto3", "botocore", "aiohttp", "aiobotocore", "pydantic", "rich", "PIL", "sqlite3", "asyncio"}
    assert not imported & heavy


def test_the_reference_is_up_to_date() -> None:
    made = runpy.run_path(str(DOCS / "generate_cli.py"))["reference"]()
    kept = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    assert kept == made, "run `python docs/generate_cli.py`"


def test_version(project: Project) -> None:
    assert project.run("--version").out == f"migrator {version('migrator')}\n"


@pytest.mark.parametrize(
    "line", ["frobnicate", "migrate --limit 0", "migrate --nonsense", "copy only-one", "plan --limit 3"]
)
def test_a_line_that_cannot_be_parsed_ends_with_2(project: Project, line: str) -> None:
    ended = project.run(*line.split())
    assert ended.status == 2
    assert "Usage:" in ended.err
    assert "Traceback" not in ended.err


def test_a_config_error_lists_every_problem(project: Project) -> None:
    project.configure('[[sources]]\ntype = "directory"\nrooot = "x"\nkey = "{path}"\n\n[transfer]\nconcurrency = 0')
    ended = project.run("plan")
    assert ended.status == 2
    assert ended.err.startswith("error: ")
    assert "rooot" in ended.err
    assert "transfer.concurrency" in ended.err
    assert ended.out == ""


def test_a_missing_config_says_what_to_do(project: Project) -> None:
    ended = project.run("migrate", "-c", "nowhere.toml")
    assert (ended.status, ended.err.splitlines()[0]) == (2, "error: nowhere.toml does not exist")
    assert "what to do: `migrator init` writes one" in ended.err


@pytest.mark.parametrize("option", [["--max-duration", "soon"], ["--bandwidth", "fast"]])
def test_an_option_that_makes_no_sense_is_a_config_error(project: Project, option: list[str]) -> None:
    project.files(a="a")
    ended = project.run("migrate", *option)
    assert ended.status == 2
    assert option[1] in ended.err


def test_statuses_and_lines_of_errors() -> None:
    assert failing.exit_status(Interrupted(signal.SIGTERM, "stopped")) == 143
    assert failing.exit_status(ConfigError("wrong")) == 2
    error = MigratorError("https://u:secret@host/x broke", "mend https://host/?X-Amz-Signature=abc")
    assert failing.explanation(error) == ["error: https://***@host/x broke", "what to do: mend https://host/?***"]


def test_what_nobody_foresaw_is_one_line_and_its_traceback_is_in_a_file(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "trial.log"
    try:
        raise ValueError("cannot use https://host/a?X-Amz-Signature=canary\nand more")
    except ValueError as error:
        said = failing.explanation(failing.unforeseen(error, log))
    assert said[0] == "error: unforeseen, ValueError: cannot use https://host/a?***"
    assert str(log) in said[1]
    line = json.loads(log.read_text())
    assert "test_what_nobody_foresaw" in line["traceback"]
    assert "canary" not in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_what_nobody_foresaw_where_no_log_can_be_written() -> None:
    said = failing.explanation(failing.unforeseen(ValueError("x"), Path("/dev/full")))
    assert said[0] == "error: unforeseen, ValueError: x"
    assert "could not be written" in said[1]


@pytest.mark.parametrize(
    ("error", "said"),
    [(MemoryError(), "not enough memory"), (RuntimeError("can't start new thread"), "no further thread")],
)
def test_what_the_system_has_too_little_of_is_named(tmp_path: Path, error: Exception, said: str) -> None:
    for each in (error, ExceptionGroup("of a run", [ExceptionGroup("of its lanes", [error])])):
        stopped = failing.unforeseen(each, tmp_path / "trial.log")
        assert said in stopped.message
        assert "the same command goes on" in stopped.hint
        assert failing.exit_status(stopped) == 5
    assert not (tmp_path / "trial.log").exists()


def test_a_command_that_breaks_shows_no_traceback(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.files(a="a")
    monkeypatch.setattr("migrator.wiring.load_config", lambda *_: 1 / 0)
    monkeypatch.setattr("tempfile.tempdir", str(project.folder))
    ended = project.run("status")
    assert ended.status == 1
    assert ended.err.startswith("error: unforeseen, ZeroDivisionError: division by zero\n")
    (log,) = project.folder.glob("migrator-*.log")
    assert str(log) in ended.err


def test_a_reader_that_leaves_is_no_error(project: Project) -> None:
    project.files(a="a")
    assert project.run("plan").status == 0
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        ended = subprocess.run(
            [*MIGRATOR, "report"], cwd=project.folder, stdout=gone, stderr=subprocess.PIPE, text=True
        )
    assert (ended.returncode, ended.stderr) == (141, "")


def test_ctrl_c_outside_of_a_run_ends_with_130(project: Project) -> None:
    project.files(a="a")
    assert project.run("plan").status == 0
    watching = project.start("status", "--watch")
    assert watching.stdout
    assert "trial: not running; the last plan" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=30)
    assert (watching.returncode, errors) == (130, "interrupted; nothing is lost by that\n")


def test_a_working_directory_that_was_taken_away_is_named(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "here").mkdir()
    command = f"rmdir ../here && exec {shlex.join([*MIGRATOR, 'copy', str(tmp_path / 'photos'), 's3://bucket/'])}"
    ended = subprocess.run(["sh", "-c", command], cwd=tmp_path / "here", capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    assert "the working directory was taken away" in ended.stderr
    assert "defect" not in ended.stderr
