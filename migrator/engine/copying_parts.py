"""One large object copied by the server in parts: at most 4 on the way, continued after a kill."""

import asyncio
from dataclasses import dataclass, field
from functools import partial

from migrator.core.errors import Changed, Gone, Transient
from migrator.core.ledger_ports import Uploads
from migrator.core.model import MIB, OpenUpload, Side, Task
from migrator.core.objects import Copied, Described, Guards, Part, Taken, Upload
from migrator.core.ports import Copier, Observer
from migrator.engine.gate import Gate
from migrator.engine.guard import RetryPolicy
from migrator.engine.means import Means
from migrator.engine.multipart import MAX_PARTS, PARTS_IN_FLIGHT
from migrator.engine.open_uploads import OpenUploads

LARGEST_PART = 256 * MIB
"""Bytes of a part, unless 10,000 of them are too few: a server copies it well within its time."""


@dataclass(slots=True)
class PartCopies:
    """Copies objects part by part. An attempt that fails leaves its upload open."""

    means: Means
    copier: Copier | None
    uploads: Uploads
    retry: RetryPolicy
    gate: Gate
    threshold: int
    observer: Observer
    _open: OpenUploads = field(init=False)

    def __post_init__(self) -> None:
        self._open = OpenUploads(self.means.store, self.uploads)

    async def abandon(self, task: Task) -> None:
        """Aborts what was begun here: nobody will continue it."""
        await self._open.abandon(task)

    async def copy(self, task: Task, original: Described, upload: Upload) -> Copied | Taken:
        """One attempt. Taken: something stands under the key, and the upload is aborted."""
        assert self.copier
        part_size = self._choose_part_size(original.size)
        opened, known = await self._open_upload(task, original, upload, part_size)
        spans = [
            (number, (start, min(start + part_size, original.size) - 1))
            for number, start in enumerate(range(0, original.size, part_size), 1)
        ]
        missing = [(number, span) for number, span in spans if known.get(number) != span[1] - span[0] + 1]
        await self._copy_parts(self.copier, task, original, opened.upload_id, missing)
        parts = await self._check(self.copier, task, original, opened.upload_id, spans)
        if not self.means.capabilities.conditional_complete and await self.copier.standing(task.key):
            await self.abandon(task)
            return Taken()
        guards = Guards(self.means.capabilities.conditional_complete, self.means.capabilities.part_digest)
        await self.means.requests.spend(1)
        answer = await self.means.store.complete(upload, opened.upload_id, parts, guards)
        if isinstance(answer, Taken):
            await self.abandon(task)
            return answer
        await self._open.close(task)
        return Copied(answer.etag, answer.version_id)

    def _choose_part_size(self, size: int) -> int:
        least = -(-size // MAX_PARTS)
        return max(min(self.threshold, LARGEST_PART), -(-least // MIB) * MIB)

    async def _open_upload(
        self, task: Task, original: Described, upload: Upload, part_size: int
    ) -> tuple[OpenUpload, dict[int, int]]:
        """(the upload, size of each part that it already has). The id is in the ledger before the first part."""
        left = self._open.left(task)
        if left:
            self._open.keep(task, left)
            if left.part_size == part_size and await self._is_younger(task, left, original):
                known = await self.means.store.parts(task.key, left.upload_id)
                return left, {part.number: part.size for part in known}
            await self.abandon(task)
        return await self._open.begin(task, upload, None, part_size), {}

    async def _is_younger(self, task: Task, left: OpenUpload, original: Described) -> bool:
        """Whether the upload was begun after the object took its present form: all its parts are of that one."""
        begun = dict(await self.means.store.open_uploads(task.key)).get(left.upload_id)
        # Last-Modified counts whole seconds.
        return begun is not None and original.modified is not None and begun >= original.modified + 1

    async def _copy_parts(
        self,
        copier: Copier,
        task: Task,
        original: Described,
        upload_id: str,
        missing: list[tuple[int, tuple[int, int]]],
    ) -> None:
        waiting = iter(missing)

        async def lane() -> None:
            for number, span in waiting:
                part = await self.retry.call(
                    partial(self._part, copier, task, original, upload_id, number, span),
                    lambda error: self.gate.slow_down(error.retry_after, str(error)),
                )
                self.observer.sent(task, part.size)

        lanes = [asyncio.create_task(lane()) for _ in range(min(PARTS_IN_FLIGHT, len(missing)))]
        try:
            await asyncio.gather(*lanes)
        except BaseException:
            for one in lanes:
                one.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)
            raise

    async def _part(
        self, copier: Copier, task: Task, original: Described, upload_id: str, number: int, span: tuple[int, int]
    ) -> Part:
        await self.means.requests.spend(1)
        try:
            return await copier.copy_part(task.source, task.location, original.etag, task.key, upload_id, number, span)
        except Gone as error:
            # 404 for either: the upload that somebody aborted, or the object.
            await copier.describe(task.source, task.location)
            await self._open.close(task)
            raise Transient(f"the upload of {task.key} is gone", side=Side.DESTINATION) from error

    async def _check(
        self, copier: Copier, task: Task, original: Described, upload_id: str, spans: list[tuple[int, tuple[int, int]]]
    ) -> list[Part]:
        """The parts as the server has them, each of its right size, all of the version that was meant."""
        parts = await self.means.store.parts(task.key, upload_id)
        if [(part.number, part.size) for part in parts] != [(n, last - first + 1) for n, (first, last) in spans]:
            await self.abandon(task)
            raise Transient(f"the parts copied to {task.key} are not those that were asked for", side=Side.DESTINATION)
        await self.means.requests.spend(1)
        if (await copier.describe(task.source, task.location)).etag != original.etag:
            await self.abandon(task)
            raise Changed(f"{task.location} changed while it was copied")
        return parts
