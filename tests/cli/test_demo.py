"""The demo, as somebody who has nothing sees it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import MIGRATOR, Project


def test_the_demo_shows_the_whole_path(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(project.folder))
    ended = subprocess.run([*MIGRATOR, "demo"], capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr
    commands = re.findall(r"^\$ migrator (\S+)", ended.stdout, re.MULTILINE)
    assert commands == ["setup", "test-connection", "migrate", "status", "report"]
    assert "Moved 318 objects" in ended.stdout
    assert "failed    2           gone 1, invalid 1" in ended.stdout
    for name in ("config", "manifests", "ledger", "log"):
        (place,) = re.findall(rf"^{name} +(\S+)", ended.stdout.partition("That took")[2], re.MULTILINE)
        assert Path(place).exists()
    assert "GET /" not in ended.stderr, "the servers' own logs are nobody's business"


def test_the_demo_without_its_extra_says_how_to_get_it(project: Project) -> None:
    lines = ("import sys", "sys.modules['moto.server'] = None", "from migrator.cli.app import run", "run()")
    without = "; ".join(lines)
    ended = subprocess.run([sys.executable, "-c", without, "demo"], cwd=project.folder, capture_output=True, text=True)
    assert ended.returncode == 3
    assert ended.stderr.startswith("error: the demo needs its embedded S3 server")
    assert "pip install 'migrator[demo]'" in ended.stderr
