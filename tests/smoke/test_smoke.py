"""The installed command end to end, as a user types it, against server processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.servers.s3 import S3Server

COMMAND = Path(sys.executable).with_name("migrator")


def migrator(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_tree_of_files_arrives_and_nothing_moves_twice(tmp_path: Path, rclone_server: S3Server) -> None:
    bucket = rclone_server.new_bucket()
    (tmp_path / "files/deep").mkdir(parents=True)
    for number in range(50):
        (tmp_path / f"files/deep/{number}.bin").write_bytes(os.urandom(5000))
    copy = ("copy", "files", f"s3://{bucket}/kept/", "--endpoint-url", rclone_server.endpoint)
    first = migrator(tmp_path, *copy)
    assert first.returncode == 0, first.stderr
    keys = {entry["Key"] for entry in rclone_server.client().list_objects_v2(Bucket=bucket)["Contents"]}
    assert keys == {f"kept/deep/{number}.bin" for number in range(50)}
    second = migrator(tmp_path, *copy)
    assert second.returncode == 0
    assert "Moved nothing" in second.stdout


def test_smoke_moves_ten_images_and_leaves_nothing(tmp_path: Path, moto_server: S3Server) -> None:
    bucket = moto_server.new_bucket()
    (tmp_path / "migrator.toml").write_text(
        f'name = "s"\n[destination]\nbucket = "{bucket}"\nendpoint_url = "{moto_server.endpoint}"\n'
        '[[sources]]\ntype = "directory"\nroot = "files"\nkey = "{path}"\n'
    )
    done = migrator(tmp_path, "smoke", "--json")
    assert done.returncode == 0, done.stderr
    assert "Contents" not in moto_server.client().list_objects_v2(Bucket=bucket)
    assert json.loads(done.stdout.splitlines()[-1])


def test_help_and_version_answer() -> None:
    assert migrator(Path.cwd(), "--help").returncode == 0
    assert migrator(Path.cwd(), "--version").returncode == 0


def test_demo_runs_by_itself(tmp_path: Path) -> None:
    done = migrator(tmp_path, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "318" in done.stdout
