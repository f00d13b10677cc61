"""Something already stands under a key: is it ours, is it the same, and what does the conflict policy say?"""

import hashlib
from dataclasses import dataclass, replace

from migrator.core.model import Failed, Fault, Outcome, Side, Skip, Skipped, Stored, Task
from migrator.core.objects import Placed, Standing, Upload
from migrator.core.ports import Store
from migrator.engine.rules import Rules


@dataclass(frozen=True, slots=True)
class Replace:
    """The upload may take the place of the object with this ETag; `replaced` says how to have that one back."""

    etag: str
    replaced: str | None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Decides about keys that are taken."""

    store: Store
    rules: Rules
    run: int
    versioned: bool

    async def decide(self, task: Task, upload: Upload, standing: Standing) -> Outcome | Replace:
        """What to do about `standing`. `upload.size` and `upload.sha256` are known."""
        ours = standing.put_id == task.put_id
        same = await self._same_bytes(task, upload, standing)
        if ours and same:
            placed = Placed(standing.etag, standing.version_id)
            return replace(Stored.of(upload, placed), adopted=True)
        if ours:
            # Our own earlier put of a source that has changed since: nobody else's bytes are lost.
            return Replace(standing.etag, None)
        if same:
            return Skipped(Skip.IDENTICAL, "the same bytes stood there", upload.size, upload.sha256, standing.etag)
        if self.rules.on_conflict == "skip":
            return Skipped(
                Skip.EXISTS, f"other bytes ({standing.size}) stand there", standing.size, None, standing.etag
            )
        if self.rules.on_conflict == "overwrite":
            return await self._way_back(task, standing)
        return Failed(
            Fault.CONFLICT,
            f"other bytes already stand under {task.key} ({standing.size} bytes; the source has {upload.size}); "
            'set destination.on_conflict to "skip" or "overwrite", or move that object away',
            Side.DESTINATION,
        )

    async def _same_bytes(self, task: Task, upload: Upload, standing: Standing) -> bool:
        if standing.size != upload.size:
            return False
        if standing.sha256 is not None:
            return standing.sha256 == upload.sha256
        # The server keeps no SHA-256 (and an ETag is no hash): only the bytes can tell.
        return await standing_digest(self.store, task.key) == upload.sha256

    async def _way_back(self, task: Task, standing: Standing) -> Failed | Replace:
        # "null" is the one version that the next put replaces for good where versioning is off or suspended.
        if self.versioned and standing.version_id not in (None, "null"):
            return Replace(standing.etag, f"version:{standing.version_id}")
        name = hashlib.sha256(task.key.encode()).hexdigest()
        backup = self.rules.backup_key(task.put_id.partition("/")[0], self.run, task.key, name)
        await self.store.copy(task.key, backup, standing.etag)
        kept = await self.store.head(backup)
        if kept is None or kept.size != standing.size or (standing.sha256 and kept.sha256 != standing.sha256):
            return Failed(
                Fault.CONFLICT,
                f"the object under {task.key} could not be backed up, so it is not overwritten; turn on versioning",
                Side.DESTINATION,
            )
        return Replace(standing.etag, f"backup:{backup}")


async def standing_digest(store: Store, key: str) -> bytes:
    """The SHA-256 of what stands under `key`, by reading all of it."""
    digest = hashlib.sha256()
    async for piece in store.read(key):
        digest.update(piece)
    return digest.digest()
