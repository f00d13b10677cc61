"""Row 33: malformed manifests are problems in the plan, with file and position; the good ones go on."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.faults.checker import Bucket
from tests.faults.harness import Migration, lots_source
from tests.faults.proxy import Proxy
from tests.faults.wire import Answer

pytestmark = pytest.mark.faults


def entry(url: str) -> str:
    """One JSON object with a location."""
    return json.dumps({"image_url": url})


def test_row_33_malformed_manifests_do_not_stop_good_ones(folder: Path, bucket: Bucket) -> None:
    lots = folder / "lots"
    lots.mkdir()
    with Proxy({f"/{i}.jpg": Answer(200, body=bytes([i])) for i in range(9)}) as origin:
        nulls = f'[{{"image_url": null}}, {{"image_url": 7}}, {{"image_url": []}}, {entry(origin.url + "/5.jpg")}]'
        good = {
            "plain.json": entry(f"{origin.url}/0.jpg").encode(),
            "bom.json": b"\xef\xbb\xbf" + entry(f"{origin.url}/1.jpg").encode(),
            "utf16.json": entry(f"{origin.url}/2.jpg").encode("utf-16"),
            "duplicates.json": f'{{"image_url": "{origin.url}/3.jpg", "image_url": "{origin.url}/4.jpg"}}'.encode(),
            "nulls.json": nulls.encode(),
            "deep-inside.json": b"[" * 50 + entry(f"{origin.url}/6.jpg").encode() + b"]" * 50,
        }
        bad = {
            "text.json": b"this is no JSON",
            "empty.json": b"",
            "cut.json": b'[{"image_url": "http://',
            "latin1.json": '{"image_url": "http://x/\u00e9.jpg"}'.encode("latin-1"),
            "trailing.json": b'{"image_url": null} garbage',
            "deep.json": b"[" * 10_000 + b"]" * 10_000,
            "binary.json": bytes(range(256)) * 10,
        }
        for name, body in (good | bad).items():
            (lots / name).write_bytes(body)
        migration = Migration(folder, bucket, sources=[lots_source(str(lots / "*.json"))])
        plan = migration.run("plan")
        finished = migration.run()
    assert plan.status == 1, plan.words
    assert finished.status == 1, finished.words
    assert "Traceback" not in plan.words + finished.words
    problems = migration.rows("select place, position, message from problems")
    places = {Path(place).name for place, _, _ in problems}
    assert places >= set(bad) - {"deep.json"}, "every bad file is named"
    assert places & set(good) <= {"nulls.json", "duplicates.json"}, problems
    assert all(position and message for _, position, message in problems)
    stored = {key for key, (state, _) in migration.items().items() if state == "stored"}
    assert stored >= {"0.jpg", "1.jpg", "2.jpg", "4.jpg", "5.jpg", "6.jpg"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_row_33_a_huge_manifest_takes_bounded_memory(folder: Path, bucket: Bucket) -> None:
    lots = folder / "lots"
    lots.mkdir()
    padding = json.dumps({"note": "x" * 1_000_000}) + ","
    with Proxy({"/first.jpg": Answer(200, body=b"1"), "/last.jpg": Answer(200, body=b"2")}) as origin:
        with (lots / "huge.json").open("w") as file:
            file.write("[" + entry(f"{origin.url}/first.jpg") + ",")
            for _ in range(1000):
                file.write(padding)
            file.write(entry(f"{origin.url}/last.jpg") + "]")
        migration = Migration(folder, bucket, sources=[lots_source(str(lots / "*.json"))])
        finished = migration.run(before=["sh", "-c", 'ulimit -v 2000000 && exec "$@"', "sh"])
    subprocess.run(["rm", str(lots / "huge.json")], check=True)
    assert finished.status == 0, finished.words
    assert migration.check({"first.jpg": b"1", "last.jpg": b"2"}) == []
