"""Lifecycle rules of the destination bucket: which ones there should be, and how they stand beside those of others."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from migrator.core.model import RESERVED_PREFIX

ABORT_DAYS = 7
LEFTOVER_DAYS = 1
ABORT = "migrator-abort-incomplete-uploads"
CANARIES = "migrator-expire-canaries"
SAMPLES = "migrator-expire-samples"
BACKUPS = "migrator-expire-backups"
VERSIONS = "migrator-expire-old-versions"
"""Ids of the rules: by them, and by nothing else, a rule is known as ours."""

Rule = Mapping[str, Any]


def recommended(prefix: str, keep: float | None) -> list[Rule]:
    """The rules for a destination with this prefix, in the form that S3 takes.

    `keep` is how long what was overwritten can be had back, in seconds; None: only abandoned uploads are dealt with.
    """
    rules = [_rule(ABORT, "", AbortIncompleteMultipartUpload={"DaysAfterInitiation": ABORT_DAYS})]
    if keep is None:
        return rules
    days = max(1, math.ceil(keep / 86400))
    return [
        *rules,
        _rule(CANARIES, f"{prefix}{RESERVED_PREFIX}canary/", Expiration={"Days": LEFTOVER_DAYS}),
        _rule(SAMPLES, f"{prefix}_test/", Expiration={"Days": LEFTOVER_DAYS}),
        _rule(BACKUPS, f"{prefix}{RESERVED_PREFIX}backup/", Expiration={"Days": days}),
        _rule(
            VERSIONS,
            prefix,
            NoncurrentVersionExpiration={"NoncurrentDays": days},
            Expiration={"ExpiredObjectDeleteMarker": True},
        ),
    ]


def _rule(name: str, prefix: str, **actions: Any) -> Rule:
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix}, **actions}


def missing(seen: Sequence[Rule], wanted: Sequence[Rule]) -> list[Rule]:
    """Those of `wanted` that neither stand already nor are made needless by a rule of somebody else."""
    return [rule for rule in wanted if not any(_does(other, rule) for other in seen)]


def merged(seen: Sequence[Rule], wanted: Sequence[Rule]) -> list[Rule] | None:
    """All rules that should stand; None when they do. Those of others stay as they are, and in their order."""
    new = missing(seen, wanted)
    if not new:
        return None
    # S3 takes rules of the older form (a bare Prefix) and of the newer one (a Filter), but not both together.
    if any("Prefix" in rule for rule in seen):
        new = [{"Prefix": _prefix(rule), **{k: v for k, v in rule.items() if k != "Filter"}} for rule in new]
    names = {rule["ID"] for rule in new}
    return [*(rule for rule in seen if rule.get("ID") not in names), *new]


def described(rule: Rule) -> str:
    """One line for the operator: id, where it holds, what it does."""
    told = [words(rule) for words in _ACTIONS]
    return f"{rule['ID']}: {_prefix(rule) or 'the whole bucket'}: {', '.join(filter(None, told))}"


def _does(other: Rule, rule: Rule) -> bool:
    """Whether `other` stands for `rule`: the same of ours, or one of others that does its work where it does.

    Of old versions any rule of theirs counts, however long it keeps them: S3 would follow the shorter of two.
    """
    if other.get("Status") != "Enabled" or set(other.get("Filter", {})) - {"Prefix"}:
        return False
    if other.get("ID") == rule["ID"]:
        return _prefix(other) == _prefix(rule) and _essence(other) == _essence(rule)
    if not _prefix(rule).startswith(_prefix(other)):
        return False
    if rule["ID"] == ABORT:
        return bool(_days(other, "AbortIncompleteMultipartUpload", "DaysAfterInitiation"))
    return rule["ID"] == VERSIONS and "NoncurrentVersionExpiration" in other


def _prefix(rule: Rule) -> str:
    return str(rule.get("Prefix") or rule.get("Filter", {}).get("Prefix") or "")


def _days(rule: Rule, action: str, name: str) -> int:
    return int(rule.get(action, {}).get(name) or 0)


def _essence(rule: Rule) -> tuple[object, ...]:
    return (
        _days(rule, "AbortIncompleteMultipartUpload", "DaysAfterInitiation"),
        _days(rule, "Expiration", "Days"),
        _days(rule, "NoncurrentVersionExpiration", "NoncurrentDays"),
        bool(rule.get("Expiration", {}).get("ExpiredObjectDeleteMarker")),
    )


def _after(action: str, name: str, what: str) -> Callable[[Rule], str]:
    def words(rule: Rule) -> str:
        days = _days(rule, action, name)
        return f"{what} after {days} {'day' if days == 1 else 'days'}" if days else ""

    return words


_ACTIONS = (
    _after("AbortIncompleteMultipartUpload", "DaysAfterInitiation", "unfinished uploads are aborted"),
    _after("Expiration", "Days", "objects are deleted"),
    _after("NoncurrentVersionExpiration", "NoncurrentDays", "versions that were replaced or deleted go"),
    lambda rule: "delete markers with nothing beneath go" * _essence(rule)[3],  # type: ignore[operator]
)
