"""`python -m benchmarks.transfer`: migrator against s5cmd and rclone, in one run, on the same server.

Every run is a fresh process against a fresh, empty server; the tools take turns, so that drift hits all alike. Requests
are counted in a pass of their own, behind a proxy, which is not timed.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import scoring
from benchmarks.contestants import (
    BARE,
    BUCKET,
    CONTESTANTS,
    SOURCE,
    Job,
    environment,
    files_below,
    prepare,
    s5cmd_binary,
)
from benchmarks.measuring import RunFailed, Usage, measure, wait_for_quiet
from benchmarks.servers import (
    ACCESS_KEY,
    RCLONE,
    SECRET_KEY,
    CephServer,
    CountingProxy,
    RcloneServer,
    Server,
    Unavailable,
    http_origin,
)
from migrator.core.quantities import parse_size

COUNTED_OBJECTS = 500
LARGE_FILE = 2 * 1024**3
RESULTS = Path(__file__).parent / "results"
TITLES = {
    "a": "(a) local files to S3",
    "b": "(b) HTTP to S3",
    "c": "(c) one large file to S3",
    "d": "(d) bucket to bucket on one server",
    "e": "(e) bucket to bucket between two servers",
}
_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Load:
    """Files to move."""

    folder: Path
    objects: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Bench:
    """How runs take place: one kind of server, memory-backed folder, seconds to wait for quiet, transfers at once."""

    name: str
    server: Server
    folder: Path
    quiet: float
    concurrency: int

    def timed(self, case: str, tool: str, load: Load, origin: Server | None) -> Usage:
        """One timed run against an empty server; raises RunFailed unless everything arrived."""
        with running(self.server), tempfile.TemporaryDirectory(prefix="benchmark-") as own:
            job = job_of(case, load, origin, self.server, Path(own), self.concurrency)
            command = CONTESTANTS[case][tool](job)
            make_bucket(self.server, job)
            if case == "d":
                fill_source(self.server, load)
            prepare(tool, job)
            serving = self.server.pids() + (origin.pids() if origin else [])
            wait_for_quiet(self.quiet)
            usage = measure(command, env=environment(job), cwd=job.folder, log=job.folder / "output", servers=serving)
            arrived = arrivals(job)
        if arrived != (load.objects, load.total_bytes):
            raise RunFailed(f"{tool}: {arrived} (objects, bytes) arrived of {(load.objects, load.total_bytes)}")
        return usage

    def counted(self, case: str, tool: str, load: Load, origin: Server | None) -> scoring.Requests:
        """One run behind the counting proxy, not timed."""
        log = self.folder / "requests.txt"
        proxy = CountingProxy(self.server, log)
        with running(self.server), running(proxy), tempfile.TemporaryDirectory(prefix="benchmark-") as own:
            job = job_of(case, load, origin, proxy, Path(own), self.concurrency)
            make_bucket(self.server, job)
            if case == "d":
                fill_source(self.server, load)
            command = CONTESTANTS[case][tool](job)
            measure(command, env=environment(job), cwd=job.folder, log=job.folder / "output")
        return requests_of(log.read_text().splitlines(), files_below(load.folder))

    @contextmanager
    def origin(self, case: str, load: Load) -> Iterator[Server | None]:
        """Where `load` is served in cases b and e: by a web server, by an S3 server of its own."""
        if case == "b":
            with running(http_origin(load.folder, self.folder)) as server:
                yield server
        elif case == "e":
            with running(RcloneServer(self.folder / "origin")) as server:
                fill_source(server, load)
                yield server
        else:
            yield None


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Starts a server and stops it, whatever happens."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


def job_of(case: str, load: Load, origin: Server | None, endpoint: Server, own: Path, concurrency: int) -> Job:
    """What a tool is told."""
    served = endpoint.url if case == "d" else origin.url if origin else ""
    return Job(case, load.folder, served, endpoint.url, endpoint.provider, own, concurrency)


def make_bucket(server: Server, job: Job) -> None:
    """The bucket, and one object in another, so that no tool pays for what a server makes at its first put."""
    command = [s5cmd_binary(), "--endpoint-url", server.url]
    for bucket in (BUCKET, "warm-up"):
        subprocess.run([*command, "mb", f"s3://{bucket}"], env=environment(job), check=True, capture_output=True)
    first = ["cp", str(Path(__file__)), "s3://warm-up/first"]
    subprocess.run([*command, *first], env=environment(job), check=True, capture_output=True)


def fill_source(server: Server, load: Load) -> None:
    """The bucket that is copied from, with all files of `load` in it."""
    command = [s5cmd_binary(), "--endpoint-url", server.url, "--log", "error"]
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}
    for action in (["mb", f"s3://{SOURCE}"], ["cp", f"{load.folder}/", f"s3://{SOURCE}/"]):
        subprocess.run([*command, *action], env=os.environ | keys, check=True, capture_output=True)


def arrivals(job: Job) -> tuple[int, int]:
    """(objects, bytes) in the bucket: a tool that leaves anything of its own there fails, too."""
    command = [s5cmd_binary(), "--endpoint-url", job.endpoint, "--json", "ls", f"s3://{BUCKET}/*"]
    done = subprocess.run(command, env=environment(job), check=False, capture_output=True, text=True)
    if done.returncode and "no object found" not in done.stderr:
        raise RunFailed(f"the bucket could not be listed: {done.stderr}")
    sizes = [entry.get("size", 0) for entry in map(json.loads, done.stdout.splitlines())]
    return len(sizes), sum(sizes)


def requests_of(lines: Sequence[str], keys: Sequence[str]) -> scoring.Requests:
    """Sorts request lines (`METHOD target`) into those for the objects themselves and all others."""
    targets = {f"/{BUCKET}/{key}" for key in keys}
    operations: Counter[str] = Counter()
    for line in lines:
        method, _, target = line.partition(" ")
        kind = "object" if target.partition("?")[0] in targets else "other"
        operations[f"{method} {kind}"] += 1
    objects = sum(n for operation, n in operations.items() if operation.endswith("object"))
    return scoring.Requests(len(keys), objects, operations.total() - objects, dict(sorted(operations.items())))


def make_load(folder: Path, objects: int, size: int, *, folders: int = 100) -> Load:
    """Files of random bytes, all different, spread over `folders` (0: none)."""
    for i in range(objects):
        path = folder / (f"{i % folders:02}" if folders else "") / f"photo-{i:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for start in range(0, size, _PIECE):
                file.write(os.urandom(min(_PIECE, size - start)))
    os.sync()
    return Load(folder, objects, objects * size)


def run_case(bench: Bench, case: str, load: Load, options: argparse.Namespace) -> scoring.Result:
    """All runs of one case, tools in turn; prints the table."""
    tools = [tool for tool in CONTESTANTS[case] if (tool in options.tools if options.tools else tool != BARE)]
    runs: dict[str, list[Usage]] = {tool: [] for tool in tools}
    with bench.origin(case, load) as origin:
        for repeat in range(options.repeats):
            for tool in tools:
                usage = bench.timed(case, tool, load, origin)
                runs[tool].append(usage)
                note(case, repeat, tool, usage, load)
    counted = count_case(bench, case, load, tools)
    scores = [scoring.score(tool, runs[tool], load.objects, load.total_bytes, counted[tool]) for tool in tools]
    found = scoring.checks(case, scores)
    print(scoring.table(f"{TITLES[case]}, {bench.name}", scores, found), flush=True)
    return scoring.Result(scores, found, runs)


def count_case(bench: Bench, case: str, load: Load, tools: Sequence[str]) -> dict[str, scoring.Requests]:
    """Requests of each tool, for fewer objects of the same size."""
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        size = load.total_bytes // load.objects
        # In no folders: rclone's server fails now and then when two first puts make the same one; all tools repeat it.
        few = (
            load if load.objects == 1 else make_load(Path(folder), min(COUNTED_OBJECTS, load.objects), size, folders=0)
        )
        with bench.origin(case, few) as origin:
            return {tool: bench.counted(case, tool, few, origin) for tool in tools}


def note(case: str, repeat: int, tool: str, usage: Usage, load: Load) -> None:
    """One line about one run, on stderr."""
    print(
        f"{case} {repeat + 1} {tool:9} {load.objects / usage.seconds:9.2f} objects/s "
        f"{1000 * usage.cpu / load.objects:9.3f} ms/object {usage.peak_rss / 2**20:5.0f} MiB  noise {usage.noise:.0%}",
        file=sys.stderr,
        flush=True,
    )


def report(options: argparse.Namespace, server: str, cases: dict[str, scoring.Result]) -> Path:
    """Writes everything to a file of its own and returns its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"transfer-{server}-{time.strftime('%Y%m%dT%H%M%S')}.json"
    about = {
        "server": server,
        "objects": options.objects,
        "size": options.size,
        "large": options.large,
        "repeats": options.repeats,
        "concurrency": options.concurrency,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": sys.version,
        "peers": [version_of([s5cmd_binary(), "version"]), version_of([str(RCLONE), "version"])],
        "cases": {case: asdict(result) for case, result in cases.items()},
    }
    path.write_text(json.dumps(about, indent=1) + "\n")
    return path


def version_of(command: Sequence[str]) -> str:
    """The first line that a tool says of itself."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return f"{Path(command[0]).name} {done.stdout.splitlines()[0]}"


def run_server(name: str, options: argparse.Namespace) -> bool:
    """All cases on one server; True when every target was met."""
    memory = Path("/dev/shm")
    cases: dict[str, scoring.Result] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=memory if memory.is_dir() else None) as own:
        folder = Path(own)
        server = CephServer() if name == "ceph20" else RcloneServer(folder)
        bench = Bench(name, server, folder, options.quiet, options.concurrency)
        for case in options.case:
            objects, size = (1, options.large) if case == "c" else (options.objects, options.size)
            # Files lie where a user's do: on disk, just written and so in its cache. The origin's are in memory.
            with tempfile.TemporaryDirectory(prefix="benchmark-", dir=folder if case == "b" else None) as data:
                cases[case] = run_case(bench, case, make_load(Path(data), objects, size), options)
    print(f"written to {report(options, name, cases)}", file=sys.stderr)
    return all(check.passed for result in cases.values() for check in result.checks)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__)
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--size", type=parse_size, default=100_000, help='of one object, such as "100KB"')
    parser.add_argument("--large", type=parse_size, default=LARGE_FILE, help="size of the one file in case c")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--server", nargs="+", choices=("rclone", "ceph20"), help="default: all that are installed")
    parser.add_argument("--case", nargs="+", choices=tuple(CONTESTANTS), default=tuple(CONTESTANTS))
    parser.add_argument("--tools", nargs="+", choices=tuple(CONTESTANTS["a"]), help="only these; no targets without us")
    parser.add_argument("--concurrency", type=int, default=64, help="transfers at once that each tool is told")
    parser.add_argument("--quiet", type=float, default=20.0, help="seconds to wait at most for a quiet machine")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cases; exit status 0 when every target was met, 1 when one was missed, 2 when a run failed."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinding stops the servers and removes the folders
    servers = options.server or (["rclone", "ceph20"] if CephServer.installed() else ["rclone"])
    try:
        passed = [run_server(name, options) for name in servers]
    except (RunFailed, Unavailable) as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
