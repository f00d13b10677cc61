"""Whether a rollback would delete the last copies: something of what was stored must still stand where it came from."""

from migrator.core.config import Config
from migrator.core.errors import Fatal, Gone, ObjectError, PreflightError
from migrator.core.undoing import Scope
from migrator.ledger.sqlite import SqliteLedger
from migrator.wiring.adapters import make_reader
from migrator.wiring.same_destination import ENOUGH


async def refuse_last_copies(config: Config, ledger: SqliteLedger, scope: Scope) -> None:
    """Raises PreflightError when the sources of some objects that were stored are all gone.

    One of them is opened where the first stands. What a cleanup took away does not count: it comes back first.
    """
    tasks = [
        one.task
        for one in await ledger.some_stored()
        if not one.cleaned
        and (scope.run is None or one.run == scope.run)
        and (not scope.sources or one.task.source in scope.sources)
    ]
    if len(tasks) < ENOUGH:
        return
    reader = make_reader(config)
    try:
        for task in tasks:
            try:
                async with reader.open(task):
                    return
            except Gone:
                continue
            except Fatal:
                if not task.location.startswith("file:"):  # else its root is missing
                    return
            except ObjectError:  # no proof of anything: a host may be down
                return
    finally:
        await reader.close()
    raise PreflightError(
        f"the sources of {len(tasks)} objects that were looked at are all gone, such as {tasks[0].location}: undoing"
        " this would delete the last copies",
        "mount the disk, or correct the configuration; --sources-gone undoes it all the same",
    )
