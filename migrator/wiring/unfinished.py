"""A rollback that was killed: what it did last is not in the ledger, so nothing builds on that before it has ended."""

import orjson

from migrator.core.errors import PreflightError
from migrator.core.undoing import Scope
from migrator.ledger.sqlite import SqliteLedger

_ROLLBACK = "unfinished_rollback"


async def begin_rollback(ledger: SqliteLedger, scope: Scope) -> None:
    """Notes that a rollback is at work. One of another scope that was killed before leaves all of it in doubt."""
    mine, before = _spelled(scope), await ledger.get_meta(_ROLLBACK)
    await ledger.set_meta(_ROLLBACK, mine if before in (None, "", mine) else _spelled(Scope()))


async def end_rollback(ledger: SqliteLedger, scope: Scope) -> None:
    """Everything that this rollback did is in the ledger."""
    if await ledger.get_meta(_ROLLBACK) in (_spelled(scope), "") or scope == Scope():
        await ledger.set_meta(_ROLLBACK, "")


async def rollback_was_killed(ledger: SqliteLedger) -> bool:
    """Whether what counts as done in the ledger may have been undone."""
    return bool(await ledger.get_meta(_ROLLBACK))


async def refuse_after_unfinished_rollback(ledger: SqliteLedger) -> None:
    """Raises PreflightError when a killed rollback may have undone what the ledger still calls done."""
    unfinished = await ledger.get_meta(_ROLLBACK)
    if not unfinished:
        return
    run, sources = orjson.loads(unfinished)
    options = [f"--run {run}"] if run is not None else []
    options += [f"--source {name}" for name in sources]
    raise PreflightError(
        "a rollback was killed, and what it undid last is not in the ledger: objects and rows that count as done may be"
        " as they were before",
        f"run `{' '.join(['migrator rollback', *options])}` to its end, it goes on where it was;"
        " `migrator retry --rolled-back` then plans again what it has undone",
    )


def _spelled(scope: Scope) -> str:
    return orjson.dumps([scope.run, sorted(scope.sources)]).decode()
