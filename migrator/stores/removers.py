"""One Remover for sources of every scheme that may be taken away: files, and objects of buckets."""

from collections.abc import Mapping

from migrator.core.cleaning import Candidate, Found, Removal, SourceSeen, Way
from migrator.core.cleaning_ports import Remover
from migrator.core.errors import Forbidden


class SchemeRemover:
    """Hands each source to the remover of its scheme, such as `{"file": ..., "s3": ...}`."""

    def __init__(self, removers: Mapping[str, Remover]) -> None:
        self._removers = dict(removers)

    async def look(self, candidate: Candidate) -> SourceSeen | None:
        """See the port."""
        return await self._of(candidate.location).look(candidate)

    async def way(self, source: str, location: str, seen: SourceSeen) -> tuple[Way, str | None]:
        """See the port."""
        return await self._of(location).way(source, location, seen)

    async def remove(self, removal: Removal) -> Removal:
        """See the port."""
        return await self._of(removal.location).remove(removal)

    async def find(self, removal: Removal) -> Found:
        """See the port."""
        return await self._of(removal.location).find(removal)

    async def restore(self, removal: Removal) -> None:
        """See the port."""
        await self._of(removal.location).restore(removal)

    async def purge(self, removal: Removal) -> None:
        """See the port."""
        await self._of(removal.location).purge(removal)

    async def close(self) -> None:
        """Closes every one. Idempotent."""
        for remover in self._removers.values():
            await remover.close()

    def _of(self, location: str) -> Remover:
        remover = self._removers.get(location.partition(":")[0])
        if remover is None:
            raise Forbidden(f"{location} is not taken away by this tool")
        return remover
