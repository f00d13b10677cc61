"""The options that several commands share: one name, one meaning, one help text each."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from migrator.core.objects import CopyMode

ConfigFile = Annotated[
    Path, typer.Option("-c", "--config", metavar="FILE", envvar="MIGRATOR_CONFIG", help="The migration's config file.")
]
CONFIG_FILE = Path("migrator.toml")

Verbose = Annotated[
    int,
    typer.Option("-v", "--verbose", count=True, help="A line for each failure and retry; -vv: log each item too."),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Errors and the summary only.")]
LogFile = Annotated[
    Path | None,
    typer.Option("--log-file", metavar="FILE", help="The log, JSON lines. Default: <checkpoint_dir>/<name>.log."),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for machines.")]
SourceNames = Annotated[
    list[str] | None, typer.Option("--source", metavar="NAME", help="Only this source; may be given several times.")
]
Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", metavar="N", min=1, help="Transfers in flight at most (transfer.concurrency)."),
]
Bandwidth = Annotated[
    str | None, typer.Option("--bandwidth", metavar="SIZE", help='Bytes a second at most, such as "50MB".')
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Stop after N items; resumable.")]
MaxDuration = Annotated[
    str | None,
    typer.Option("--max-duration", metavar="TIME", help='Stop after this time, such as "2h"; resumable.'),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try failed items again.")]
CopyModes = Annotated[
    CopyMode,
    typer.Option(
        "--copy-mode",
        help="auto: the server copies between its own buckets where it can; server: it must; stream: it never does.",
    ),
]


class Wrong(StrEnum):
    """What `verify` may have found of an object that can be stored once more."""

    MISSING = "missing"
    DIFFER = "differ"


Verified = Annotated[
    list[Wrong] | None,
    typer.Option("--verified", help="Not what failed, but what the last verify found so; may be given twice."),
]
Rescan = Annotated[bool, typer.Option("--rescan", help="Scan complete sources again, from the beginning.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for the migration's name: for scripts.")]
