"""The last verification as people read of it. differences.csv: everything that it found wrong, a line each."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TextIO

from msgspec import Struct

from migrator.core.secrets import mask_text
from migrator.core.verification import Match, Proof, VerificationSummary
from migrator.reports import words

COLUMNS = ("result", "key", "variant", "location", "message", "what_to_do")


class Difference(Protocol):
    """What does not match, or (`extra`) nothing explains. `variant` is `name.format`, empty of an item's own object."""

    @property
    def result(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def variant(self) -> str: ...
    @property
    def location(self) -> str | None: ...
    @property
    def message(self) -> str: ...


class Ran(Protocol):
    """A run, as far as it tells whether something was stored."""

    @property
    def number(self) -> int: ...
    @property
    def command(self) -> str: ...
    @property
    def finished_at(self) -> int | None: ...
    @property
    def requests(self) -> dict[str, int]: ...


class Verified(Struct, frozen=True):
    """The last verification. `stored_since`: a later run put something, which it has not looked at."""

    last: VerificationSummary
    stored_since: bool
    first: tuple[Difference, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """What is wrong, and extra keys, by result; nothing that counts 0."""
        wrong = {result.value: self.last.results.get(result, 0) for result in Match if result is not Match.MATCH}
        return {name: number for name, number in (wrong | {"extra": self.last.extra or 0}).items() if number}


def verified(verifications: Sequence[VerificationSummary], runs: Sequence[Ran]) -> Verified | None:
    """The last of `verifications`; None where there is none."""
    if not verifications:
        return None
    last = verifications[-1]
    later = [run for run in runs if run.number > (last.run or 0) and run.command == "migrate"]
    stored = any(run.finished_at is None or _writes(run.requests) for run in later)
    return Verified(last, stored)


def _writes(requests: dict[str, int]) -> bool:
    return any(operation.startswith(("PUT", "COPY", "COMPLETE")) for operation in requests)


def verdict(seen: VerificationSummary) -> str:
    """`9,000 of 10,000 objects match`."""
    if not seen.looked_at:
        return "there was nothing to look at"
    return f"{words.count(seen.results.get(Match.MATCH, 0))} of {words.count(seen.looked_at, 'object')} match"


def proofs(seen: VerificationSummary) -> str:
    """How the bytes were compared."""
    ways = [
        f"{words.count(seen.proofs.get(proof, 0))} {words.PROOFS[proof]}" for proof in Proof if seen.proofs.get(proof)
    ]
    return "; ".join(ways)


def when(seen: VerificationSummary) -> str:
    """Its end, or that it has none yet."""
    if seen.finished_at is None:
        return f"begun {words.moment(seen.started_at)} and interrupted; the same command goes on with it"
    return words.moment(seen.finished_at)


def status_line(seen: Verified) -> str:
    """All of it in one line."""
    found = words.reasons(seen.counts)
    since = "; something was stored since" if seen.stored_since else ""
    return f"{verdict(seen.last)}{f' ({found})' if found else ''}, {when(seen.last)} ({seen.last.scope}){since}"


def verified_tree(seen: Verified) -> dict[str, object]:
    """As plain values."""
    last = seen.last
    return {
        "scope": last.scope,
        "sample": last.sample,
        "started": words.moment(last.started_at),
        "finished": words.moment(last.finished_at) if last.finished_at is not None else None,
        **{result.value: last.results.get(result, 0) for result in Match},
        "extra": last.extra,
        "compared_by": {proof.value: last.proofs.get(proof, 0) for proof in Proof},
        "stored_since": seen.stored_since,
        "first_differences": [difference_tree(each) for each in seen.first],
    }


def difference_tree(each: Difference) -> dict[str, object]:
    """As plain values, named as in COLUMNS."""
    values = (
        each.result,
        each.key,
        each.variant,
        # The location of a variant is that of its image: other bytes than those that are missing.
        "" if each.variant else each.location or "",
        mask_text(each.message),
        words.MATCH_ADVICE[each.result],
    )
    return dict(zip(COLUMNS, values, strict=True))


def write_differences(differences: Iterable[Difference], file: TextIO) -> None:
    """Writes one line a difference, as they come."""
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerows(difference_tree(each).values() for each in differences)


def named(differences: Iterable[Difference]) -> Iterator[str]:
    """`differ a/b.jpg: it has 3 bytes, not 4`, a line each."""
    for each in differences:
        yield f"{each.result:<7}  {each.key}" + (f": {mask_text(each.message)}" if each.message else "")
