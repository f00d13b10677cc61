"""Fills the port of `rollback`: what an open ledger is to it."""

from collections.abc import Sequence

from migrator.core.undoing import LeftAlone, Remains, RowBack, Scope, UndoneItem
from migrator.ledger import rollback
from migrator.ledger.audit import AuditLog
from migrator.ledger.noting import Noting
from migrator.ledger.seal import Seal
from migrator.ledger.writer import Writer


class UndoingLedger(Noting):
    """See `RollbackLedger`."""

    def __init__(self, ledger_id: str, writer: Writer, audit: AuditLog, seal: Seal) -> None:
        super().__init__(ledger_id, writer, audit)
        self._seal = seal

    async def begin_rollback(self) -> None:
        """See the port."""
        await self._writer.run(rollback.begin)

    async def keep_backups(self, backups: Sequence[tuple[str, int, str]]) -> None:
        """See the port."""
        await self._writer.run(lambda c: rollback.keep_backups(c, backups))

    async def spare_backups(self, after: str, limit: int) -> list[tuple[str, str]]:
        """See the port."""
        return await self._writer.run(lambda c: rollback.spare_backups(c, after, limit))

    async def rows_to_undo(self, source: str, after: int, limit: int, scope: Scope) -> list[RowBack]:
        """See the port."""
        return await self._writer.run(lambda c: rollback.rows_to_undo(c, source, after, limit, scope))

    async def settle_rows_back(self, back: Sequence[RowBack], left: Sequence[LeftAlone]) -> None:
        """See the port."""
        await self._writer.run(lambda c: rollback.settle_rows(c, back, left, self._audit))

    async def uploads_to_undo(self, scope: Scope) -> list[tuple[str, str, str]]:
        """See the port."""
        return await self._writer.run(lambda c: rollback.uploads(c, scope))

    async def remains(self, after: int, limit: int, scope: Scope) -> list[Remains]:
        """See the port."""
        return await self._writer.run(lambda c: rollback.remains(c, after, limit, scope, self.id, self._seal))

    async def settle_undone(self, done: Sequence[UndoneItem], left: Sequence[LeftAlone]) -> None:
        """See the port."""
        await self._writer.run(lambda c: rollback.settle(c, done, left, self._audit))
