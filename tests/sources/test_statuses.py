"""The status of many files: those of a slow file system are waited for together."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from migrator.sources import statuses as module
from migrator.sources.statuses import AT_ONCE, statuses


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for number in range(600):
        (tmp_path / f"{number:03}").write_bytes(b"x" * number)
    return f"{tmp_path}/"


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> threading.Barrier:
    """Every file but the first is answered for when as many are asked for at once as may be."""
    barrier = threading.Barrier(AT_ONCE, timeout=10)
    real = os.lstat

    def slowly(path: Any) -> os.stat_result:
        if threading.current_thread() is not threading.main_thread():
            barrier.wait()
        return real(path)

    monkeypatch.setattr(os, "lstat", slowly)
    monkeypatch.setattr(module, "SLOW", 0.0)
    return barrier


def test_each_name_has_its_own_status_in_the_order_of_the_names(folder: str) -> None:
    names = [f"{number:03}" for number in range(599, -1, -1)]
    found = list(statuses(folder, names, None))
    assert [name for name, _ in found] == names
    assert all(isinstance(status, os.stat_result) and status.st_size == int(name) for name, status in found)


def test_slow_files_are_waited_for_together(folder: str, together: threading.Barrier) -> None:
    names = [f"{number:03}" for number in range(AT_ONCE * 4 + 1)]
    found = list(statuses(folder, names, None))
    assert [(name, getattr(status, "st_size", None)) for name, status in found] == [(name, int(name)) for name in names]


def test_what_is_not_wanted_is_not_asked_for(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: asked.append(Path(path).name) or real(path))  # type: ignore[func-returns-value]
    found = dict(statuses(folder, ["001", "002", "003"], lambda name: name == "002"))
    assert (found["001"], found["003"]) == (None, None)
    assert asked == ["002"]


@pytest.mark.parametrize("slow", [0.0, 1.0], ids=["together", "one by one"])
def test_a_file_that_is_gone_is_an_error_of_its_own(folder: str, monkeypatch: pytest.MonkeyPatch, slow: float) -> None:
    monkeypatch.setattr(module, "SLOW", slow)
    found = dict(statuses(folder, ["001", "absent", "002"], None))
    assert isinstance(found["absent"], FileNotFoundError)
    assert isinstance(found["002"], os.stat_result)
