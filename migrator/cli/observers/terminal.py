"""The live display of a run on a terminal (stderr), drawn with Rich from `Counts` a few times a second."""

import contextlib

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from migrator.cli.observers.counts import Counts
from migrator.cli.observers.lines import LOUD, scanned, troubles
from migrator.cli.observers.several import Silent
from migrator.core.ports import EventKind
from migrator.core.secrets import mask_text
from migrator.reports import words

FRAMES_PER_SECOND = 4


class RichProgress(Silent):
    """Three or four lines that stay in place; lines of their own appear above them."""

    def __init__(self, title: str, counts: Counts, console: Console) -> None:
        self._title = title
        self._counts = counts
        self._console = console
        self._last = ""
        self._live = Live(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=FRAMES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
        )

    def __enter__(self) -> "RichProgress":
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):  # the terminal may have been closed meanwhile
            self._live.stop()

    def write(self, line: str) -> None:
        """A line above the display."""
        with contextlib.suppress(OSError):
            self._console.print(Text(line))

    def started(self, concurrency: int) -> None:
        self._last = ""  # what was said while getting ready is over

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        if kind in LOUD:
            self._last = mask_text(message)
        if kind is EventKind.STOPPING:
            self.write(mask_text(message))
            # A second signal ends the process at once: nobody would give the cursor back then.
            with contextlib.suppress(OSError):
                self._console.show_cursor(True)

    def _draw(self) -> RenderableType:
        counts = self._counts
        lines: list[RenderableType] = [self._head(), self._bar(), self._speed()]
        found = troubles(counts)
        if found:
            failing = bool(counts.failed or counts.failed_records or counts.failed_variants or counts.problems)
            lines.append(Text("  " + " · ".join(found), style="yellow" if failing else "dim", no_wrap=True))
        if self._last:
            lines.append(Text("  " + self._last, style="dim", no_wrap=True, overflow="ellipsis"))
        return Group(*lines)

    def _head(self) -> RenderableType:
        counts = self._counts
        head = Table.grid(expand=True)
        head.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        head.add_column(justify="right", no_wrap=True)
        flight = f"{counts.limit} in flight   " if counts.limit else ""
        head.add_row(Text(self._title, style="bold"), Text(f"{flight}{words.clock(counts.seconds)}", style="dim"))
        return head

    def _bar(self) -> RenderableType:
        counts = self._counts
        total, done = counts.total, counts.done
        part = counts.share
        line = Table.grid(expand=True, padding=(0, 1))
        line.add_column(ratio=1, min_width=10)
        line.add_column(justify="right", no_wrap=True)
        bar = ProgressBar(total=1.0 if total else None, completed=part or 0.0, pulse=part is None)
        share = "" if part is None else f"{int(part * 100):3d} %  "
        more = f" known so far, {scanned(counts)}" if counts.scanning else ""
        line.add_row(bar, Text(f"{share}{words.count(done)} of {words.count(total, 'object')}{more}"))
        return line

    def _speed(self) -> RenderableType:
        counts = self._counts
        items, sent = counts.speed()
        pieces = [
            f"{words.size(counts.moved_bytes)} moved",
            f"{words.rate(items)} objects/s",
            f"{words.size(sent)}/s",
        ]
        if counts.recorded:
            pieces.append(f"{words.count(counts.recorded, 'row')} updated")
        if counts.variants:
            pieces.append(f"{words.count(counts.variants, 'variant')} made")
        if (eta := counts.eta()) is not None:
            pieces.append(f"about {words.duration(eta)} left")
        if counts.before:
            pieces.append(f"{words.count(counts.before)} done before")
        return Text("  " + " · ".join(pieces), no_wrap=True, overflow="ellipsis")
