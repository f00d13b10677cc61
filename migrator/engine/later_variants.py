"""Variants of images that stand already: configured later, asked for again, or found in place by the scan."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial

from migrator.core.errors import Changed, Invalid, ObjectError
from migrator.core.ledger_ports import Ledger
from migrator.core.model import Fault, Lacking, Side, VariantOutcome, VariantTally
from migrator.core.ports import Observer
from migrator.engine.gate import Gate
from migrator.engine.guard import RetryPolicy
from migrator.engine.lanes import through_lanes
from migrator.engine.means import Means
from migrator.engine.stopping import Stop
from migrator.engine.transfer import sha256_of
from migrator.engine.variants import Original, Variants

PAGE = 1_000
"""Items that are looked through at once."""

Named = tuple[str, str]


class LaterVariants:
    """Makes what is `wanted` (source -> names and formats) from the stored originals."""

    def __init__(
        self,
        ledger: Ledger,
        means: Means,
        variants: Variants,
        retry: RetryPolicy,
        gate: Gate,
        wanted: Mapping[str, Sequence[Named]],
        observer: Observer,
    ) -> None:
        self._ledger = ledger
        self._means = means
        self._variants = variants
        self._retry = retry
        self._gate = gate
        self._wanted = {name: named for name, named in wanted.items() if named}
        self._observer = observer

    def wants(self, tally: VariantTally) -> bool:
        """Whether these variants are still configured."""
        return (tally.name, tally.format) in self._wanted.get(tally.source, ())

    async def run(self, lanes: int, stop: Stop, *, planned_only: bool) -> None:
        """Until none is lacking or the run stops. `planned_only`: not those that were never asked for before."""
        if self._wanted:
            await through_lanes(self._pages(planned_only), self._make, self._keep, lanes, stop)

    async def _pages(self, planned_only: bool) -> AsyncIterator[list[Lacking]]:
        after: int | None = 0
        while after is not None:
            page, after = await self._ledger.lacking(self._wanted, after, PAGE, planned_only=planned_only)
            yield page

    async def _keep(self, done: list[tuple[Lacking, Sequence[VariantOutcome]]]) -> None:
        await self._ledger.settle_variants(done)
        self._observer.rendered(done)

    async def _make(self, job: Lacking) -> tuple[Lacking, Sequence[VariantOutcome]]:
        await self._gate.enter()
        leave: Callable[[], object] = partial(self._gate.leave, None)
        try:
            made = await self._make_from(job)
            leave = self._gate.leave_well
            return job, made
        except ObjectError as error:
            if error.fault is Fault.FATAL:
                raise
            return job, self._variants.unmade(job.task, error.fault, str(error), only=job.wanted)
        finally:
            leave()

    async def _make_from(self, job: Lacking) -> tuple[VariantOutcome, ...]:
        if job.size > self._means.memory.limit:
            text = f"the image has {job.size} bytes, more than may be held to render it"
            raise Invalid(text, hint="raise transfer.memory")
        held = await self._means.memory.take(job.size)
        try:
            data = await self._retry.call(
                lambda: self._read(job), lambda error: self._gate.slow_down(error.retry_after, str(error))
            )
            if job.sha256 and await sha256_of(data) != job.sha256:
                raise Changed(f"{job.task.key} has other bytes now than were stored", side=Side.DESTINATION)
            original = Original(len(data), job.sha256, job.content_type)
            return await self._variants.store(await self._variants.render(job.task, data, original, only=job.wanted))
        finally:
            self._means.memory.give(held)

    async def _read(self, job: Lacking) -> bytes:
        await self._means.requests.spend(1)
        if job.original:
            await self._means.bandwidth.spend(job.size)
            return b"".join([piece async for piece in self._means.store.read(job.task.key)])
        async with self._means.reader.open(job.task) as body:
            data = await body.read(job.size)
            await body.check()
            return data
