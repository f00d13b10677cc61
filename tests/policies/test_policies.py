"""Each policy of docs/how-to/aws-setup.md allows what its command does, and nothing that it does not do."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.policies import scenarios
from tests.policies.gate import Gate
from tests.policies.scenarios import Stage, stage
from tests.servers.s3 import S3Server

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "aws-setup.md"
_BLOCK = re.compile(r"^### (.+?)$|^```json$\n(.+?)^```$", re.MULTILINE | re.DOTALL)

Play = Callable[[Stage], None]
PLAYED: Mapping[str, tuple[Sequence[str], Play]] = {
    "`test-connection`": ((), scenarios.test_connection),
    "`test-connection` with versions": (["`test-connection`"], scenarios.test_connection_with_versions),
    "`test-connection` with sources in buckets": (["`test-connection`"], scenarios.test_connection_of_buckets),
    "`setup`": ((), scenarios.setup),
    "`setup` with versions": (["`setup`"], scenarios.setup_with_versions),
    "`setup` of a bucket that is not there yet": (["`setup`"], scenarios.setup_of_a_new_bucket),
    "`smoke`": ((), scenarios.smoke),
    "`plan` with sources in buckets": ((), scenarios.plan_of_buckets),
    "`migrate`": ((), scenarios.migrate),
    "`migrate` with versions": (["`migrate`"], scenarios.overwrite_with_versions),
    "`migrate` with sources in buckets": (["`migrate`"], scenarios.migrate_buckets),
    "`migrate` with copies by the server": (["`migrate`"], scenarios.migrate_by_copies),
    "`migrate` with overwriting and without versions": (["`migrate`"], scenarios.overwrite_with_backups),
    "`migrate` with tags": (["`migrate`"], scenarios.migrate_with_tags),
    "`migrate` with a KMS key": (["`migrate`"], scenarios.migrate_encrypted),
    "`verify`": ((), scenarios.verify),
    "`rollback`": ((), scenarios.rollback),
    "`rollback` with versions": (["`rollback`"], scenarios.rollback_with_versions),
    "`rollback` of what was overwritten without versions": (["`rollback`"], scenarios.rollback_of_backups),
    "`rollback` of sources in buckets with versions": (["`rollback`"], scenarios.rollback_of_cleaned_up_versions),
    "`cleanup`": ((), scenarios.cleanup_of_files),
    "`cleanup` of sources in buckets": (["`cleanup`"], scenarios.cleanup),
    "`cleanup` of sources in buckets with versions": (
        ["`cleanup`", "`cleanup` of sources in buckets"],
        scenarios.cleanup_of_versions,
    ),
    "`orphans`": ((), scenarios.orphans),
    "`orphans --delete`": (["`orphans`"], scenarios.orphans_deleted),
}
"""Heading of a policy -> (the policies that it adds to, what needs them)."""


def policies() -> dict[str, list[dict[str, Any]]]:
    """Heading -> statements, as the page has them."""
    found: dict[str, list[dict[str, Any]]] = {}
    heading = ""
    for title, text in _BLOCK.findall(PAGE.read_text()):
        heading = title or heading
        if text:
            assert heading not in found, f"{heading} has two policies"
            found[heading] = json.loads(text)["Statement"]
    return found


def rights(statements: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Each action with the resource that it is allowed on."""
    for statement in statements:
        assert statement["Effect"] == "Allow"
        for action in statement["Action"]:
            yield action, statement["Resource"]


def test_every_policy_of_the_page_is_played() -> None:
    assert list(policies()) == list(PLAYED)


@pytest.mark.parametrize("heading", PLAYED)
def test_a_policy_is_what_its_command_needs(
    heading: str, tmp_path: Path, moto_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = policies()
    beside, play = PLAYED[heading]
    gate = Gate([statement for name in (*beside, heading) for statement in page[name]], {})
    with stage(tmp_path, moto_server, gate) as on:
        play(on)
    assert not gate.refused, f"{heading} lacks these rights"
    assert all(ended.status == 0 for ended in on.ended) or play is scenarios.orphans, on.ended
    unused = {
        (action, resource)
        for action, resource in rights(page[heading])
        if not any(action == need and fnmatchcase(arn, resource) for need, arn in gate.needed)
    }
    assert not unused, f"{heading} allows what no request needs"


@pytest.mark.parametrize(
    ("heading", "action"),
    [
        ("`test-connection`", "s3:PutObject"),
        ("`test-connection`", "s3:DeleteObject"),
        ("`plan` with sources in buckets", "s3:ListBucket"),
        ("`migrate`", "s3:PutObject"),
        ("`migrate` with a KMS key", "kms:GenerateDataKey"),
        ("`migrate` with tags", "s3:PutObjectTagging"),
        ("`verify`", "s3:GetObject"),
        ("`rollback`", "s3:DeleteObject"),
        ("`orphans`", "s3:ListBucket"),
        ("`orphans`", "s3:ListBucketMultipartUploads"),
        ("`orphans --delete`", "s3:DeleteObject"),
        ("`setup`", "s3:PutLifecycleConfiguration"),
    ],
)
def test_a_right_that_is_missing_is_named(
    heading: str, action: str, tmp_path: Path, moto_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = policies()
    beside, play = PLAYED[heading]
    statements = [
        {**statement, "Action": [each for each in statement["Action"] if each != action]}
        for name in (*beside, heading)
        for statement in page[name]
    ]
    gate = Gate(statements, {})
    with stage(tmp_path, moto_server, gate) as on:
        play(on)
    assert gate.refused
    said = "".join(ended.err + ended.out for ended in on.ended)
    assert action in said, said
    if heading != "`setup`":
        assert any(ended.status in (1, 3) for ended in on.ended)


def test_a_run_may_do_without_listing(tmp_path: Path, moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the page says: where the server honours conditional puts."""
    monkeypatch.chdir(tmp_path)
    statements = [
        {**statement, "Action": [each for each in statement["Action"] if each != "s3:ListBucket"]}
        for statement in policies()["`migrate`"]
    ]
    gate = Gate(statements, {})
    with stage(tmp_path, moto_server, gate) as on:
        on.files()
        assert on.run("migrate").status == 0, on.ended
        assert "s3:ListBucket is missing" in on.run("test-connection").out
        assert sorted(on.project.objects()) == ["photos/a.txt", "photos/b.txt"]
