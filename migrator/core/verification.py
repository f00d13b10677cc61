"""The values of `verify`: what must stand, what was found instead, and how it was told. Frozen, small."""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from migrator.core.model import Task


class Match(StrEnum):
    """What `verify` found of one object. Text in the ledger."""

    MATCH = "match"
    DIFFER = "differ"
    MISSING = "missing"
    UNKNOWN = "unknown"
    """It could not be told: the destination did not answer, or nothing is left to compare its bytes with."""


class Proof(StrEnum):
    """How the bytes of an object were compared."""

    CHECKSUM = "checksum"
    """The server keeps a SHA-256 of its own."""
    READ = "read"
    """Every byte was read back."""


class Expected(Struct, frozen=True):
    """An object that must stand in the destination, as the ledger knows it; `variant` 0 is the item's own object.

    put_id  the mark of our put; None for what was found there. What a server copied by itself may carry none
    sha256  None where a server copied it and told no digest: then the source's bytes are the measure
    etag    what it was when it was stored: never a hash, but another one tells that it was written again
    source_away  a cleanup took its source away: it is not there to be read
    """

    item: int
    variant: int
    source: str
    location: str
    key: str
    size: int | None
    sha256: bytes | None
    put_id: str | None
    content_type: str | None
    fingerprint: str | None
    etag: str | None = None
    fields: Mapping[str, str] | None = None
    signed: str | None = None
    source_away: bool = False

    @property
    def task(self) -> Task:
        """For a reader of the source."""
        return Task(
            self.item,
            self.put_id or "",
            self.source,
            self.location,
            self.key,
            self.size,
            self.fingerprint,
            fields=self.fields,
            signed=self.signed,
        )


class Verification(Struct, frozen=True):
    """What one look at one object showed. `proof` is None where the bytes were not compared."""

    expected: Expected
    result: Match
    proof: Proof | None
    message: str
    sha256: bytes | None = None


class VerificationSummary(Struct, frozen=True):
    """One verification: objects by result and by how their bytes were compared; times in seconds since the epoch.

    run          the run that worked on it last
    scope        what was asked, in words
    extra        keys that nothing explains; None where they were not looked for
    finished_at  None: it was interrupted, and the same command goes on with it
    """

    number: int
    run: int | None
    scope: str
    sample: float
    results: Mapping[Match, int]
    proofs: Mapping[Proof, int]
    extra: int | None
    started_at: int
    finished_at: int | None

    @property
    def looked_at(self) -> int:
        """Objects that have a result."""
        return sum(self.results.values())

    @property
    def wrong(self) -> int:
        """Objects that do not match. What is extra is no difference: it may have stood there before."""
        return self.looked_at - self.results.get(Match.MATCH, 0)
