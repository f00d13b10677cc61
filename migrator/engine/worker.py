"""Tasks -> Outcomes: one task with all its attempts, under the gate. Built from what `wiring` makes of a Config."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext

from msgspec.structs import replace

from migrator.core.config import Config
from migrator.core.errors import Fatal, ObjectError
from migrator.core.ledger_ports import Ledger, Uploads
from migrator.core.model import Failed, Fault, Outcome, Settlement, Side, Task
from migrator.core.objects import Capabilities
from migrator.core.ports import Clock, Observer, Reader, Renderer, Store
from migrator.engine.conflict import Verdicts
from migrator.engine.copying import Copies, Copying
from migrator.engine.gate import Gate
from migrator.engine.guard import Memory, Pace, RetryPolicy
from migrator.engine.later_variants import LaterVariants
from migrator.engine.means import Means
from migrator.engine.multipart import Multipart
from migrator.engine.origins import GivenUp, Origins, Waiting
from migrator.engine.probe import can_write
from migrator.engine.reaching import Reaching
from migrator.engine.rules import Rules
from migrator.engine.slow_start import SlowStart
from migrator.engine.stopping import Stopped
from migrator.engine.transfer import Transfer
from migrator.engine.variants import Variants

DIAGNOSE_EVERY = 30.0
"""Seconds between two canaries that ask whether anything may still be written."""


class Worker:
    """Moves tasks; keeps what one process shares between them: gate, memory, pace, connections."""

    def __init__(
        self,
        config: Config,
        bucket: str,
        run: int,
        reader: Reader,
        store: Store,
        uploads: Uploads,
        capabilities: Capabilities,
        observer: Observer,
        clock: Clock,
        renderer: Renderer | None = None,
        copies: Copies | None = None,
    ) -> None:
        settings = config.transfer
        self._means = means = Means(
            reader=reader,
            store=store,
            rules=(rules := Rules.of(config, bucket)),
            capabilities=capabilities,
            verdicts=Verdicts(store, rules, run, capabilities.versioned),
            memory=Memory(settings.memory),
            requests=Pace(settings.requests_per_second, clock),
            bandwidth=Pace(settings.bandwidth or 0, clock),
        )
        self._clock = clock
        self._store = store
        self._prefix = config.destination.prefix
        self._capabilities = capabilities
        self._retry = RetryPolicy(settings.retries, clock, observer)
        self._reaching = Reaching(reader)
        self._origins = Origins(settings.concurrency, clock, observer)
        self.gate = Gate(SlowStart(settings.concurrency, clock), clock, observer)
        self._multipart = Multipart(means, uploads, self._retry, self.gate, settings.part_size, observer)
        self._variants = Variants(config, means, renderer, self._retry, self.gate)
        self._copying = Copying.of(config, means, copies or Copies(), uploads, self._retry, self.gate, observer)
        self._transfer = Transfer(means, self._multipart, self._variants, self._copying)
        self._observer = observer
        self._diagnosed = -DIAGNOSE_EVERY

    async def work(self, task: Task, waiting: Waiting = nullcontext) -> Settlement:
        """All attempts of one task. Raises Fatal, Unreachable or LedgerError when the run cannot go on.

        It is within `waiting` while it waits for its next try, or for its origin to answer again.
        """
        started = self._clock.monotonic()
        current = task

        async def sleep(seconds: float) -> None:
            with waiting():
                await self._clock.sleep(seconds)

        async def attempt() -> tuple[Outcome, bool]:
            nonlocal current
            admitted = await self._origins.admit(current.location, waiting)
            outcome: Outcome | None = None
            counts = True
            try:
                outcome = await self._reaching(current, waiting)
                if outcome is None:
                    outcome, counts = await self._in_its_place(current)
            finally:
                self._origins.told(current.location, outcome, admitted)
            if isinstance(outcome, Failed):
                current = _next_try(current, outcome)
                counts = counts or await self._only_this_object(outcome)
            return outcome, counts

        try:
            outcome, attempts = await self._retry.run(attempt, task, sleep)
        except Stopped:
            raise Stopped(sent=current.again) from None
        except GivenUp as given_up:
            outcome, attempts = Failed(given_up.fault, f"{task.location}: {given_up}", again=current.again), 1
        if isinstance(outcome, Failed):
            # What an earlier try may have sent is not undone by the last one, unless that has seen what stands there.
            outcome = replace(outcome, again=current.again and outcome.fault is not Fault.CONFLICT)
            await self._diagnose(outcome)
            await self._abandon(task)
        return Settlement(task, outcome, attempts, self._clock.monotonic() - started)

    async def _in_its_place(self, task: Task) -> tuple[Outcome, bool]:
        """One attempt under the gate, and whether it counts against the object."""
        await self.gate.enter()
        outcome: Outcome | None = None
        try:
            outcome = await self._transfer(task)
        finally:
            counts = self.gate.leave(outcome)
        return outcome, counts

    def later_variants(self, ledger: Ledger, wanted: Mapping[str, Sequence[tuple[str, str]]]) -> LaterVariants:
        """What makes `wanted` variants of images that stand already, with the means of this worker."""
        return LaterVariants(ledger, self._means, self._variants, self._retry, self.gate, wanted, self._observer)

    async def _only_this_object(self, outcome: Failed) -> bool:
        """Asks with a canary, once each time the breaker opens or probes in vain, who is to blame."""
        if not self.gate.unsure:
            return False
        self.gate.unsure = False
        try:
            answers = await can_write(self._store, self._prefix, self._capabilities)
        except ObjectError:
            answers = False
        if answers:
            self.gate.mend()
        else:
            self.gate.confirm(outcome.message)
        return answers

    async def _diagnose(self, outcome: Failed) -> None:
        """One forbidden object is its own fault; when nothing may be written any more the whole run stops."""
        now = self._clock.monotonic()
        if outcome.fault is not Fault.FORBIDDEN or outcome.side is not Side.DESTINATION:
            return
        if now - self._diagnosed < DIAGNOSE_EVERY:
            return
        if not await can_write(self._store, self._prefix, self._capabilities):
            raise Fatal(
                "the destination no longer allows any put",
                side=Side.DESTINATION,
                hint="check the credentials and the bucket policy with `migrator test-connection`, then run it again",
            )
        self._diagnosed = now

    async def _abandon(self, task: Task) -> None:
        try:
            await self._copying.abandon(task)
            await self._multipart.abandon(task)
        except ObjectError:
            return  # the ledger still names the upload: the next run aborts it


def _next_try(task: Task, outcome: Failed) -> Task:
    if outcome.again and not task.again:
        task = replace(task, again=True)
    if outcome.fault is Fault.CHANGED:
        # What the scan saw is history: the second try takes the source as it is now.
        task = replace(task, fingerprint=None, size=None)
    return task
