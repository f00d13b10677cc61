"""`migrator demo`: the whole path on this machine, with nothing installed or configured."""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from migrator.cli import looking, moving, preparing
from migrator.cli.output import Output, paint
from migrator.reports import words

if TYPE_CHECKING:
    from migrator.cli.demo_world import World

CONFIG = """\
# Written by `migrator demo`.
name = "demo"
checkpoint_dir = "{directory}/checkpoints"

[destination]
bucket = "{bucket}"
endpoint_url = "{endpoint_url}"

[[sources]]
name = "lots"
type = "manifest"
files = "{manifests}/lot_*_images.json"
fields = ["image_url", "thumb_url"]
match = '^auctionimages/(?P<rest>.+)$'
key = "{{rest}}"
expect = "image"
allow_private = true

[transfer]
concurrency = 16
"""


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers running afterwards, until Ctrl+C.")] = False,
) -> int:
    """Show the whole path on this machine.

    Starts an embedded S3 and a web server with pictures of lots, then runs setup, test-connection, migrate,
    status and report on them.

    \b
    Examples:
      migrator demo           half a minute; needs nothing but the extra: pip install 'migrator[demo]'
      migrator demo --keep    and leave the bucket up, to look into it
    """
    from migrator.cli import demo_world

    start = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="migrator-demo-"))
    _take_demo_credentials()
    with demo_world.world(directory) as world:
        config_file = directory / "migrator.toml"
        config_file.write_text(CONFIG.format(directory=directory, bucket=demo_world.BUCKET, **_places(world)))
        failed = _walk(config_file, directory, world)
        _say_where(directory, world, time.monotonic() - start, keep)
        if keep:
            sys.stdout.flush()
            threading.Event().wait()
    return failed


def _places(world: "World") -> dict[str, object]:
    return {"endpoint_url": world.endpoint_url, "manifests": world.manifests}


def _take_demo_credentials() -> None:
    """Any will do for the embedded S3; the operator's own must not even be looked for."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
        os.environ.pop(name, None)
    for name in [name for name in os.environ if name.startswith("MIGRATOR_")]:
        del os.environ[name]
    os.environ |= {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo", "AWS_EC2_METADATA_DISABLED": "true"}


def _walk(config_file: Path, directory: Path, world: "World") -> int:
    """Runs the commands one after the other; 0 when each ended as it should."""
    Output().say(
        [
            f"{world.lots} lots list {world.pictures} pictures at {world.site_url}.",
            "One of them is not there, and one is a web page that says so. All of this is on this machine.",
            "The embedded S3 checks no digests, so each object is read back; a real S3 checks them itself.",
        ]
    )
    steps: tuple[tuple[str, Callable[[], int], int], ...] = (
        ("setup", lambda: preparing.setup(config_file), 0),
        ("test-connection", lambda: preparing.check_connection(config_file), 0),
        ("migrate", lambda: moving.migrate(config_file), 1),
        ("status", lambda: looking.status(config_file), 0),
        (f"report -o {directory / 'report'}", lambda: looking.report(config_file, None, directory / "report"), 0),
    )
    for line, step, expected in steps:
        Output().say(["", paint(f"$ migrator {line}", "bold")])
        sys.stdout.flush()
        status = step()
        if status != expected:
            return status or 1
    return 0


def _say_where(directory: Path, world: "World", seconds: float, keep: bool) -> None:
    Output().say(
        [
            "",
            f"That took {words.duration(seconds)}. The two failures were meant to be: `migrate` exits 1 for them.",
            f"config     {directory / 'migrator.toml'}",
            f"manifests  {world.manifests}",
            f"ledger     {directory / 'checkpoints' / 'demo.db'} (any SQLite tool opens it)",
            f"log        {directory / 'checkpoints' / 'demo.log'}",
            f"report     {directory / 'report' / 'report.md'}, failed.csv beside it",
            f"bucket     {world.endpoint_url}/{world.bucket} "
            + ("(until Ctrl+C; any key and secret will do)" if keep else "(gone now; --keep leaves it up)"),
        ]
    )


commands: dict[str, Callable[..., Any]] = {"demo": demo}
