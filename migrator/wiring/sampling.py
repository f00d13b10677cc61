"""What variants will cost, for `plan`: some images of each source are read and rendered."""

import contextlib
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest

from migrator.clients import loop
from migrator.core.config import Config
from migrator.core.errors import MigratorError
from migrator.core.model import Task
from migrator.core.ports import EventKind, Observer
from migrator.core.variants import Wanted
from migrator.engine.rendering_cost import SAMPLE
from migrator.engine.sampling import Sampled, sample
from migrator.ledger.view import LedgerView
from migrator.wiring.adapters import make_reader, make_renderer, selected


def sample_variants(config: Config, names: Sequence[str], view: LedgerView, observer: Observer) -> dict[str, Sampled]:
    """By source, of the sources called `names` (or all). Never fails: what cannot be known is left out."""
    wanted = {
        source.name: [each for variant in config.variants_of(source) for each in variant.wanted]
        for source in selected(config, names)
    }
    with contextlib.suppress(MigratorError, OSError):
        of_sources = [view.sample(name, SAMPLE) for name, each in wanted.items() if each]
        tasks = [task for task in chain.from_iterable(zip_longest(*of_sources)) if task]
        if tasks:
            observer.event(EventKind.NOTE, f"trying the variants on {len(tasks)} objects")
            return loop.run(_sample(config, tasks, wanted))
    return {}


async def _sample(config: Config, tasks: Sequence[Task], wanted: Mapping[str, Sequence[Wanted]]) -> dict[str, Sampled]:
    renderer = make_renderer(config)
    assert renderer is not None
    reader = make_reader(config)
    try:
        return await sample(reader, renderer, tasks, wanted)
    finally:
        await renderer.close()
        await reader.close()
