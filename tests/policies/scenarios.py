"""Each case of a policy, played: what is done beforehand with all rights, and the commands that need the policy."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cli.conftest import Project
from tests.ended import Ended
from tests.faults.proxy import Proxy, Rule
from tests.policies.gate import KEY_ARN, Gate
from tests.servers.s3 import S3Server

LARGE = 9 * 1024 * 1024
"""Bytes that go in parts."""


@dataclass(slots=True)
class Stage:
    """A project whose requests pass a gate while it is shut."""

    project: Project
    server: S3Server
    source: str
    rule: Rule
    gate: Gate
    ended: list[Ended] = field(default_factory=list)

    @property
    def bucket(self) -> str:
        return self.project.bucket

    def client(self) -> Any:
        """boto3, past the gate."""
        return self.server.client()

    def run(self, *arguments: str) -> Ended:
        """A command with the rights of the policy."""
        self.rule.times = None
        ended = self.project.run(*arguments)
        self.rule.times = 0
        self.ended.append(ended)
        return ended

    def before(self, *arguments: str) -> None:
        """A command with all rights."""
        ended = self.project.run(*arguments)
        assert ended.status == 0, (arguments, ended)

    def files(self, destination: str = "", **contents: str) -> None:
        """photos/<name>.txt and a configuration that moves them."""
        self.project.files(**(contents or {"a": "photo a", "b": "photo b"}))
        config = self.project.folder / "migrator.toml"
        text = config.read_text().replace('key = "{path}"', 'key = "photos/{path}"')
        config.write_text(text.replace("[[sources]]", f"{destination}\n[[sources]]"))

    def bucket_source(self) -> None:
        """Objects in another bucket and a configuration that moves them."""
        for name in ("a.txt", "b.txt"):
            self.client().put_object(Bucket=self.source, Key=name, Body=b"photo", Tagging="kind=old")
        self.project.configure(
            f'[[sources]]\nname = "old"\ntype = "bucket"\nbucket = "{self.source}"\nkey = "photos/{{path}}"'
        )

    def versions(self) -> None:
        self.client().put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})

    def stand(self, key: str, **more: Any) -> None:
        """Somebody else's object."""
        self.client().put_object(Bucket=self.bucket, Key=key, Body=b"other bytes", **more)

    def large(self) -> None:
        (self.project.folder / "photos" / "film.bin").write_bytes(b"\x01" * LARGE)

    def cut_off(self, key: str, *, noted: bool) -> None:
        """As a kill leaves a large object: its upload is open, and the ledger knows of that, or does not."""
        self.client().delete_object(Bucket=self.bucket, Key=key)
        upload_id = self.client().create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"]
        folder = self.project.folder
        change(folder, "UPDATE items SET state = 'intended' WHERE key = ?", key)
        if noted:
            change(
                folder,
                "INSERT INTO uploads (item, upload_id, part_size, opened_at)"
                " SELECT id, ?, 8388608, 1 FROM items WHERE key = ?",
                upload_id,
                key,
            )


def change(folder: Path, statement: str, *values: str) -> None:
    """Changes the ledger behind the tool's back."""
    with closing(sqlite3.connect(folder / "checkpoints" / "trial.db")) as ledger:
        ledger.execute(statement, values)
        ledger.commit()


@contextmanager
def stage(folder: Path, server: S3Server, gate: Gate) -> Iterator[Stage]:
    """An empty project, two buckets and an open gate."""
    rule = Rule(gate, times=0)
    with Proxy(f"127.0.0.1:{server.port}", rules=[rule]) as proxy:
        bucket, source = server.new_bucket(), server.new_bucket()
        gate.names = {bucket: "photos", source: "old-photos"}
        yield Stage(Project(folder, S3Server("gate", proxy.port), bucket), server, source, rule, gate)


def test_connection(on: Stage) -> None:
    on.files()
    on.run("test-connection")


def test_connection_with_versions(on: Stage) -> None:
    on.versions()
    on.files()
    on.run("test-connection")


def test_connection_of_buckets(on: Stage) -> None:
    on.bucket_source()
    on.run("test-connection")


def setup(on: Stage) -> None:
    on.files()
    on.run("setup", "--versioning", "--lifecycle")


def setup_with_versions(on: Stage) -> None:
    on.versions()
    on.files()
    on.run("setup")


def setup_of_a_new_bucket(on: Stage) -> None:
    on.client().delete_bucket(Bucket=on.bucket)
    on.files()
    on.run("setup")


def smoke(on: Stage) -> None:
    on.files()
    on.run("smoke")


def plan_of_buckets(on: Stage) -> None:
    on.bucket_source()
    on.run("plan")


def migrate(on: Stage) -> None:
    """A first run, and one after a kill that left an open upload, another that the ledger does not know, a canary."""
    on.files()
    for name in ("film.bin", "clip.bin"):
        (on.project.folder / "photos" / name).write_bytes(b"\x01" * LARGE)
    on.run("migrate")
    on.cut_off("photos/film.bin", noted=True)
    on.cut_off("photos/clip.bin", noted=False)
    canary = "_migrator/canary/0123456789abcdef"
    on.stand(canary)
    change(on.project.folder, "UPDATE meta SET value = ? WHERE key = 'canary'", canary)
    on.run("migrate")


def migrate_buckets(on: Stage) -> None:
    on.bucket_source()
    on.run("migrate", "--copy-mode", "stream")


def migrate_by_copies(on: Stage) -> None:
    on.bucket_source()
    on.client().put_object(Bucket=on.source, Key="film.bin", Body=b"\x01" * (6 * 1024 * 1024))
    config = on.project.folder / "migrator.toml"
    config.write_text(config.read_text() + '\n[transfer]\ncopy_threshold = "5MiB"\npart_size = "5MiB"\n')
    on.run("migrate", "--copy-mode", "server")


def overwrite_with_versions(on: Stage) -> None:
    on.versions()
    on.files('on_conflict = "overwrite"')
    on.stand("photos/a.txt")
    on.run("migrate")


def overwrite_with_backups(on: Stage) -> None:
    on.files('on_conflict = "overwrite"')
    on.stand("photos/a.txt")
    on.run("migrate")


def migrate_with_tags(on: Stage) -> None:
    on.files('tags = { project = "photos" }')
    on.run("migrate")


def migrate_encrypted(on: Stage) -> None:
    on.gate.encrypted = True
    on.files(f'sse = "aws:kms"\nkms_key_id = "{KEY_ARN}"')
    on.large()
    on.run("migrate")


def verify(on: Stage) -> None:
    on.files()
    on.large()
    on.before("migrate")
    on.run("verify")


def rollback(on: Stage) -> None:
    on.files()
    for name in ("film.bin", "clip.bin"):
        (on.project.folder / "photos" / name).write_bytes(b"\x01" * LARGE)
    on.before("migrate")
    on.cut_off("photos/film.bin", noted=True)
    on.cut_off("photos/clip.bin", noted=False)
    on.run("rollback", "--yes")


def rollback_with_versions(on: Stage) -> None:
    on.versions()
    on.files('on_conflict = "overwrite"')
    on.stand("photos/a.txt")
    on.before("migrate")
    on.run("rollback", "--yes")


def rollback_of_backups(on: Stage) -> None:
    on.files('on_conflict = "overwrite"')
    on.stand("photos/a.txt")
    on.before("migrate")
    on.run("rollback", "--yes")


def orphans(on: Stage) -> None:
    on.files()
    on.before("migrate")
    on.stand("photos/else.txt")
    on.run("orphans", "--marks")


def orphans_deleted(on: Stage) -> None:
    on.files()
    on.before("migrate")
    on.stand("photos/else.txt")
    on.client().create_multipart_upload(Bucket=on.bucket, Key="photos/film.bin")
    on.run("orphans", "--delete", "--foreign", "--older-than", "7d", "--yes")


def cleanup(on: Stage) -> None:
    on.bucket_source()
    config = on.project.folder / "migrator.toml"
    config.write_text(config.read_text() + '\n[cleanup]\ngrace = "0s"\n')
    on.before("migrate", "--copy-mode", "stream")
    on.before("verify")
    on.run("cleanup", "--yes")


def cleanup_of_versions(on: Stage) -> None:
    on.client().put_bucket_versioning(Bucket=on.source, VersioningConfiguration={"Status": "Enabled"})
    cleanup(on)


def cleanup_of_files(on: Stage) -> None:
    on.files('[cleanup]\ngrace = "0s"\n')
    on.before("migrate")
    on.before("verify")
    on.run("cleanup", "--yes")


def rollback_of_cleaned_up_versions(on: Stage) -> None:
    on.client().put_bucket_versioning(Bucket=on.source, VersioningConfiguration={"Status": "Enabled"})
    on.bucket_source()
    config = on.project.folder / "migrator.toml"
    config.write_text(config.read_text() + '\n[cleanup]\ngrace = "0s"\n')
    for words in (["migrate", "--copy-mode", "stream"], ["verify"], ["cleanup", "--yes"]):
        on.before(*words)
    on.run("rollback", "--yes")
    assert len(on.client().list_objects_v2(Bucket=on.source)["Contents"]) == 2
