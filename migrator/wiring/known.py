"""What earlier commands found out about the destination; it holds for the endpoint that they asked."""

from migrator.core.config import Config
from migrator.core.objects import Capabilities
from migrator.ledger.sqlite import SqliteLedger

_ENDPOINT = "endpoint"
"""Where the ledger keeps which endpoint was asked."""


async def known_capabilities(config: Config, ledger: SqliteLedger) -> Capabilities | None:
    """What the destination honours; None where this endpoint was not asked yet, or was set up anew since."""
    if await ledger.get_meta(_ENDPOINT) != _endpoint(config):
        return None
    return await ledger.capabilities()


async def keep_capabilities(config: Config, ledger: SqliteLedger, found: Capabilities) -> None:
    """Replaces what was known."""
    await ledger.keep_capabilities(found)
    await ledger.set_meta(_ENDPOINT, _endpoint(config))


async def doubt_capabilities(ledger: SqliteLedger) -> None:
    """What the destination honours may have changed: the next run asks again."""
    await ledger.set_meta(_ENDPOINT, "set up anew")


def _endpoint(config: Config) -> str:
    return config.destination.endpoint_url or config.destination.url
