"""Memory stays bounded whatever the size of a manifest or a folder: measured in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCAN = r"""
import re, sys
from pathlib import Path
from migrator.core.config import DirectorySource, ManifestSource
from migrator.core.keys import Naming
from migrator.sources.directory import DirectoryScan
from migrator.sources.manifest import ManifestScan

kind, place = sys.argv[1:]
if kind == "manifest":
    config = ManifestSource(type="manifest", name="m", files=place, key="{lot}/{path}", fields=("image_url",))
    source = ManifestScan(config, Naming())
else:
    source = DirectoryScan(DirectorySource(type="directory", name="d", root=place, key="{path}"), Naming())
items = problems = 0
for page in source.scan(None):
    items += len(page.items)
    problems += len(page.problems)
    assert len(page.items) + len(page.problems) <= 2000
# Not ru_maxrss: that one begins with the peak of whoever started this process.
print(items, problems, int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""
MOST_MIB = 150


def scanned(kind: str, place: Path) -> tuple[int, int, int]:
    """(items, problems, peak MiB) of a scan."""
    # Coverage in the child would count its own memory.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, "-c", SCAN, kind, str(place)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
    items, problems, peak = map(int, answer.stdout.split())
    return items, problems, peak


def write_lots(path: Path, size: int, shape: str) -> int:
    """Writes one document of about `size` bytes on a single line; returns how many locations it has."""
    note = "n" * 300
    count = 0
    with path.open("w") as file:
        file.write("[" if shape == "list" else "{")
        while file.tell() < size:
            for _ in range(1_000):
                name = "" if shape == "list" else f'"{count}":'
                url = f"https://h.example/{count}.jpg"
                file.write(f'{"," if count else ""}{name}{{"note":"{note}","image_url":"{url}","lot":{count}}}')
                count += 1
        file.write("]" if shape == "list" else "}")
    return count


@pytest.mark.parametrize("shape", ["list", "object"])
def test_a_manifest_of_30_mb_on_one_line_is_streamed(tmp_path: Path, shape: str) -> None:
    count = write_lots(tmp_path / "lots.json", 30_000_000, shape)
    items, problems, peak = scanned("manifest", tmp_path / "lots.json")
    assert (items, problems) == (count, 0)
    assert peak <= MOST_MIB


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(900)
def test_row_33_a_manifest_of_1_gb_takes_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "lots.json"
    count = write_lots(path, 1_000_000_000, "list")
    try:
        items, problems, peak = scanned("manifest", path)
    finally:
        path.unlink()
    assert (items, problems) == (count, 0)
    assert peak <= MOST_MIB


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_folder_of_150_000_files_takes_bounded_memory(tmp_path: Path) -> None:
    for i in range(150_000):
        (tmp_path / f"{i:012}.jpg").touch()
    items, problems, peak = scanned("directory", tmp_path)
    assert (items, problems) == (150_000, 0)
    assert peak <= MOST_MIB
