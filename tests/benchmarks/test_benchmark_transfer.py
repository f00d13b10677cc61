"""The benchmark harness itself, with 20 objects: everything arrives, and what is counted is what was sent."""

from pathlib import Path

import pytest

from benchmarks import scoring, transfer
from benchmarks.contestants import CONTESTANTS, Job
from benchmarks.measuring import RunFailed, Usage
from benchmarks.servers import RcloneServer

OBJECTS = 20


@pytest.mark.slow
@pytest.mark.parametrize("case", ["a", "b"])
@pytest.mark.parametrize("tool", ["migrator", "rclone"])
def test_a_run_moves_everything_and_is_counted(tmp_path: Path, case: str, tool: str) -> None:
    load = transfer.make_load(tmp_path / "data", OBJECTS, 1000)
    bench = transfer.Bench("rclone", RcloneServer(tmp_path), tmp_path, quiet=0, concurrency=8)
    with bench.origin(case, load) as origin:
        usage = bench.timed(case, tool, load, origin)
        requests = bench.counted(case, tool, load, origin)
    assert usage.seconds > 0
    assert usage.cpu > 0
    assert usage.peak_rss > 1_000_000
    assert requests.by_operation["PUT object"] == OBJECTS
    assert requests.per_object == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("case", "tool"), [(case, tool) for case in ("d", "e") for tool in CONTESTANTS[case]])
def test_a_bucket_is_copied_by_everybody(tmp_path: Path, case: str, tool: str) -> None:
    load = transfer.make_load(tmp_path / "data", OBJECTS, 1000, folders=0)
    bench = transfer.Bench("rclone", RcloneServer(tmp_path), tmp_path, quiet=0, concurrency=8)
    with bench.origin(case, load) as origin:
        assert bench.timed(case, tool, load, origin).seconds > 0
        requests = bench.counted(case, tool, load, origin)
    assert requests.by_operation["PUT object"] == OBJECTS


@pytest.mark.slow
def test_a_run_that_leaves_objects_behind_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = transfer.make_load(tmp_path / "data", OBJECTS, 1000)
    bench = transfer.Bench("rclone", RcloneServer(tmp_path), tmp_path, quiet=0, concurrency=8)

    def lazy(job: Job) -> list[str]:
        del job
        return ["true"]

    monkeypatch.setitem(CONTESTANTS["a"], "lazy", lazy)
    with pytest.raises(RunFailed, match=r"lazy: \(0, 0\)"):
        bench.timed("a", "lazy", load, None)


def test_targets_are_held_against_the_better_peer() -> None:
    scores = [
        scoring.score("migrator", [Usage(1.0, 0.30, 100 << 20, 0, 0)], 1000, 1_000_000, None),
        scoring.score("s5cmd", [Usage(1.3, 0.50, 30 << 20, 0, 0)], 1000, 1_000_000, None),
        scoring.score("rclone", [Usage(1.1, 0.80, 90 << 20, 0, 0)], 1000, 1_000_000, None),
        scoring.score("bare", [Usage(0.5, 0.10, 20 << 20, 0, 0)], 1000, 1_000_000, None),  # no peer
    ]
    found = {check.name: check for check in scoring.checks("a", scores)}
    assert found["speed / better peer"].reached == pytest.approx(1.1)
    assert not found["speed / better peer"].passed
    assert found["CPU / better peer"].reached == pytest.approx(0.6)
    assert found["CPU / better peer"].passed
    assert found["peak MiB"].passed


def test_request_lines_are_sorted_by_what_they_are_for() -> None:
    lines = ["PUT /benchmark/00/a.jpg?x-id=PutObject", "HEAD /benchmark/00/a.jpg", "GET /benchmark?list-type=2"]
    requests = transfer.requests_of(lines, ["00/a.jpg"])
    assert (requests.object_requests, requests.other_requests) == (2, 1)
