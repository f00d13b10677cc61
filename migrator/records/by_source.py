"""The `Records` port over all sources that update rows: each call goes to its source, in a thread of its own."""

from collections.abc import Mapping, Sequence

from migrator.core.records import RecordOutcome, RecordTask, RowChange
from migrator.core.threads import in_thread
from migrator.records.rows import SourceRows

_THREAD = "migrator-rows"


class RecordsBySource:
    """Fills the `Records` port. Blocking work is done in daemon threads: a database that hangs stops nothing else."""

    def __init__(self, sources: Mapping[str, SourceRows]) -> None:
        self._sources = dict(sources)

    @property
    def names(self) -> tuple[str, ...]:
        """The sources that update rows."""
        return tuple(self._sources)

    async def prepare(self) -> None:
        """Looks at every table. Raises PreflightError when one is not as the configuration says."""
        for rows in self._sources.values():
            await in_thread(rows.prepare, _THREAD)

    async def inspect(self, tasks: Sequence[RecordTask]) -> list[RowChange | RecordOutcome]:
        """See the port."""
        if not tasks:
            return []
        rows = self._sources[tasks[0].source]
        return await in_thread(lambda: rows.inspect(tasks), _THREAD)

    async def apply(self, changes: Sequence[RowChange]) -> list[RecordOutcome]:
        """See the port."""
        if not changes:
            return []
        rows = self._sources[changes[0].task.source]
        return await in_thread(lambda: rows.apply(changes), _THREAD)

    async def check(self, changes: Sequence[RowChange]) -> list[RecordOutcome | None]:
        """See `RowsBack`."""
        if not changes:
            return []
        rows = self._sources[changes[0].task.source]
        return await in_thread(lambda: rows.check(changes), _THREAD)

    async def close(self) -> None:
        """See the port."""
        for rows in self._sources.values():
            rows.close()
