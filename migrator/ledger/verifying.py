"""Fills the port of `verify`: what an open ledger is to it."""

import sqlite3
from collections.abc import Callable, Sequence

from migrator.core.verification import Expected, Verification, VerificationSummary
from migrator.ledger import verifications
from migrator.ledger.journal import chosen
from migrator.ledger.seal import Seal
from migrator.ledger.writer import Writer


class VerifyingLedger:
    """See `VerificationLedger`. `run` tells the number of the run under way."""

    def __init__(self, ledger_id: str, writer: Writer, seal: Seal, run: Callable[[], int]) -> None:
        self._id = ledger_id
        self._writer = writer
        self._seal = seal
        self._run = run

    async def begin_verification(self, scope: str, sample: float) -> tuple[int, int]:
        """See the port."""
        return await self._writer.run(lambda c: verifications.begin(c, scope, sample, self._run()))

    async def unverified(
        self, number: int, after: int, limit: int, sources: Sequence[str] | None, *, unseal: bool
    ) -> tuple[list[Expected], int | None]:
        """See the port."""

        def work(connection: sqlite3.Connection) -> tuple[list[Expected], int | None]:
            of = verifications.Objects(number, chosen(connection, sources), self._id, self._seal, unseal)
            return verifications.unverified(connection, of, after, limit)

        return await self._writer.run(work)

    async def keep_verifications(self, number: int, done: Sequence[Verification]) -> None:
        """See the port."""
        await self._writer.run(lambda c: verifications.keep(c, number, done))

    async def begin_extras(self, number: int, here: str, prefixes: Sequence[str]) -> None:
        """See the port."""
        await self._writer.run(lambda c: verifications.begin_extras(c, number, here, prefixes))

    async def keep_extras(self, number: int, keys: Sequence[str], reserved: str) -> None:
        """See the port."""
        await self._writer.run(lambda c: verifications.keep_extras(c, number, keys, reserved))

    async def skip_extras(self, number: int) -> None:
        """See the port."""
        await self._writer.run(lambda c: verifications.skip_extras(c, number))

    async def verifications(self) -> list[VerificationSummary]:
        """All of them, the oldest first."""
        return await self._writer.run(verifications.summaries)

    async def finish_verification(self, number: int) -> None:
        """See the port."""
        await self._writer.run(lambda c: verifications.finish(c, number))
