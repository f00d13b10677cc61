"""One Reader for locations of every scheme: the scheme picks the one that opens them."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from migrator.core.errors import Forbidden
from migrator.core.model import Task
from migrator.core.ports import Body, Reader


class SchemeReader:
    """Hands each task to the reader of its location's scheme, such as `{"file": ..., "http": ..., "https": ...}`."""

    def __init__(self, readers: Mapping[str, Reader]) -> None:
        self._readers = dict(readers)

    async def reach(self, task: Task) -> None:
        """Leaves it to `open` to refuse a scheme."""
        reader = self._readers.get(task.location.partition(":")[0].lower())
        if reader is not None:
            await reader.reach(task)

    def open(self, task: Task) -> AbstractAsyncContextManager[Body]:
        """Raises Forbidden for a scheme that no reader takes."""
        scheme = task.location.partition(":")[0].lower()
        reader = self._readers.get(scheme)
        if reader is None:
            allowed = ", ".join(self._readers)
            raise Forbidden(f"{task.location}: {scheme!r} locations are not read; only {allowed} are")
        return reader.open(task)

    async def close(self) -> None:
        """Closes every reader. Idempotent."""
        for reader in dict.fromkeys(self._readers.values()):
            await reader.close()
