"""The command copy: `migrate` without a config file."""

from typing import Annotated

import typer

from migrator.cli.moving import move, seconds, show_plan, speed
from migrator.cli.options import (
    Bandwidth,
    Concurrency,
    CopyModes,
    Json,
    Limit,
    LogFile,
    MaxDuration,
    Quiet,
    Rescan,
    RetryFailed,
    Verbose,
)
from migrator.cli.output import Output
from migrator.core.objects import CopyMode

From = Annotated[
    str,
    typer.Argument(metavar="SRC", help="A directory, s3://bucket/prefix, or a manifest (json, jsonl, csv, txt)."),
]
To = Annotated[str, typer.Argument(metavar="DST", help="s3://bucket/prefix or file:///directory.")]
Key = Annotated[str, typer.Option("--key", metavar="TEMPLATE", help="Template of the destination key.")]
Fields = Annotated[
    list[str] | None,
    typer.Option("--field", metavar="NAME", help="Where URLs stand in a manifest; default: url."),
]
EndpointUrl = Annotated[str, typer.Option("--endpoint-url", metavar="URL", help="An S3-compatible server.")]
Region = Annotated[str, typer.Option("--region", metavar="NAME", help="The bucket's region.")]
AllowPrivate = Annotated[
    bool, typer.Option("--allow-private", help="The manifest's URLs may point to private addresses.")
]
FromBuckets = Annotated[
    list[str] | None,
    typer.Option("--from-bucket", metavar="NAME", help="A bucket that s3 locations of the manifest may lie in."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would move.")]


def copy(
    src: From,
    dst: To,
    key: Key = "{path}",
    field: Fields = None,
    endpoint_url: EndpointUrl = "",
    region: Region = "",
    allow_private: AllowPrivate = False,
    from_bucket: FromBuckets = None,
    dry_run: DryRun = False,
    limit: Limit = None,
    concurrency: Concurrency = None,
    bandwidth: Bandwidth = None,
    max_duration: MaxDuration = None,
    retry_failed: RetryFailed = False,
    rescan: Rescan = False,
    copy_mode: CopyModes = CopyMode.AUTO,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> int:
    """Copy a directory, a bucket or a manifest without a config file.

    The same command again resumes.

    \b
    Examples:
      migrator copy photos/ s3://bucket/photos          a tree of files
      migrator copy urls.txt s3://bucket/               one URL a line
      migrator copy 'lots/*.json' s3://bucket/ --field image_url --field thumb_url
      migrator copy failed.csv s3://bucket/ --key '{key}'   what a report lists as failed (--from-bucket, if it was one)
      migrator copy photos/ file:///mnt/archive         into another directory
      migrator copy s3://old/2019 s3://new/photos/2019  what lies below 2019/, or the one object 2019

    Each pair of SRC and DST has a ledger of its own in checkpoints/, and a config file beside it for
    `migrator status -c`, `retry -c` and `report -c`.
    """
    from migrator import wiring
    from migrator.cli.copy import Wishes, copy_config

    output = Output(verbose, quiet, as_json, log_file)
    wishes = Wishes(key, tuple(field or ("url",)), endpoint_url, region, allow_private, tuple(from_bucket or ()))
    config, config_file = copy_config(src, dst, wishes, speed(concurrency, bandwidth))
    if dry_run:
        return show_plan(output, config, config_file, None, dry_run=True)
    if config.destination.folder:
        wiring.setup(config, dry_run=False, versioning=False)  # as cp -r does: the folder need not be there
    options = wiring.RunOptions(limit, (), seconds(max_duration), retry_failed, rescan, copy_mode=copy_mode)
    return move(output, config, options, config_file)


commands = {"copy": copy}
