"""A small world around the engine: bytes to read, a clock that does not wait, an observer that remembers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from migrator.core.audit import Change
from migrator.core.config import Config
from migrator.core.errors import Gone, ObjectError
from migrator.core.model import Lacking, OpenUpload, Page, Settlement, Task, VariantOutcome
from migrator.core.objects import Capabilities, Description, Digest
from migrator.core.ports import Body, EventKind
from migrator.core.records import RecordOutcome, RecordTask

HONOURS_ALL = Capabilities(
    conditional_put=True,
    conditional_complete=True,
    digest=Digest.SHA256,
    part_digest=Digest.SHA256,
    keeps_checksum=True,
    versioned=False,
    can_list=True,
)


def a_config(**destination: Any) -> Config:
    """One directory source called `files` into one bucket."""
    return Config.model_validate(
        {
            "name": "world",
            "destination": {"bucket": "bucket"} | destination,
            "sources": ({"type": "directory", "name": "files", "root": ".", "key": "{path}"},),
        },
        strict=False,
    )


def a_task(key: str = "a.jpg", number: int = 1, **changes: Any) -> Task:
    """A claimed item."""
    values: dict[str, Any] = {
        "id": number,
        "put_id": f"ledger/{number}",
        "source": "files",
        "location": f"memory://{key}",
        "key": key,
        "size": None,
        "fingerprint": None,
    }
    return Task(**(values | changes))


class MemoryBody:
    """Bytes with an announced size, a claimed type and whatever is to go wrong."""

    def __init__(
        self, data: bytes, size: int | None, check: Callable[[], None], fingerprint: str | None = None
    ) -> None:
        self.size = size
        self.content_type: str | None = "image/jpeg"
        self.modified: float | None = None
        self.fingerprint = fingerprint
        self.description: Description | None = None
        self._data = data
        self._offset = 0
        self._check = check

    async def read(self, limit: int) -> bytes:
        piece = self._data[self._offset : self._offset + limit]
        self._offset += len(piece)
        return piece

    async def go_on(self) -> bool:
        return False

    async def check(self) -> None:
        self._check()


class MemoryReader:
    """Sources by location; `errors` are raised, one each time a location is opened, before its bytes come."""

    def __init__(self, **bodies: bytes) -> None:
        self.bodies = bodies
        self.errors: dict[str, list[ObjectError]] = {}
        self.changes: dict[str, list[ObjectError]] = {}
        self.opened: list[str] = []
        self.sized = True
        self.fingerprint: str | None = None
        """What every source says of its version now."""

    async def reach(self, task: Task) -> None:
        return None

    def open(self, task: Task) -> AbstractAsyncContextManager[Body]:
        return self._open(task)

    @asynccontextmanager
    async def _open(self, task: Task) -> AsyncIterator[Body]:
        self.opened.append(task.key)
        if self.errors.get(task.key):
            raise self.errors[task.key].pop(0)
        if task.key not in self.bodies:
            raise Gone(f"{task.location} is not there")
        data = self.bodies[task.key]

        def check() -> None:
            if self.changes.get(task.key):
                raise self.changes[task.key].pop(0)

        yield MemoryBody(data, len(data) if self.sized else None, check, self.fingerprint)

    async def close(self) -> None:
        pass


@dataclass(slots=True)
class Notes:
    """Where multipart uploads are noted."""

    open: dict[int, OpenUpload] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    async def note(self, changes: Sequence[Change]) -> None:
        self.changes += changes

    async def opened(self, task: Task, upload: OpenUpload) -> None:
        self.open[task.id] = upload

    async def closed(self, task: Task) -> None:
        self.open.pop(task.id, None)


@dataclass(slots=True)
class FakeClock:
    """Time passes only when somebody sleeps; `slept` tells how long."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@dataclass(slots=True)
class Recorder:
    """An observer that remembers."""

    events: list[tuple[EventKind, str]] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    settlements: list[Settlement] = field(default_factory=list)
    records: list[tuple[RecordTask, RecordOutcome]] = field(default_factory=list)

    def page(self, source: str, page: Page, new: int) -> None: ...

    def scan_complete(self, source: str) -> None: ...

    def started(self, concurrency: int) -> None: ...

    def sent(self, task: Task, size: int) -> None: ...

    def settled(self, settlements: Sequence[Settlement]) -> None:
        self.settlements.extend(settlements)

    def recorded(self, outcomes: Sequence[tuple[RecordTask, RecordOutcome]]) -> None:
        self.records.extend(outcomes)

    def rendered(self, done: Sequence[tuple[Lacking, Sequence[VariantOutcome]]]) -> None: ...

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        self.events.append((kind, message))

    def concurrency(self, limit: int) -> None:
        self.limits.append(limit)
