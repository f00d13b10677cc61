"""One put by the protocol, of whatever kind: where the key is taken, look and decide, and perhaps replace."""

from collections.abc import Awaitable, Callable

from migrator.core.errors import Transient
from migrator.core.model import Outcome, Side, Stored, Task
from migrator.core.objects import Digest, Guards, Placed, Standing, Taken, Upload
from migrator.engine.conflict import Replace
from migrator.engine.means import Means

Send = Callable[[Guards], Awaitable[Placed | Taken]]
"""Sends the object under these guards."""


async def place(
    means: Means, task: Task, upload: Upload, standing: Standing | None, send: Send, digest: Digest, conditional: bool
) -> Outcome:
    """Puts it, unless `standing`, or what turns out to stand there, decides otherwise.

    conditional  the destination refuses such a put where something stands
    """
    chosen: Replace | None = None
    while True:
        if standing is not None:
            verdict = await means.verdicts.decide(task, upload, standing)
            if not isinstance(verdict, Replace):
                return verdict
            chosen = verdict
        guards = Guards(conditional and chosen is None, digest, chosen.etag if chosen else None)
        answer = await send(guards)
        if not isinstance(answer, Taken):
            return Stored.of(upload, answer, chosen.replaced if chosen else None)
        await means.requests.spend(1)
        standing = await means.store.head(task.key)
        if standing is None or chosen is not None:
            raise Transient(f"{task.key} changes while it is being written", side=Side.DESTINATION, ambiguous=True)
