"""`setup --lifecycle`: the recommended rules stand beside those of others, once, on servers that keep rules."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator.core.config import Destination
from migrator.setup.bucket import prepare
from migrator.setup.lifecycle import recommended
from tests.cli.conftest import Project
from tests.cli.conftest import project as project
from tests.servers.s3 import S3Server, ServerMissing, ceph

DAY = 86400.0
OURS = [
    "migrator-abort-incomplete-uploads",
    "migrator-expire-canaries",
    "migrator-expire-samples",
    "migrator-expire-backups",
    "migrator-expire-old-versions",
]


def theirs(prefix: str = "logs/", **more: Any) -> dict[str, Any]:
    return {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": prefix}, "Expiration": {"Days": 30}} | more


def rules_of(server: S3Server, bucket: str) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = server.client().get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    return rules


def put(server: S3Server, bucket: str, *rules: dict[str, Any]) -> None:
    server.client().put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})


@pytest.fixture(params=["moto", "ceph16", "ceph20"])
def server(request: pytest.FixtureRequest, moto_server: S3Server) -> Iterator[S3Server]:
    """Servers that keep lifecycle rules."""
    if request.param == "moto":
        yield moto_server
        return
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip(f"{request.param}: one instance for all, so not in parallel tests; `make conformance` runs it")
    try:
        with ceph(int(request.param[-2:])) as found:
            yield found
    except ServerMissing as missing:
        pytest.skip(str(missing))


def test_rules_stand_beside_those_of_others_and_only_once(server: S3Server) -> None:
    bucket = server.new_bucket()
    put(server, bucket, theirs())
    wanted = Destination(bucket=bucket, endpoint_url=server.endpoint, prefix="live/")
    _, planned = prepare(wanted, keep=30 * DAY, dry_run=True)
    assert [change.describe() for change in planned if change.what == "lifecycle"] == [
        "lifecycle: 0 of 5 rules of migrator -> 5 of 5 rules of migrator"
    ]
    assert len(rules_of(server, bucket)) == 1, "a dry run changes nothing"
    _, done = prepare(wanted, keep=30 * DAY)
    assert [change.applied for change in done if change.what == "lifecycle"] == [True]
    rules = {rule["ID"]: rule for rule in rules_of(server, bucket)}
    assert set(rules) == {"theirs", *OURS}
    assert rules["theirs"]["Expiration"] == {"Days": 30}
    assert rules["migrator-expire-backups"]["Expiration"] == {"Days": 30}
    assert rules["migrator-expire-backups"]["Filter"]["Prefix"] == "live/_migrator/backup/"
    assert rules["migrator-expire-old-versions"]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 30
    _, again = prepare(wanted, keep=30 * DAY)
    assert "lifecycle" not in [change.what for change in again]
    _, longer = prepare(wanted, keep=90 * DAY)
    assert [change.what for change in longer if change.applied and change.what == "lifecycle"]
    rules = {rule["ID"]: rule for rule in rules_of(server, bucket)}
    assert set(rules) == {"theirs", *OURS}
    assert rules["migrator-expire-backups"]["Expiration"] == {"Days": 90}


def test_a_plain_setup_takes_no_rule_away(moto_server: S3Server) -> None:
    bucket = moto_server.new_bucket()
    wanted = Destination(bucket=bucket, endpoint_url=moto_server.endpoint)
    prepare(wanted, keep=30 * DAY)
    prepare(wanted)
    assert sorted(rule["ID"] for rule in rules_of(moto_server, bucket)) == sorted(OURS)


def test_rules_of_others_that_do_the_same_are_enough(moto_server: S3Server) -> None:
    """Theirs keep old versions for a year: a shorter rule of ours would win against it."""
    bucket = moto_server.new_bucket()
    year = theirs("", ID="year", NoncurrentVersionExpiration={"NoncurrentDays": 365})
    del year["Expiration"]
    put(moto_server, bucket, year)
    prepare(Destination(bucket=bucket, endpoint_url=moto_server.endpoint), keep=30 * DAY)
    names = {rule["ID"] for rule in rules_of(moto_server, bucket)}
    assert names == {"year", *OURS} - {"migrator-expire-old-versions"}


def test_rules_of_the_older_form_stay_with_ours_in_that_form(moto_server: S3Server) -> None:
    bucket = moto_server.new_bucket()
    old = {"ID": "old", "Status": "Enabled", "Prefix": "logs/", "Expiration": {"Days": 30}}
    put(moto_server, bucket, old)
    prepare(Destination(bucket=bucket, endpoint_url=moto_server.endpoint), keep=30 * DAY)
    assert {rule["ID"] for rule in rules_of(moto_server, bucket)} == {"old", *OURS}


def test_the_page_has_the_same_rules() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "lifecycle.md").read_text()
    first = page.partition("```json\n")[2].partition("```")[0]
    assert json.loads(first) == {"Rules": recommended("", 30 * DAY)}


def test_half_a_day_is_one() -> None:
    assert recommended("", DAY / 2)[3]["Expiration"] == {"Days": 1}


def test_the_operator_reads_the_rules_first(project: Project) -> None:
    project.files(a="1")
    ended = project.run("setup", "--lifecycle", "--keep", "90d", "--dry-run")
    assert ended.status == 0
    assert ended.out.splitlines()[:5] == [
        "rule  migrator-abort-incomplete-uploads: the whole bucket: unfinished uploads are aborted after 7 days",
        "rule  migrator-expire-canaries: _migrator/canary/: objects are deleted after 1 day",
        "rule  migrator-expire-samples: _test/: objects are deleted after 1 day",
        "rule  migrator-expire-backups: _migrator/backup/: objects are deleted after 90 days",
        "rule  migrator-expire-old-versions: the whole bucket: versions that were replaced or deleted go after 90 days,"
        " delete markers with nothing beneath go",
    ]
    assert "would lifecycle: 0 of 5 rules of migrator -> 5 of 5 rules of migrator" in ended.out
    assert project.run("setup", "--lifecycle").status == 0
    assert len(rules_of(project.server, project.bucket)) == 5


def test_a_time_without_rules_is_refused(project: Project) -> None:
    project.files(a="1")
    ended = project.run("setup", "--keep", "90d")
    assert (ended.status, "no rule is put without --lifecycle" in ended.err) == (2, True)
    ended = project.run("setup", "--lifecycle", "--keep", "long")
    assert (ended.status, "--keep long: expected a duration" in ended.err) == (2, True)


def test_a_folder_has_none(project: Project) -> None:
    project.files(a="1")
    config = project.folder / "migrator.toml"
    text = config.read_text()
    config.write_text(
        f'{text[: text.index("bucket =")]}url = "file://{project.folder}/kept"\n\n{text[text.index("[[sources]]") :]}'
    )
    ended = project.run("setup", "--lifecycle")
    assert (ended.status, "a folder has no lifecycle rules" in ended.err) == (2, True)
