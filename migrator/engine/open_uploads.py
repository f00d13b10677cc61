"""The uploads in parts that are under way: in the ledger before their first part, and closed there when they end."""

from migrator.core.audit import Change
from migrator.core.ledger_ports import Uploads
from migrator.core.model import OpenUpload, Task
from migrator.core.objects import Digest, Upload
from migrator.core.ports import Store


class OpenUploads:
    """Those of one mover. An attempt that fails leaves its upload open, for the next one to go on."""

    def __init__(self, store: Store, uploads: Uploads) -> None:
        self._store = store
        self._uploads = uploads
        self._open: dict[int, OpenUpload] = {}

    def left(self, task: Task) -> OpenUpload | None:
        """What an attempt before, or a run before, left open."""
        return self._open.get(task.id, task.upload)

    def keep(self, task: Task, upload: OpenUpload) -> None:
        """Remembers the upload that is gone on with."""
        self._open[task.id] = upload

    async def begin(self, task: Task, upload: Upload, digest: Digest | None, part_size: int) -> OpenUpload:
        """Opens one; its id is in the ledger when this returns."""
        if task.again:
            # A kill between the server's answer and the ledger leaves an upload that no ledger row names.
            for upload_id, _ in await self._store.open_uploads(task.key):
                await self._abort(task, upload_id)
        opened = OpenUpload(await self._store.begin(upload, digest), part_size)
        await self._uploads.opened(task, opened)
        self._open[task.id] = opened
        return opened

    async def abandon(self, task: Task, left: OpenUpload | None = None) -> None:
        """Aborts what was begun or kept here, else `left`: nobody will continue it."""
        upload = self._open.pop(task.id, left)
        if upload:
            await self._abort(task, upload.upload_id)
            await self._uploads.closed(task)

    async def close(self, task: Task) -> None:
        """Forgets an upload that has ended."""
        self._open.pop(task.id, None)
        await self._uploads.closed(task)

    async def _abort(self, task: Task, upload_id: str) -> None:
        await self._store.abort(task.key, upload_id)
        await self._uploads.note([Change.aborted(task.key, upload_id, task.source)])
