"""May a source go? Each line of the truth table by itself: all else is as it should be, and this alone keeps it."""

from typing import Any

import pytest
from msgspec.structs import replace

from migrator.core.cleaning import Arrived, Candidate, Claim, Kept, SourceSeen
from migrator.core.model import Skip, State
from migrator.core.objects import Standing
from migrator.engine.cleaning import by_ledger, by_looking, trouble_of

from .world import a_task

NOW, GRACE = 10_000.0, 100.0
LOCATION = "s3://old/photos/a.jpg"
DIGEST, OTHER = b"\1" * 32, b"\2" * 32
OWN = Arrived("a.jpg", 10, DIGEST, "etag", None, 9_000, wrong=False)
THUMB = Arrived("thumbs/a.webp", 3, OTHER, "thumb", None, 9_100, wrong=False)
CLAIM = Claim(a_task(location=LOCATION, fingerprint="print"), State.STORED, "", OWN, (THUMB,), 0, 0)
SEEN = SourceSeen(10, "print", modified=1.0)
STANDING = {
    "a.jpg": Standing(10, "etag", None, "image/jpeg", {}, DIGEST, proven=True, modified=2.0),
    "thumbs/a.webp": Standing(3, "thumb", None, "image/webp", {}, OTHER, proven=True, modified=2.0),
}


def candidate(*claims: Claim, location: str = LOCATION) -> Candidate:
    return Candidate(location, claims or (CLAIM,))


def ledger_keeps(one: Candidate, now: float = NOW) -> Kept | None:
    verdict = by_ledger(one, now, GRACE, {"files"})
    return verdict[0] if verdict else None


def looking_keeps(
    seen: SourceSeen | None = SEEN,
    standing: dict[str, Standing | None] | None = None,
    one: Candidate | None = None,
    **told: Any,
) -> Kept | None:
    facts: dict[str, Any] = {"owned": False, "ledger_id": "ledger", "trusted": True} | told
    verdict = by_looking(one or candidate(), seen, {**STANDING, **(standing or {})}, **facts)
    return verdict[0] if verdict else None


def test_all_is_as_it_should_be() -> None:
    assert ledger_keeps(candidate()) is None
    assert ledger_keeps(candidate(replace(CLAIM, state=State.SKIPPED, skip=Skip.IDENTICAL))) is None
    assert looking_keeps() is None


NOT_YET = [
    (replace(CLAIM, state=State.PLANNED), Kept.NOT_MOVED),
    (replace(CLAIM, state=State.INTENDED), Kept.NOT_MOVED),
    (replace(CLAIM, state=State.FAILED, skip="conflict"), Kept.NOT_MOVED),
    (replace(CLAIM, state=State.ROLLED_BACK), Kept.NOT_MOVED),
    (replace(CLAIM, state=State.SKIPPED, skip=Skip.EXISTS), Kept.NOT_MOVED),
    (replace(CLAIM, state=State.SKIPPED, skip=Skip.IN_PLACE), Kept.IN_PLACE),
    (replace(CLAIM, own=None), Kept.ONLY_VARIANTS),
    (replace(CLAIM, lacking=1), Kept.VARIANTS),
    (replace(CLAIM, rows=1), Kept.ROWS),
    (replace(CLAIM, own=replace(OWN, wrong=True, proven_at=None)), Kept.DIFFERS),
    (replace(CLAIM, variants=(replace(THUMB, wrong=True, proven_at=None),)), Kept.DIFFERS),
    (replace(CLAIM, own=replace(OWN, proven_at=None)), Kept.UNVERIFIED),
    (replace(CLAIM, variants=(replace(THUMB, proven_at=None),)), Kept.UNVERIFIED),
    (replace(CLAIM, variants=(replace(THUMB, proven_at=9_901),)), Kept.GRACE),
    (replace(CLAIM, task=a_task(source="another")), Kept.UNCONFIGURED),
]


@pytest.mark.parametrize(("claim", "kept"), NOT_YET)
def test_the_ledger_keeps_it(claim: Claim, kept: Kept) -> None:
    assert ledger_keeps(candidate(claim)) is kept
    assert ledger_keeps(candidate(CLAIM, claim)) is kept, "also where another item of the same source may go"


@pytest.mark.parametrize("location", ["http://host/a.jpg", "https://host/a.jpg"])
def test_http_sources_are_never_touched(location: str) -> None:
    assert ledger_keeps(candidate(location=location)) is Kept.HTTP


def test_the_grace_period_ends_with_its_last_second() -> None:
    assert ledger_keeps(candidate(), now=9_100 + GRACE) is None
    assert ledger_keeps(candidate(), now=9_099 + GRACE) is Kept.GRACE
    assert ledger_keeps(candidate(), now=9_000) is Kept.GRACE, "a clock that was set back"


@pytest.mark.parametrize(
    ("seen", "kept"),
    [
        (None, Kept.SOURCE_GONE),
        (replace(SEEN, link="a link"), Kept.LINK),
        (replace(SEEN, fingerprint="other"), Kept.SOURCE_CHANGED),
        (replace(SEEN, size=11), Kept.SOURCE_CHANGED),
        (replace(SEEN, here="a.jpg"), Kept.DESTINATION),
        (replace(SEEN, here="thumbs/a.webp"), Kept.DESTINATION),
        (replace(SEEN, here="_migrator/backup/ledger/1/a.jpg"), Kept.DESTINATION),
        (replace(SEEN, here="below/_migrator/canary/1"), Kept.DESTINATION),
        (replace(SEEN, here="photos/a.jpg"), None),
        (replace(SEEN, mark="ledger/7"), Kept.DESTINATION),
        (replace(SEEN, mark="another/7"), None),
    ],
)
def test_the_source_as_it_stands_now(seen: SourceSeen | None, kept: Kept | None) -> None:
    assert looking_keeps(seen) is kept


def test_what_the_ledger_put_there_is_no_source() -> None:
    assert looking_keeps(replace(SEEN, here="photos/a.jpg"), owned=True) is Kept.DESTINATION


def test_one_object_under_two_names_of_its_server() -> None:
    alias = candidate(replace(CLAIM, task=replace(CLAIM.task, fingerprint="etag")), location="s3://alias/a.jpg")
    seen = replace(SEEN, fingerprint="etag")
    assert looking_keeps(seen, one=alias) is None
    assert looking_keeps(replace(seen, modified=2.0), one=alias) is Kept.DESTINATION


@pytest.mark.parametrize("key", ["a.jpg", "thumbs/a.webp"])
@pytest.mark.parametrize("changes", [None, {"size": 9}, {"sha256": b"\3" * 32}, {"proven": False, "etag": "other"}])
def test_the_object_as_it_stands_now(key: str, changes: dict[str, Any] | None) -> None:
    standing = None if changes is None else replace(STANDING[key], **changes)
    assert looking_keeps(standing={key: standing}) is Kept.OBJECT_CHANGED


def test_a_checksum_that_nobody_checked_proves_nothing() -> None:
    rewritten = replace(STANDING["a.jpg"], etag="other")
    assert trouble_of(OWN, rewritten, trusted=True) == "", "the same bytes, stored again"
    assert trouble_of(OWN, rewritten, trusted=False) == "was written again since it was stored"
    assert trouble_of(replace(OWN, sha256=None), rewritten, trusted=True)
    assert trouble_of(replace(OWN, etag="", sha256=None), rewritten, trusted=True)
    version = replace(OWN, version_id="1")
    assert trouble_of(version, replace(STANDING["a.jpg"], version_id="2"), trusted=False)
    assert trouble_of(version, replace(STANDING["a.jpg"], version_id="1"), trusted=False) == ""
