"""The stored objects against the ledger: presence, size, bytes, metadata; and keys that no row of it explains."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from migrator.core.config import Config
from migrator.core.errors import Interrupted, ObjectError
from migrator.core.model import RESERVED_PREFIX, SMALL, Expected, Fault, Match, Proof, Side, Standing, Verification
from migrator.core.ports import EventKind, Observer, Reader, Store, VerificationLedger
from migrator.engine.conflict import standing_digest
from migrator.engine.guard import Gate, Memory, Pace, RetryPolicy
from migrator.engine.lanes import through_lanes
from migrator.engine.rules import Rules
from migrator.engine.stopping import Stop

PAGE = 1_000
"""Objects that are fetched from the ledger at once."""


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What the operator asked of this verification.

    download  read every byte back, whatever checksum the server keeps
    sources   read every source again as well
    sample    the share of objects to look at, 0 < sample <= 1; the same ones for the same verification
    """

    download: bool = False
    sources: bool = False
    sample: float = 1.0
    names: tuple[str, ...] = ()

    @property
    def scope(self) -> str:
        """The same text for the same question: an interrupted verification goes on only where it was asked the same."""
        names = ",".join(self.names)
        return f"download={self.download} sources={self.sources} sample={self.sample:g} names={names}"


@dataclass(slots=True)
class Verify:
    """One verification over one ledger. `execute` may be called once."""

    config: Config
    bucket: str
    ledger: VerificationLedger
    store: Store
    reader: Reader
    observer: Observer
    stop: Stop
    options: VerifyOptions
    prefixes: Sequence[str]
    """Beginnings of every key that the migration writes: what else stands below them is extra."""
    here: str
    """Beginning of the locations that lie in the destination itself, such as `s3://bucket/`; empty: there are none."""
    _rules: Rules = field(init=False)
    _gate: Gate = field(init=False)
    _retry: RetryPolicy = field(init=False)
    _memory: Memory = field(init=False)
    _requests: Pace = field(init=False)
    _bandwidth: Pace = field(init=False)

    def __post_init__(self) -> None:
        settings = self.config.transfer
        self._rules = Rules.of(self.config, self.bucket)
        self._gate = Gate(settings.concurrency, self.stop, self.observer)
        self._retry = RetryPolicy(settings.retries, self.stop, self.observer)
        self._memory = Memory(settings.memory)
        self._requests = Pace(settings.requests_per_second, self.stop)
        self._bandwidth = Pace(settings.bandwidth or 0, self.stop)

    async def execute(self) -> None:
        """Looks at everything that is left to look at. Raises what stopped it; what was found is in the ledger."""
        number = await self.ledger.begin_verification(self.options.scope, self.options.sample)
        lanes = self.config.transfer.concurrency
        await through_lanes(self._pages(number), self.check, lambda done: self._keep(number, done), lanes, self.stop)
        self._go_on()
        await self._find_extras(number)
        await self.ledger.finish_verification(number)

    async def _pages(self, number: int) -> AsyncIterator[list[Expected]]:
        after = (0, 0)
        while page := await self.ledger.unverified(number, after, PAGE, self.options.names or None):
            yield page
            after = (page[-1].item, page[-1].variant)

    async def _keep(self, number: int, done: list[Verification]) -> None:
        await self.ledger.keep_verifications(number, done)
        self.observer.event(EventKind.VERIFIED, f"{len(done)} objects looked at", objects=len(done))

    def _go_on(self) -> None:
        if self.stop.signal_number:
            raise Interrupted(self.stop.signal_number, self.stop.reason, "the same command goes on where it was")

    async def check(self, expected: Expected) -> Verification:
        """One object, patiently. Raises Fatal and Stopped; all else is a result."""
        await self._gate.enter()
        try:
            return await self._retry.call(
                lambda: self._check(expected), lambda error: self._gate.slow_down(error.retry_after, str(error))
            )
        except ObjectError as error:
            if error.fault is Fault.FATAL:
                raise
            result = Match.DIFFER if error.side is Side.SOURCE else Match.UNKNOWN
            return Verification(expected, result, None, str(error))
        finally:
            self._gate.leave(None)

    async def _check(self, expected: Expected) -> Verification:
        await self._requests.spend(1)
        standing = await self.store.head(expected.key)
        if standing is None:
            return Verification(expected, Match.MISSING, None, "nothing stands under the key")
        different = self._outwardly(expected, standing)
        if different:
            return Verification(expected, Match.DIFFER, None, different)
        digest, proof = await self._digest(expected, standing)
        known = expected.sha256 or await self._digest_of_source(expected)
        if self.options.sources and expected.sha256 and not expected.variant:
            known = await self._digest_of_source(expected)
            if known != expected.sha256:
                return Verification(expected, Match.DIFFER, proof, "the source has other bytes now than were stored")
        if digest != known:
            text = f"its SHA-256 is {digest.hex()}, not {known.hex()}"
            return Verification(expected, Match.DIFFER, proof, text)
        return Verification(expected, Match.MATCH, proof, "", digest)

    def _outwardly(self, expected: Expected, standing: Standing) -> str:
        """What differs by what HEAD tells; empty when nothing does."""
        if expected.size is not None and standing.size != expected.size:
            return f"it has {standing.size} bytes, not {expected.size}"
        if expected.put_id and standing.put_id not in (expected.put_id, None):
            return f"somebody else put it there: its mark is {standing.put_id}"
        if expected.content_type and standing.content_type != expected.content_type:
            return f"its content type is {standing.content_type}, not {expected.content_type}"
        for name, value in self._rules.metadata_of(expected).items():
            if standing.metadata.get(name) != value:
                return f"its metadata {name} is {standing.metadata.get(name)!r}, not {value!r}"
        return ""

    async def _digest(self, expected: Expected, standing: Standing) -> tuple[bytes, Proof]:
        """The SHA-256 of what stands there: the server's own, or by reading every byte."""
        if standing.proven and standing.sha256 and not self.options.download:
            return standing.sha256, Proof.CHECKSUM
        await self._requests.spend(1)
        await self._bandwidth.spend(standing.size)
        return await standing_digest(self.store, expected.key), Proof.READ

    async def _digest_of_source(self, expected: Expected) -> bytes:
        """The SHA-256 of the bytes at the location. Raises an ObjectError of side "source"."""
        whole = hashlib.sha256()
        async with self.reader.open(expected.task) as body:
            while True:
                held = await self._memory.take(SMALL)
                try:
                    piece = await body.read(SMALL)
                    await asyncio.to_thread(whole.update, piece)
                finally:
                    self._memory.give(held)
                if not piece:
                    break
            await body.check()
        return whole.digest()

    async def _find_extras(self, number: int) -> None:
        if self.options.sample < 1 or self.options.names:
            return
        await self.ledger.begin_extras(self.here)
        reserved = self.config.destination.prefix + RESERVED_PREFIX
        for prefix in self.prefixes:
            async for keys in self.store.keys(prefix):
                self._go_on()
                await self.ledger.keep_extras(number, keys, reserved)
