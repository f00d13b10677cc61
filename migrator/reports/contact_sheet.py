"""Images beside their variants on one page that needs nothing else: no script, no network, readable on a phone."""

from base64 import b64encode
from collections.abc import Sequence
from urllib.parse import quote

from msgspec import Struct

from migrator.core.model import Failed
from migrator.core.variants import Rendered, Wanted
from migrator.reports import words
from migrator.reports.pages import template


class Sample(Struct, frozen=True):
    """One image and what was made of it.

    shown  the original as a browser can show it
    files  names of the variants' files, beside the page; None for one that could not be made
    """

    name: str
    size: int
    shown: Rendered | Failed
    variants: Sequence[tuple[Wanted, Rendered | Failed]]
    files: Sequence[str | None]


def head(title: str, subtitle: str) -> str:
    """The beginning of the page; the samples and TAIL follow."""
    return template("preview_head.html").render(title=title, subtitle=subtitle)


TAIL = "</body>\n</html>\n"


def section(sample: Sample) -> str:
    """One image with its variants."""
    facts = [words.size(sample.size)]
    if isinstance(sample.shown, Rendered):
        facts.insert(0, dimensions(sample.shown.source))
    figures = [_figure("original", facts, sample.shown)]
    for (wanted, made), file in zip(sample.variants, sample.files, strict=True):
        figures.append(_figure(f"{wanted.name}, {wanted.format}", described(sample.size, made), made, file))
    return template("preview_sample.html").render(name=sample.name, figures=figures)


def described(size: int, made: Rendered | Failed) -> list[str]:
    """What was made of an image of `size` bytes, in a few words each."""
    if isinstance(made, Failed):
        return ["not made"]
    part = f" ({len(made.body) * 100 / size:.1f} %)" if size else ""
    quality = "lossless" if made.quality is None else f"quality {made.quality}"
    tries = "" if made.encodes == 1 else f" in {made.encodes} encodes"
    cost = f"{made.seconds * 1000:.0f} ms{tries}"
    return [dimensions((made.width, made.height)), words.size(len(made.body)) + part, quality, cost]


def dimensions(size: tuple[int, int]) -> str:
    """Width and height."""
    return f"{size[0]} x {size[1]}"


def _figure(title: str, facts: Sequence[str], made: Rendered | Failed, file: str | None = None) -> dict[str, object]:
    image, problem = "", ""
    if isinstance(made, Failed):
        problem = made.message
    else:
        image = f"data:{made.content_type};base64,{b64encode(made.body).decode()}"
    return {"title": title, "facts": facts, "image": image, "problem": problem, "href": quote(file) if file else ""}
