"""How many variants a plan will make, and what that takes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from migrator.reports import words
from migrator.reports.overview import Overview
from migrator.reports.variants import Named

if TYPE_CHECKING:
    from migrator.core.config import Config


class View(Protocol):
    """An open ledger, read only."""

    def lacking_variants(self, source: str, wanted: Sequence[Named], *, in_place: bool) -> tuple[int, int]:
        """(images, variants) that stand without: found in place, or arrived."""
        ...


class Sampled(Protocol):
    """What was seen of some objects of a source."""

    @property
    def looked(self) -> int: ...
    @property
    def images(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def bytes(self) -> float: ...
    @property
    def failed(self) -> int: ...


class VariantPlan(Struct, frozen=True):
    """What a run makes of the images of one source.

    each           variants of an image
    objects        that are still to be moved, or were found in place: as many images at most
    again          variants that were asked for again by `retry`
    looked_at      objects of the sample; `sample_images` of them are images
    cpu_seconds    of all variants of an image, None where no sample tells
    bytes          of all variants of an image, likewise
    later          variants that only `migrate --only-variants` makes, of `later_images` that arrived without
    sample_failed  variants of the sample that could not be made
    """

    source: str
    each: int
    objects: int
    again: int
    looked_at: int
    sample_images: int
    sample_failed: int
    cpu_seconds: float | None
    bytes: float | None
    later_images: int
    later: int

    @property
    def images(self) -> int:
        """Objects that are images, as far as the sample tells."""
        return round(self.objects * self.sample_images / self.looked_at) if self.looked_at else self.objects

    @property
    def to_make(self) -> int:
        """Variants that a run makes."""
        return self.each * self.images + self.again

    @property
    def cpu_hours(self) -> float | None:
        """Of all of them."""
        return None if self.cpu_seconds is None else self.cpu_seconds * self.to_make / self.each / 3600

    def tree(self) -> dict[str, object]:
        """As plain values."""
        return {
            "source": self.source,
            "variants_each": self.each,
            "objects": self.objects,
            "images": self.images,
            "to_make": self.to_make,
            "asked_again": self.again,
            "sample": {"objects": self.looked_at, "images": self.sample_images, "failed_variants": self.sample_failed},
            "cpu_seconds_an_image": _rounded(self.cpu_seconds, 4),
            "cpu_hours": _rounded(self.cpu_hours, 4),
            "bytes_an_image": _rounded(self.bytes, 0),
            "only_variants": {"images": self.later_images, "variants": self.later},
        }


def plan_variants(
    seen: Overview, view: View, config: "Config", samples: Mapping[str, Sampled]
) -> tuple[VariantPlan, ...]:
    """One of each source that has variants."""
    known = {state.name: state for state in seen.sources}
    plans = []
    for source in config.sources:
        wanted = [(variant.name, form) for variant in config.variants_of(source) for form in variant.formats]
        state, sampled = known.get(source.name), samples.get(source.name)
        if not wanted or state is None:
            continue
        stands = bool(sum(state.items.values()) - state.to_move)
        in_place, _ = view.lacking_variants(source.name, wanted, in_place=True) if stands else (0, 0)
        later_images, later = view.lacking_variants(source.name, wanted, in_place=False) if stands else (0, 0)
        images = sampled.images if sampled else 0
        plans.append(
            VariantPlan(
                source=source.name,
                each=len(wanted),
                objects=state.to_move + in_place,
                again=state.planned_variants,
                looked_at=sampled.looked if sampled else 0,
                sample_images=images,
                sample_failed=sampled.failed if sampled else 0,
                cpu_seconds=sampled.seconds / images if sampled and images else None,
                bytes=sampled.bytes / images if sampled and images else None,
                later_images=later_images,
                later=later,
            )
        )
    return tuple(plans)


def lines(plans: Sequence[VariantPlan], only_variants: str) -> Iterator[str]:
    """For people; `only_variants` is the command that makes variants of what stands."""
    for plan in plans:
        name = f"{plan.source}: " if len(plans) > 1 else ""
        if plan.objects:
            yield name + _to_make(plan)
        elif plan.again:
            yield f"{name}{words.count(plan.again)} to make again"
        if plan.sample_failed:
            looked = words.count(plan.looked_at, "object")
            yield f"{name}{words.count(plan.sample_failed, 'variant')} of the {looked} looked at could not be made"
        if plan.later:
            images = words.count(plan.later_images, "image")
            yield f"{name}{words.count(plan.later)} more for {images} that arrived without: `{only_variants}`"


def _to_make(plan: VariantPlan) -> str:
    many = words.count(plan.objects, "object")
    if not plan.looked_at:
        text = f"{plan.each} for each image among {many}: up to {words.count(plan.to_make)} to make"
    elif plan.sample_images == plan.looked_at:
        text = f"{plan.each} for each of {words.count(plan.objects, 'image')}: {words.count(plan.to_make)} to make"
    else:
        share = f"{plan.sample_images} of {plan.looked_at} looked at are images"
        text = f"{plan.each} for each image among {many} ({share}): about {words.count(plan.to_make)} to make"
    if plan.again:
        text += f", {words.count(plan.again)} of them again"
    if plan.cpu_seconds is None or plan.cpu_hours is None:
        return text
    hours = "less than 0.01" if plan.cpu_hours < 0.01 else f"{plan.cpu_hours:,.2f}"
    size = words.size((plan.bytes or 0) * plan.to_make / plan.each)
    looked = f"({words.count(plan.looked_at)} looked at)"
    return f"{text}, {size}; about {plan.cpu_seconds:.2f} s of CPU an image {looked}: {hours} CPU hours"


def _rounded(number: float | None, digits: int) -> float | None:
    return None if number is None else round(number, digits)
