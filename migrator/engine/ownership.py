"""Whose a key below the destination's prefix is, as far as its name and its mark tell. Asks nobody."""

import re
from collections.abc import Sequence

from msgspec import Struct

from migrator.core.model import RESERVED_PREFIX
from migrator.core.orphans import Kind, Listed, Owner
from migrator.engine.rules import backups_of

FRESH = 3600.0
"""Seconds in which a canary, a sample or an upload of unknown id may belong to somebody who is at work right now."""

_SAMPLE = re.compile(r"_test/[0-9a-f]{8}/")
_BACKUP = re.compile(r"[0-9]+/(.+)", re.DOTALL)
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Ground(Struct, frozen=True):
    """Where orphans are looked for, and what is known of it beforehand.

    prefix     destination.prefix
    ledger     the ledger's id, with which its marks and its backups begin
    prefixes   beginnings of every key that the migration writes
    here       beginning of locations that lie in the destination itself; empty: there are none
    temporary  beginning of the files that a run writes before it names them; empty: the destination has none
    created    when the ledger began, in seconds since the epoch: no upload of ours is older
    canary     key of the canary that a killed probe left; empty: none is known
    """

    prefix: str
    ledger: str
    prefixes: Sequence[str]
    here: str
    temporary: str
    created: float
    canary: str = ""

    @property
    def walked(self) -> list[str]:
        """Prefixes to list: the migration's, and those of what this tool leaves beside it. None lies below another."""
        ours = [f"{self._reserved}canary/", backups_of(self.prefix, self.ledger), f"{self.prefix}_test/"]
        starts = sorted({*self.prefixes, *ours})
        apart = [one for one in starts if not any(one != other and one.startswith(other) for other in starts)]
        return [*apart, *([self.temporary] if self.temporary else [])]

    @property
    def _reserved(self) -> str:
        return self.prefix + RESERVED_PREFIX

    def is_canary(self, key: str) -> bool:
        """Whether only a probe of this tool writes there."""
        return key.startswith(f"{self._reserved}canary/")

    def kind_of(self, one: Listed, now: float) -> Kind | None:
        """What it is if nothing explains it; None for what may be needed: it is young, or of another migration."""
        key = one.key
        young = one.modified is None or now - one.modified < FRESH
        if self.temporary and key.startswith(self.temporary):
            return Kind.TEMPORARY
        if self.is_canary(key):
            return None if young and not (self.canary and key.startswith(self.canary)) else Kind.CANARY
        if key.startswith(self._reserved):
            return Kind.BACKUP if self.backed_up(key) else None
        if _SAMPLE.match(key, len(self.prefix)) and key.startswith(self.prefix):
            return None if young else Kind.SAMPLE
        return Kind.OBJECT

    def backed_up(self, key: str) -> str:
        """The key of what the backup under `key` was made of; empty where it is none of ours, or has no such name.

        The backup of a very long key is named by a digest: that one stays.
        """
        start = backups_of(self.prefix, self.ledger)
        found = _BACKUP.fullmatch(key, len(start)) if key.startswith(start) else None
        return found[1] if found and not _DIGEST.fullmatch(found[1]) else ""

    def owner_of(self, kind: Kind) -> Owner:
        """Ours where only this tool writes; of the others their mark will tell."""
        return Owner.UNKNOWN if kind in (Kind.OBJECT, Kind.SAMPLE) else Owner.OURS


def item_of(mark: str, ledger: str) -> int | None:
    """The number of the item that `mark` names; None for a mark of another ledger."""
    owner, _, rest = mark.partition("/")
    number = rest.partition("/")[0]
    return int(number) if owner == ledger and number.isdecimal() else None
