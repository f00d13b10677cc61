"""What `report` writes in each of its formats. The command itself is in `looking`."""

import time
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, TextIO

from msgspec import Struct

from migrator.reports import words
from migrator.reports.rollbacks import left_tree, write_left_alone
from migrator.reports.verification import difference_tree, verified, write_differences

if TYPE_CHECKING:
    from migrator.core.config import Config
    from migrator.ledger.view import LedgerView
    from migrator.reports.overview import Overview

FILES = {
    "md": "report.md",
    "html": "report.html",
    "json": "report.json",
    "csv": "failed.csv",
    "rows": "failed_rows.csv",
    "differences": "differences.csv",
    "left-alone": "left_alone.csv",
}
FORMATS = tuple(FILES)


class Subject(Struct, frozen=True):
    """What a report is about. `images`: stored variants may be read from the destination for it."""

    view: "LedgerView"
    config: "Config"
    images: bool

    @property
    def bucket(self) -> str:
        """The bucket in use, which `setup` may have chosen."""
        return self.view.meta("bucket") or self.config.destination.bucket

    def overview(self) -> "Overview":
        """All but the long lists."""
        from migrator.reports.overview import overview
        from migrator.reports.targets import targets_of, variants_of

        return overview(self.view, targets_of(self.config), variants_of(self.config))


def without(view: "LedgerView") -> tuple[str, ...]:
    """Formats that would be empty: where nothing updates rows, a file of failed ones would only puzzle."""
    found = verified(view.verifications(), ())
    some = {
        "rows": bool(view.record_tallies()),
        "differences": bool(found and found.counts),
        "left-alone": bool(view.left_alone_count()),
    }
    return tuple(name for name, there in some.items() if not there)


def write(format_name: str, subject: Subject, file: TextIO) -> None:
    """One report, or one list."""
    _WRITERS[format_name](subject, file)


def _markdown(subject: Subject, file: TextIO) -> None:
    from migrator.reports.markdown import markdown

    file.write(markdown(subject.overview(), subject.config.name, version("migrator"), time.time()) + "\n")


def _html(subject: Subject, file: TextIO) -> None:
    from migrator import wiring
    from migrator.reports.facts import facts_of
    from migrator.reports.html import page
    from migrator.reports.sheet import Sheet

    config, view, bucket = subject.config, subject.view, subject.bucket
    sheet = wiring.contact_sheet(config, view, bucket) if subject.images else Sheet()
    file.write(page(subject.overview(), facts_of(config, bucket), sheet) + "\n")


def _json(subject: Subject, file: TextIO) -> None:
    from migrator.reports.facts import facts_of
    from migrator.reports.report_json import failed_item, write_json
    from migrator.reports.rows import failed_row
    from migrator.reports.targets import targets_of
    from migrator.reports.tree import overview_tree
    from migrator.reports.variants import failed_tree

    config, view, targets = subject.config, subject.view, targets_of(subject.config)
    head = {"migration": config.name, "migrator": version("migrator"), "written": words.moment(time.time())}
    facts = facts_of(config, subject.bucket).tree()
    tree = {**head, **facts, **overview_tree(subject.overview())}
    lists = {
        "failures": map(failed_item, view.failures()),
        "failed_rows": (failed_row(record, targets) for record in view.failed_records()),
        "unmade_variants": map(failed_tree, view.failed_variants()),
        "differences": map(difference_tree, view.differences()),
        "left_alone": map(left_tree, view.left_alone()),
    }
    write_json(tree, lists, file)


def _failed(subject: Subject, file: TextIO) -> None:
    from migrator.reports.failed_csv import write_failed

    write_failed(subject.view.failures(), file)


def _failed_rows(subject: Subject, file: TextIO) -> None:
    from migrator.reports.rows import write_failed_rows
    from migrator.reports.targets import targets_of

    write_failed_rows(subject.view.failed_records(), targets_of(subject.config), file)


def _differences(subject: Subject, file: TextIO) -> None:
    write_differences(subject.view.differences(), file)


def _left_alone(subject: Subject, file: TextIO) -> None:
    write_left_alone(subject.view.left_alone(), file)


_WRITERS: dict[str, Callable[[Subject, TextIO], None]] = {
    "md": _markdown,
    "html": _html,
    "json": _json,
    "csv": _failed,
    "rows": _failed_rows,
    "differences": _differences,
    "left-alone": _left_alone,
}
