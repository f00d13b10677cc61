"""`migrator preview`: the variants of a few images, to be looked at before a million are made."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from migrator.cli.options import CONFIG_FILE, ConfigFile, Json
from migrator.cli.output import Output
from migrator.core.model import Failed
from migrator.reports import words

if TYPE_CHECKING:
    from migrator.wiring.rendering import Previewed

FOLDER = Path("preview")


def preview(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Images on this machine.")],
    config_file: ConfigFile = CONFIG_FILE,
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the variants and index.html go.")
    ] = FOLDER,
    as_json: Json = False,
) -> int:
    """Make every configured variant of a few images, with one page to compare them on.

    Nothing is sent anywhere. The page needs no network and shows bytes, dimensions, quality and CPU time.

    \b
    Examples:
      migrator preview photos/*.jpg
      migrator preview one.heic two.png --out /tmp/look
      migrator preview photos/*.jpg --json | jq .variants[].bytes
    """
    from migrator import wiring
    from migrator.wiring.rendering import SHEET

    output = Output(as_json=as_json)
    config = wiring.load_config(config_file, {})
    failed = 0
    for previewed in wiring.preview(config, files, folder):
        failed += sum(path is None for path in previewed.paths)
        if as_json:
            output.emit(_tree(previewed))
        else:
            output.say(_lines(previewed))
    if not as_json:
        output.say([f"wrote {folder / SHEET}"])
    return int(failed > 0)


def _lines(previewed: "Previewed") -> list[str]:
    from migrator.reports.contact_sheet import described

    sample = previewed.sample
    lines = [f"{sample.name}  {words.size(sample.size)}"]
    width = max(len(f"{wanted.name} {wanted.format}") for wanted, _ in sample.variants)
    for wanted, made in sample.variants:
        label = f"{wanted.name} {wanted.format}".ljust(width)
        what = made.message if isinstance(made, Failed) else ", ".join(described(sample.size, made))
        lines.append(f"  {label}  {what}")
    return lines


def _tree(previewed: "Previewed") -> dict[str, object]:
    sample = previewed.sample
    variants: list[dict[str, object]] = []
    for (wanted, made), path in zip(sample.variants, previewed.paths, strict=True):
        found: dict[str, object] = {"name": wanted.name, "format": wanted.format}
        if isinstance(made, Failed):
            found |= {"fault": made.fault, "message": made.message}
        else:
            found |= {
                "path": str(path),
                "bytes": len(made.body),
                "width": made.width,
                "height": made.height,
                "quality": made.quality,
                "encodes": made.encodes,
                "seconds": round(made.seconds, 4),
            }
        variants.append(found)
    return {"file": sample.name, "bytes": sample.size, "variants": variants}


commands: dict[str, Callable[..., Any]] = {"preview": preview}
