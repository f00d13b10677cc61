"""Images beside their variants on one page that needs nothing else: no script, no network, readable on a phone."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from migrator.core.model import Failed
from migrator.core.variants import Rendered, Wanted
from migrator.reports import words

_HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --quiet: #777; --bad: #c0392b; }}
body {{ font: 16px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 90rem; padding: 1rem; }}
h1 {{ font-size: 1.4rem; margin: 0 0 .25rem; }}
h2 {{ font-size: 1.1rem; margin: 0 0 .75rem; overflow-wrap: anywhere; }}
p {{ margin: 0 0 1rem; color: var(--quiet); }}
section {{ border-top: 1px solid var(--line); padding: 1rem 0 1.5rem; }}
.row {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); gap: 1rem; }}
figure {{ margin: 0; min-width: 0; }}
.frame {{ display: flex; align-items: center; justify-content: center; height: 13rem; border-radius: .4rem;
  background: repeating-conic-gradient(#8882 0 25%, #8881 0 50%) 0 0 / 1rem 1rem; }}
.frame a {{ display: contents; }}
.frame img {{ max-width: 100%; max-height: 100%; }}
.frame p {{ margin: 0; padding: 1rem; color: var(--bad); overflow-wrap: anywhere; }}
figcaption {{ padding-top: .4rem; }}
b {{ display: block; }}
span {{ color: var(--quiet); font-variant-numeric: tabular-nums; white-space: nowrap; margin-right: .6em; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{subtitle}</p>
"""


@dataclass(frozen=True, slots=True)
class Sample:
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
    return _HEAD.format(title=escape(title), subtitle=escape(subtitle))


TAIL = "</body>\n</html>\n"


def section(sample: Sample) -> Iterator[str]:
    """One image with its variants."""
    yield f"<section>\n<h2>{escape(sample.name)}</h2>\n<div class=row>\n"
    facts = [words.size(sample.size)]
    if isinstance(sample.shown, Rendered):
        facts.insert(0, dimensions(sample.shown.source))
    yield _figure("original", facts, sample.shown)
    for (wanted, made), file in zip(sample.variants, sample.files, strict=True):
        yield _figure(f"{wanted.name}, {wanted.format}", described(sample.size, made), made, file)
    yield "</div>\n</section>\n"


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


def _figure(title: str, facts: Sequence[str], made: Rendered | Failed, file: str | None = None) -> str:
    if isinstance(made, Failed):
        inside = f"<p>{escape(made.message)}</p>"
    else:
        data = b64encode(made.body).decode()
        inside = f'<img alt="{escape(title)}" src="data:{made.content_type};base64,{data}">'
        if file is not None:
            inside = f'<a href="{quote(file)}">{inside}</a>'
    told = " ".join(f"<span>{escape(fact)}</span>" for fact in facts)
    caption = f"<b>{escape(title)}</b>{told}"
    return f"<figure><div class=frame>{inside}</div><figcaption>{caption}</figcaption></figure>\n"
