"""What a plan says, gathered: what there is, and what moving it will take."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from msgspec.structs import asdict

from migrator.reports import disk, overview, rendering, requests
from migrator.reports.disk import Disk
from migrator.reports.overview import Overview
from migrator.reports.rendering import Sampled, VariantPlan
from migrator.reports.requests import Requests
from migrator.reports.targets import targets_of, variants_of
from migrator.reports.tree import overview_tree

if TYPE_CHECKING:
    from migrator.core.config import Config


class View(overview.View, rendering.View, requests.View, disk.View, Protocol):
    """An open ledger, read only."""


class Plan(Struct, frozen=True):
    """A plan, but for the example rows: these are read from the database."""

    seen: Overview
    variants: tuple[VariantPlan, ...]
    requests: Requests
    disk: Disk

    def tree(self) -> dict[str, object]:
        """As plain values."""
        return {
            "estimate": asdict(self.requests),
            "disk": self.disk.tree(),
            "planned_variants": [plan.tree() for plan in self.variants],
            **overview_tree(self.seen),
        }


def plan_of(view: View, config: "Config", samples: Mapping[str, Sampled]) -> Plan:
    """Of what the ledger holds. `samples` tell of each source how many of its objects are images."""
    seen = overview.overview(view, targets_of(config), variants_of(config))
    variants = rendering.plan_variants(seen, view, config, samples)
    to_make = sum(plan.to_make for plan in variants)
    return Plan(
        seen=seen,
        variants=variants,
        requests=requests.estimate(seen, view, config, to_make),
        disk=disk.estimate(seen, view, config, to_make),
    )
