"""What is planned again: what failed, or instead what was rolled back, is wrong, or is wanted otherwise since."""

from collections.abc import Sequence

from msgspec import Struct

from migrator.clients import loop
from migrator.core.config import Config
from migrator.core.errors import ConfigError
from migrator.core.verification import Match
from migrator.ledger.queue import Retried
from migrator.wiring.adapters import open_ledger, selected
from migrator.wiring.renewing import refuse_fixed_content


class Again(Struct, frozen=True):
    """What to plan again: failed items (of these `faults`), unless one of the others is given.

    verified  what the last verification said so of
    changed   stored items whose sources have changed since
    variants  names of variants; those that are stored are made anew
    """

    faults: tuple[str, ...] = ()
    rolled_back: bool = False
    verified: tuple[Match, ...] = ()
    changed: bool = False
    variants: tuple[str, ...] = ()


def retry(config: Config, again: Again, names: Sequence[str]) -> Retried:
    """Puts items, records and variants of these sources, or of all, back in their queues: how many.

    Raises ConfigError for what the configuration does not allow, or does not have.
    """
    sources = selected(config, names)
    chosen = [source.name for source in sources] if names else None
    if again.changed:
        refuse_fixed_content(config, sources)
    _refuse_unknown(config, again.variants)

    async def run() -> Retried:
        async with open_ledger(config) as ledger:
            if again.rolled_back:
                return await ledger.plan_again(chosen)
            if again.changed:
                return await ledger.plan_changed(chosen)
            if again.variants:
                return await ledger.plan_variants(
                    {
                        source.name: [one for one in config.wanted_variants(source) if one[0] in again.variants]
                        for source in sources
                    }
                )
            wanted = {source.name: config.wanted_variants(source) for source in config.sources}
            if again.verified:
                return await ledger.plan_verified(again.verified, chosen, wanted)
            return await ledger.retry(list(again.faults) or None, chosen, wanted)

    return loop.run(run())


def _refuse_unknown(config: Config, names: Sequence[str]) -> None:
    known = [variant.name for variant in config.variants]
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no variant called {name!r}", hint=f"the variants are: {', '.join(known)}")
