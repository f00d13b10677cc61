"""Config -> adapters -> engine. `adapters` alone names concrete classes; the rest is what the commands call."""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrator.core.config import Config
from migrator.core.loading import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from migrator.core.ports import Observer
    from migrator.engine.run import Result, RunOptions
    from migrator.engine.sampling import Sampled
    from migrator.ledger.view import LedgerView
    from migrator.records.preview import RowPreview
    from migrator.reports.sheet import Sheet
    from migrator.wiring.adapters import view
    from migrator.wiring.auditing import check_audit, events
    from migrator.wiring.checking import Check, lifecycle_rules, setup, smoke, test_connection
    from migrator.wiring.cleaning import CleanupResult, cleanup
    from migrator.wiring.leftovers import Found, OrphansResult, orphans
    from migrator.wiring.moving import PlanResult, migrate, plan
    from migrator.wiring.proving import VerifyResult, verify
    from migrator.wiring.rendering import Previewed
    from migrator.wiring.retrying import Again, retry
    from migrator.wiring.undoing import RollbackResult, rollback

__all__ = [
    "Again",
    "Check",
    "CleanupResult",
    "Found",
    "OrphansResult",
    "PlanResult",
    "Result",
    "RollbackResult",
    "RunOptions",
    "VerifyResult",
    "check_audit",
    "cleanup",
    "contact_sheet",
    "events",
    "lifecycle_rules",
    "load_config",
    "migrate",
    "orphans",
    "plan",
    "preview",
    "preview_rows",
    "retry",
    "rollback",
    "sample_variants",
    "setup",
    "smoke",
    "test_connection",
    "verify",
    "view",
]

_HOMES = {
    "adapters": ("view",),
    "auditing": ("check_audit", "events"),
    "checking": ("Check", "lifecycle_rules", "setup", "smoke", "test_connection"),
    "cleaning": ("CleanupResult", "cleanup"),
    "leftovers": ("Found", "OrphansResult", "orphans"),
    "moving": ("PlanResult", "Result", "RunOptions", "migrate", "plan"),
    "proving": ("VerifyResult", "verify"),
    "retrying": ("Again", "retry"),
    "undoing": ("RollbackResult", "rollback"),
}
"""Where each name lives: a command loads what it needs, and not what the others need."""


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"migrator.wiring.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_config(path: Path, flags: Mapping[str, Any]) -> Config:
    """File, environment and flags as one Config. Raises ConfigError with every problem at once."""
    return load(path, os.environ, flags)


def preview(config: Config, files: "Sequence[Path]", folder: Path) -> "Iterator[Previewed]":
    """Every variant of `files`, written to `folder` with a contact sheet. See `rendering`."""
    from migrator.wiring.rendering import preview as previews  # only variants wait for asyncio and the pool

    return previews(config, files, folder)


def contact_sheet(config: Config, view: "LedgerView", bucket: str) -> "Sheet":
    """A few stored variants for a report, read from `bucket`. See `showing`."""
    from migrator.wiring.showing import contact_sheet as sheet  # only reports with images wait for asyncio

    return sheet(config, view, bucket)


def preview_rows(config: Config, names: "Sequence[str]", view: "LedgerView") -> "list[RowPreview]":
    """Five rows of each table source that are still to be updated, before and after. See `previewing`."""
    if not view.record_tallies():
        return []
    from migrator.wiring.previewing import (
        preview_rows as previews,
    )  # SQLAlchemy takes its time: only tables wait for it

    return previews(config, names, view)


def sample_variants(
    config: Config, names: "Sequence[str]", view: "LedgerView", observer: "Observer"
) -> "dict[str, Sampled]":
    """What the variants of some images cost, by source. See `sampling`."""
    if not any(config.variants_of(source) for source in config.sources):
        return {}
    from migrator.wiring.sampling import sample_variants as sample  # the renderer is loaded where there are variants

    return sample(config, names, view, observer)
