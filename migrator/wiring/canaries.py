"""Canaries are noted in the ledger before they are put, so that the next run removes what a kill leaves of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from migrator.core.errors import ObjectError, PreflightError
from migrator.core.ports import Store
from migrator.engine.probe import patiently, sweep
from migrator.ledger.sqlite import SqliteLedger

NOTE = "canary"
"""Where the ledger keeps the key of the canary that stands, or may stand."""


@asynccontextmanager
async def noted_canary(store: Store, key: str, ledger: SqliteLedger | None) -> AsyncIterator[None]:
    """Around probing with a canary under `key`. Raises PreflightError where the destination refuses it."""
    try:
        if ledger:
            await sweep_left(store, ledger)
            await ledger.set_meta(NOTE, key)
        yield
        if ledger:
            await ledger.set_meta(NOTE, "")
    except ObjectError as error:
        raise PreflightError(
            f"the destination does not take a small test object: {error.message}",
            error.hint or "see which step fails with `migrator test-connection`",
        ) from error


async def sweep_left(store: Store, ledger: SqliteLedger) -> None:
    """Removes the canary that a killed run has left, if one has. Raises what the destination refuses it with."""
    if left := await ledger.get_meta(NOTE):
        await patiently(partial(sweep, store, left))
        await ledger.set_meta(NOTE, "")
