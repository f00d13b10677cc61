"""Whether the destination is the one that the ledger tells of: something of what was stored must stand there."""

from migrator.core.errors import ObjectError, PreflightError
from migrator.core.ports import Store
from migrator.ledger.sqlite import SqliteLedger
from migrator.wiring.unfinished import rollback_was_killed

ENOUGH = 8
"""Objects that must all be missing: somebody may have removed a few."""


async def refuse_another_destination(ledger: SqliteLedger, store: Store, place: str) -> None:
    """Raises PreflightError when nothing stands at `place` of some objects that were stored there.

    One request where the first of them stands. Bucket or folder may be there all the same: of another server, or as
    the empty place of a disk that is not mounted. Moving on would leave half of the collection in each, and a rollback
    would take for removed what stands elsewhere.
    """
    keys = [one.task.key for one in await ledger.some_stored()]
    if len(keys) < ENOUGH or await rollback_was_killed(ledger):
        return
    for key in keys:
        try:
            if await store.head(key):
                return
        except ObjectError:  # no proof of anything: a run that cannot go on says so itself
            return
    raise PreflightError(
        f"{place} has none of {len(keys)} objects that this ledger has stored, such as {keys[0]}",
        "correct bucket, endpoint, url or prefix, or mount the disk; if that is the right place, `migrator verify`"
        " notes what is missing, and the same command goes on (`migrator retry --verified missing` plans it again)",
    )
