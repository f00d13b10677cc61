"""`preview`: the variants of a configuration made of files on this machine, before any object moves."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from migrator.clients import loop
from migrator.core.config import Config
from migrator.core.errors import ConfigError
from migrator.core.model import Failed
from migrator.core.ports import Renderer
from migrator.core.variants import Rendered, Wanted
from migrator.reports.contact_sheet import TAIL, Sample, head, section
from migrator.wiring.adapters import open_renderer

SHEET = "index.html"

_SHOWN = Wanted("original", "webp", 1600, 1600, quality=85)
"""The original as every browser shows it, whatever its format."""


class Previewed(Struct, frozen=True):
    """One image, and where its variants were written; None for one that could not be made."""

    sample: Sample
    paths: Sequence[Path | None]


def preview(config: Config, files: Sequence[Path], folder: Path) -> Iterator[Previewed]:
    """Renders every variant of `files` into `folder`, with a contact sheet; yields each image when it is done.

    Raises ConfigError where there is nothing to render, or a file that cannot be read.
    """
    wanted = [each for variant in config.variants for each in variant.wanted]
    if not wanted:
        raise ConfigError("there are no [[variants]] to preview", hint="docs/reference/configuration.md has an example")
    for file in files:
        if not file.is_file():
            raise ConfigError(f"{file} is no file", hint="name images on this machine, such as photos/*.jpg")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror}") from None
    names = _names(files)
    with (folder / SHEET).open("w", encoding="utf-8") as sheet, loop.runner() as runner:
        renderer = open_renderer()
        try:
            count = f"{len(files)} images" if len(files) > 1 else "1 image"
            sheet.write(
                head(
                    f"Variants of {config.name}",
                    f"{count}, {len(wanted)} variants each. Each links to its file; milliseconds are CPU",
                )
            )
            for file, name in zip(files, names, strict=True):
                data = _read(file)
                (shown,), made = runner.run(_both(renderer, data, wanted))
                paths = [_write(folder, name, each) for each in made]
                files_made = [path.name if path else None for path in paths]
                sample = Sample(str(file), len(data), shown, list(zip(wanted, made, strict=True)), files_made)
                sheet.write(section(sample))
                yield Previewed(sample, paths)
            sheet.write(TAIL)
        finally:
            runner.run(renderer.close())


async def _both(
    renderer: Renderer, data: bytes, wanted: Sequence[Wanted]
) -> tuple[Sequence[Rendered | Failed], Sequence[Rendered | Failed]]:
    """The original to be shown, and the variants: apart, so that these cost what they will cost."""
    return await asyncio.gather(renderer.render(data, [_SHOWN]), renderer.render(data, wanted))


def _names(files: Sequence[Path]) -> list[str]:
    """What the variants of each file are called: its stem, numbered where that is not enough."""
    stems = [file.stem for file in files]
    return [stem if stems.count(stem) == 1 else f"{stem}-{stems[:at].count(stem) + 1}" for at, stem in enumerate(stems)]


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None


def _write(folder: Path, name: str, made: Rendered | Failed) -> Path | None:
    if isinstance(made, Failed):
        return None
    path = folder / f"{name}.{made.name}.{made.format}"
    path.write_bytes(made.body)
    return path
