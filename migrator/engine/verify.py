"""The stored objects against the ledger: presence, size, bytes, metadata; and keys that no row of it explains."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from migrator.core.config import Config
from migrator.core.errors import Fatal, Forbidden, ObjectError, Throttled, Transient
from migrator.core.ledger_ports import VerificationLedger
from migrator.core.model import RESERVED_PREFIX, Fault, Side
from migrator.core.objects import Capabilities, Digest
from migrator.core.ports import EventKind, Observer, Reader, Store
from migrator.core.verification import Expected, Match, Verification
from migrator.engine.compare import Comparison
from migrator.engine.guard import Memory, Pace
from migrator.engine.lanes import through_lanes
from migrator.engine.patience import GO_ON, Patience
from migrator.engine.rules import Rules
from migrator.engine.stopping import Stop, Stopped

PAGE = 1_000
"""Items that are looked through at once."""

SILENT = 50
"""Objects in a row, each of them tried as often as `retries` says, after which the destination counts as down."""


class VerifyOptions(Struct, frozen=True):
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
        """In words, the same for the same question: an interrupted verification goes on only where that was asked."""
        words = ["every object" if self.sample == 1 else f"{self.sample * 100:g} % of the objects"]
        words += [f"of {', '.join(sorted(self.names))}"] * bool(self.names)
        words += ["every byte read back"] * self.download
        words += ["sources read as well"] * self.sources
        return ", ".join(words)


class Destination(Struct, frozen=True):
    """What is verified: where it is, what it was seen to honour, and which of its keys could be the migration's.

    prefixes  beginnings of every key that the migration writes: what else stands below them is extra
    here      beginning of locations that lie in the destination itself, such as `s3://bucket/`; empty: there are none
    """

    store: Store
    bucket: str
    capabilities: Capabilities | None
    prefixes: Sequence[str]
    here: str


@dataclass(slots=True)
class Verify:
    """One verification over one ledger. `execute` may be called once."""

    config: Config
    destination: Destination
    ledger: VerificationLedger
    reader: Reader
    observer: Observer
    stop: Stop
    options: VerifyOptions
    expected: int
    """About how many objects there are to look at, for those who watch."""
    _patience: Patience = field(init=False)
    _comparison: Comparison = field(init=False)
    looked: int = 0
    """Objects that this run has looked at."""
    _before: int = 0
    _silent: int = 0

    def __post_init__(self) -> None:
        settings, known = self.config.transfer, self.destination.capabilities
        self._patience = Patience.of(self.config, self.observer, self.stop)
        self._comparison = Comparison(
            store=self.destination.store,
            reader=self.reader,
            rules=Rules.of(self.config, self.destination.bucket),
            trusted=known is not None and known.keeps_checksum and known.digest.kind is Digest.SHA256,
            download=self.options.download,
            sources=self.options.sources,
            memory=Memory(settings.memory),
            requests=self._patience.requests,
            bandwidth=Pace(settings.bandwidth or 0, self.stop),
        )

    async def execute(self) -> None:
        """Looks at everything that is left to look at. Raises what stopped it; what was found is in the ledger."""
        self.stop.heed()
        number, self._before = await self.ledger.begin_verification(self.options.scope, self.options.sample)
        lanes = self.config.transfer.concurrency
        await through_lanes(self._pages(number), self.check, lambda done: self._keep(number, done), lanes, self.stop)
        self._patience.go_on()
        if self.options.sample == 1 and not self.options.names:
            await self._find_extras(number)
        await self.ledger.finish_verification(number)

    async def _pages(self, number: int) -> AsyncIterator[list[Expected]]:
        after: int | None = 0
        names = self.options.names or None
        while after is not None:
            page, after = await self.ledger.unverified(number, after, PAGE, names, unseal=self.options.sources)
            yield page

    async def _keep(self, number: int, done: list[Verification]) -> None:
        await self.ledger.keep_verifications(number, done)
        self.looked += len(done)
        objects = self._before + self.looked
        self.observer.event(EventKind.VERIFIED, "looked at", objects=objects, of=max(self.expected, objects))
        for one in done:
            if one.result is not Match.MATCH:
                self.observer.event(EventKind.DIFFERENT, one.message, result=one.result.value, key=one.expected.key)

    async def check(self, expected: Expected) -> Verification:
        """One object, patiently. Raises Fatal and Stopped; all else is a result."""
        try:
            found = await self._patience.attempt(lambda: self._comparison.look(expected))
        except ObjectError as error:
            return self._unanswered(expected, error)
        self._silent = 0
        return found

    def _unanswered(self, expected: Expected, error: ObjectError) -> Verification:
        if error.fault is Fault.FATAL:
            raise error
        text = f"its source cannot be read: {error}" if error.side is Side.SOURCE else str(error)
        if isinstance(error, Forbidden) and error.side is Side.DESTINATION:
            text += "; without s3:ListBucket an object that is not there looks forbidden"
        if isinstance(error, Transient) and error.side is Side.DESTINATION:
            self._silent += 1
            if self._silent >= SILENT:
                raise Fatal(f"the destination does not answer any more: {error.message}", side=error.side, hint=GO_ON)
        return Verification(expected, Match.UNKNOWN, None, text)

    async def _find_extras(self, number: int) -> None:
        """Lists what the migration could have written; a prefix from its start again after an error, which is safe."""
        prefixes = self.destination.prefixes
        await self.ledger.begin_extras(number, self.destination.here, prefixes)
        try:
            for prefix in prefixes:
                await self._patience.again(lambda prefix=prefix: self._list(number, prefix))  # type: ignore[misc]
        except Stopped:
            self._patience.go_on()
        except Forbidden as error:
            await self.ledger.skip_extras(number)
            self.observer.event(EventKind.NOTE, f"extra keys were not looked for: {error.message}")
        except (Transient, Throttled) as error:
            raise Fatal(f"keys cannot be listed: {error.message}", side=error.side, hint=GO_ON) from error

    async def _list(self, number: int, prefix: str) -> None:
        reserved = self.config.destination.prefix + RESERVED_PREFIX
        await self._patience.requests.spend(1)
        async for keys in self.destination.store.keys(prefix):
            self._patience.go_on()
            await self.ledger.keep_extras(number, keys, reserved)
            await self._patience.requests.spend(1)
