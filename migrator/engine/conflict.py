"""Something already stands under a key: is it ours, is it the same, and what does the conflict policy say?"""

import hashlib

from msgspec import Struct
from msgspec.structs import replace

from migrator.core.model import Failed, Fault, Outcome, Side, Skip, Skipped, Stored, Task
from migrator.core.objects import NULL_VERSION, Placed, Standing, Upload
from migrator.core.ports import Store
from migrator.engine.dressed import wrongly_dressed
from migrator.engine.rules import Rules

UNVERSIONED = (None, NULL_VERSION)
"""What is no version of its own: the next put replaces `null` for good where versioning is off or suspended."""


ROUNDED = 1
"""Seconds by which an object may seem younger than it is: Swift rounds up."""


class Replace(Struct, frozen=True):
    """The upload may take the place of the object with this ETag; `replaced` says how to have that one back."""

    etag: str
    replaced: str | None


class Verdicts(Struct, frozen=True):
    """Decides about keys that are taken."""

    store: Store
    rules: Rules
    run: int
    versioned: bool

    async def decide(self, task: Task, upload: Upload, standing: Standing) -> Outcome | Replace:
        """What to do about `standing`. `upload.size` and `upload.sha256` are known."""
        ours = standing.put_id == task.put_id
        same = await self._same_bytes(task, upload, standing)
        wrong = self._wrong(task, upload, standing) if ours and same else ""
        if ours and same and not wrong:
            placed = Placed(standing.etag, standing.version_id)
            return replace(Stored.of(upload, placed, await self.covered(task, standing.version_id)), adopted=True)
        if _superseded(task, standing) or (ours and self._nobody_loses(task, standing, same)):
            return Replace(standing.etag, None)
        if same and not ours:
            return Skipped(Skip.IDENTICAL, "the same bytes stood there", upload.size, upload.sha256, standing.etag)
        if self.rules.on_conflict == "skip":
            return Skipped(
                Skip.EXISTS, f"other bytes ({standing.size}) stand there", standing.size, None, standing.etag
            )
        if self.rules.on_conflict == "overwrite":
            return await self._way_back(task, standing)
        found = f"other bytes already stand under {task.key} ({standing.size} bytes; the source has {upload.size})"
        if ours:
            again = "may have been" if wrong and task.stood and standing.etag == task.stood.etag else "was"
            what = wrong or f"{standing.size} bytes stand there"
            found = f"{task.key} {again} written again since it was stored ({what})"
        return Failed(
            Fault.CONFLICT,
            f'{found}; set destination.on_conflict to "skip" or "overwrite", or move that object away',
            Side.DESTINATION,
        )

    async def covered(self, task: Task, version_id: str | None) -> str | None:
        """What an adopted put of ours covered: nobody lived to tell the ledger. A backup tells it by itself."""
        if self.rules.on_conflict != "overwrite" or not self.versioned:
            return None
        while version_id not in UNVERSIONED and (lower := await self.store.beneath(task.key, version_id)):
            version_id = lower.version_id
            if lower.put_id != task.put_id:
                return None if version_id in UNVERSIONED else f"version:{version_id}"
        return None

    def _wrong(self, task: Task, upload: Upload, standing: Standing) -> str:
        """What an object of the right bytes carries wrongly; asked only where `verify` found it so."""
        if task.stood is None:
            return ""
        metadata = {
            name: upload.metadata[name] for name in map(str.lower, self.rules.metadata) if name in upload.metadata
        }
        return ", ".join(wrongly_dressed(standing, upload.content_type, metadata, self.rules.headers))

    def _nobody_loses(self, task: Task, standing: Standing, same: bool) -> bool:
        """Whether an object with our mark may go. A mark is carried along by whoever copies or edits the object."""
        stood = task.stood
        if stood is None:
            return True  # our own earlier put of a source that has changed since
        if self.versioned and standing.version_id not in UNVERSIONED:
            return True  # it stays beneath, as a version
        if standing.etag != stood.etag:
            return False
        if same:  # what it carries is wrong: as it was put, before the configuration asked for something else?
            return stood.at is not None and standing.modified is not None and standing.modified <= stood.at + ROUNDED
        # Another write of other bytes would have another ETag: what has the old one was damaged where it stands.
        return stood.sha256 is not None

    async def _same_bytes(self, task: Task, upload: Upload, standing: Standing) -> bool:
        if standing.size != upload.size:
            return False
        if standing.sha256 is not None:
            return standing.sha256 == upload.sha256
        # The server keeps no SHA-256 (and an ETag is no hash): only the bytes can tell.
        return await standing_digest(self.store, task.key) == upload.sha256

    async def _way_back(self, task: Task, standing: Standing) -> Failed | Replace:
        if self.versioned and standing.version_id not in UNVERSIONED:
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


def _superseded(task: Task, standing: Standing) -> bool:
    """Whether this is what was stored of a source that has changed since. What the server copied carries no mark."""
    return task.stood is not None and task.stood.renewed and standing.etag == task.stood.etag


async def standing_digest(store: Store, key: str) -> bytes:
    """The SHA-256 of what stands under `key`, by reading all of it."""
    digest = hashlib.sha256()
    async for piece in store.read(key):
        digest.update(piece)
    return digest.digest()
