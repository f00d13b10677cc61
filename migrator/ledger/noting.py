"""What several ports of the ledger share: noting what changes outside it, and forgetting an upload that was aborted."""

from collections.abc import Sequence

from migrator.core.audit import Change
from migrator.ledger import journal
from migrator.ledger.audit import AuditLog
from migrator.ledger.writer import Writer


class Noting:
    """Fills `Audited` for an open ledger."""

    def __init__(self, ledger_id: str, writer: Writer, audit: AuditLog) -> None:
        self.id = ledger_id
        self._writer = writer
        self._audit = audit

    async def forget_upload(self, key: str, upload_id: str) -> None:
        """An upload was aborted."""
        await self._writer.run(lambda c: journal.forget_upload(c, key, upload_id))

    async def note(self, changes: Sequence[Change]) -> None:
        """See `Audited`."""
        await self._writer.run(lambda _: self._audit.add(changes))
