"""What every attempt is given: the two ends of a transfer, what is wanted of it, and the bounds around it."""

from msgspec import Struct

from migrator.core.objects import Capabilities
from migrator.core.ports import Reader, Store
from migrator.engine.conflict import Verdicts
from migrator.engine.guard import Memory, Pace
from migrator.engine.rules import Rules


class Means(Struct, frozen=True):
    """Shared by all attempts of one worker. `requests` and `bandwidth` pace what goes to the destination."""

    reader: Reader
    store: Store
    rules: Rules
    capabilities: Capabilities
    verdicts: Verdicts
    memory: Memory
    requests: Pace
    bandwidth: Pace

    def refuses(self, key: str) -> str | None:
        """Why the destination cannot hold `key`; None when it can."""
        return self.store.refuses(key) or self.capabilities.refuses(key)
