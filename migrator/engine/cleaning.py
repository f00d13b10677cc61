"""May this source go? Decided from what the ledger knows and what stands there now. Nothing is done in here.

for every item that is made of the source                                     else it is kept as
-------------------------------------------------------------------------------------------------
by the ledger (`by_ledger`)
  its location is a file or an object of a bucket                              http
  its source is still configured                                               unconfigured
  it is stored, or skipped because the same bytes stood there                  in-place, not-moved
  its own object was stored, not its variants only                             only-variants
  every configured variant stands                                              variants
  every row that refers to it was updated                                      rows
  the last `verify` found nothing wrong with any of its objects                differs
  each of them was proven by its bytes since it was stored                     unverified
  the last of these proofs is older than the grace period                      grace
by looking, right before (`by_looking`)
  the source stands there                                                      source-gone
  under a name of its own, not through a link                                  link
  and it is no object of this migration, by key, mark or file                  destination
  it has the fingerprint of the scan (without one: the bytes that were stored) source-changed
  every object and variant is what the ledger says                             object-changed
by its place (`Remover.way`)
  the server deletes under a condition, or it may go without one               unconditional
  its place lets it be taken away at all                                       refused
-------------------------------------------------------------------------------------------------
  all of it                                                                    it goes
"""

from collections.abc import Collection, Mapping

from migrator.core.cleaning import Arrived, Candidate, Claim, Kept, SourceSeen
from migrator.core.model import RESERVED_PREFIX, Skip, State
from migrator.core.objects import Standing

Verdict = tuple[Kept, str]
"""Why it stays, and what there is to say about it."""


def by_ledger(candidate: Candidate, now: float, grace: float, known: Collection[str]) -> Verdict | None:
    """Why the ledger keeps it; None where it may go as far as the ledger knows.

    grace  seconds
    known  sources that are configured
    """
    if not candidate.location.startswith(("file:", "s3:")):
        return Kept.HTTP, ""
    for claim in candidate.claims:
        if claim.task.source not in known:
            return Kept.UNCONFIGURED, f"there is no source {claim.task.source!r} any more"
    for claim in candidate.claims:
        if verdict := _of_item(claim):
            return verdict
    arrived = [one for claim in candidate.claims for one in claim.arrived]
    for one in arrived:
        if one.wrong:
            return Kept.DIFFERS, f"`verify` found something wrong with {one.key}"
    for one in arrived:
        if one.proven_at is None:
            return Kept.UNVERIFIED, f"{one.key} was not verified since it was stored"
    last = max(one.proven_at or 0 for one in arrived)
    if now - last < grace:
        return Kept.GRACE, ""
    return None


def _of_item(claim: Claim) -> Verdict | None:
    key = claim.task.key
    if claim.state is State.SKIPPED and claim.skip == Skip.IN_PLACE:
        return Kept.IN_PLACE, ""
    if claim.state is not State.STORED and claim.skip != Skip.IDENTICAL:
        state = f"{claim.state} ({claim.skip})" if claim.skip else claim.state
        return Kept.NOT_MOVED, f"{key} is {state}"
    if claim.own is None:
        return Kept.ONLY_VARIANTS, f"nothing stands under {key}"
    if claim.lacking:
        return Kept.VARIANTS, f"{claim.lacking} of the variants of {key}"
    if claim.rows:
        return Kept.ROWS, f"{claim.rows} of the rows that refer to {key}"
    return None


def by_looking(
    candidate: Candidate,
    seen: SourceSeen | None,
    standing: Mapping[str, Standing | None],
    *,
    owned: bool,
    ledger_id: str,
    trusted: bool,
) -> Verdict | None:
    """Why what stands there now keeps it.

    owned    the ledger has put something where the source stands
    trusted  the server was seen to check the SHA-256 that it keeps
    """
    if seen is None:
        return Kept.SOURCE_GONE, "nothing is there any more"
    if seen.link:
        return Kept.LINK, seen.link
    if verdict := _is_destination(candidate, seen, standing, owned=owned, ledger_id=ledger_id):
        return verdict
    for claim in candidate.claims:
        wanted = claim.task.fingerprint
        if (wanted and wanted != seen.fingerprint) or (claim.own and claim.own.size not in (None, seen.size)):
            return Kept.SOURCE_CHANGED, f"it is no longer what was stored as {claim.task.key}"
    for claim in candidate.claims:
        for one in claim.arrived:
            if trouble := trouble_of(one, standing.get(one.key), trusted=trusted):
                return Kept.OBJECT_CHANGED, f"{one.key} {trouble}"
    return None


def _is_destination(
    candidate: Candidate,
    seen: SourceSeen,
    standing: Mapping[str, Standing | None],
    *,
    owned: bool,
    ledger_id: str,
) -> Verdict | None:
    if seen.here is not None:
        if owned or seen.here in candidate.keys:
            return Kept.DESTINATION, f"it is the object {seen.here} of this migration"
        if f"/{RESERVED_PREFIX}" in f"/{seen.here}":
            return Kept.DESTINATION, f"{seen.here} is kept for this tool"
    if seen.mark and seen.mark.partition("/")[0] == ledger_id:
        return Kept.DESTINATION, "it carries the mark of a put of this migration"
    key = candidate.location.partition("://")[2].partition("/")[2]
    other = standing.get(key)
    # The same key, ETag and moment: one object under two names of its server, as far as anybody can tell.
    if other and candidate.location.startswith("s3:") and _moment(seen) == (other.etag, other.modified):
        return Kept.DESTINATION, f"it cannot be told from the object {key} of this migration"
    return None


def _moment(seen: SourceSeen) -> tuple[str, float | None]:
    return seen.fingerprint, seen.modified


def trouble_of(one: Arrived, standing: Standing | None, *, trusted: bool) -> str:
    """How an object is no longer what the ledger says; empty: it is."""
    if standing is None:
        return "is missing"
    if one.size is not None and standing.size != one.size:
        return f"has {standing.size} bytes, not {one.size}"
    if trusted and standing.proven and standing.sha256 and one.sha256:
        return "" if standing.sha256 == one.sha256 else "has other bytes than were stored"
    if not one.etag:
        return "cannot be told from other bytes: the ledger has neither its checksum nor its ETag"
    if standing.etag != one.etag:
        return "was written again since it was stored"
    if one.version_id and standing.version_id != one.version_id:
        return "is another version than was stored"
    return ""
