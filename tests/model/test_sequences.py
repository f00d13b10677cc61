"""Random sequences of commands, kills and other people's deeds against the model: no divergence, whatever the order.

Fifty of them, the same each time, run in every check; MODEL_SEQUENCES (2,000) in `make faults`, drawn by FAULT_SEED.
What fails is printed as a program of its own.
"""

import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.faults.checker import s3_client
from tests.faults.kills import fault_seed
from tests.model.commands import Commands
from tests.model.model import Model
from tests.model.world import CONTENTS, KEYS, ROWS, World
from tests.servers.s3 import S3Server

PARTS = 8
"""Shares of the many sequences, for as many workers."""

_numbers = itertools.count()

contents = st.sampled_from(CONTENTS)
keys = st.sampled_from(sorted(KEYS))
numbers = st.sampled_from(ROWS)
kills = st.one_of(st.integers(1, 30), st.integers(1, 150))
"""The moment at which a command is killed, if it lives that long."""
maybe = st.one_of(st.just(0), kills)
"""0: never."""


class Sequences(RuleBasedStateMachine):
    """One sequence: a fresh bucket, folder, table and ledger."""

    commands: Commands
    server: S3Server
    s3: object

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="migrator-model-", dir=_memory()))
        self.scanned = False
        """A command that was not killed has made a ledger. What a kill leaves may differ from one time to the next."""

    @initialize(
        on_conflict=st.sampled_from(("fail", "skip", "overwrite")),
        versioned=st.booleans(),
        sources=st.dictionaries(keys, contents, min_size=3),
        objects=st.dictionaries(keys, contents, max_size=2),
    )
    def begin(self, on_conflict: str, versioned: bool, sources: dict[str, bytes], objects: dict[str, bytes]) -> None:
        bucket = f"model-{os.getpid()}-{next(_numbers)}"
        self.world = World(self.folder, self.server, self.s3, bucket, on_conflict, versioned=versioned)
        self.model = Model(on_conflict, versioned)
        for key, body in sources.items():
            self.world.write(KEYS[key], body)
            self.model.sources[KEYS[key]] = body
        for key, body in {**objects, "elsewhere": b"nobody's business"}.items():
            self.foreign_put(key, body)
        self.seen = self.world.look()

    def run(self, command: str, kill_at: int) -> None:
        """A command, held against the model."""
        before = self.world.look()
        ended = self.commands.run(self.folder, command.split(), kill_at)
        after = self.world.look()
        found = self.model.differences(command.removesuffix(" --yes"), before, after, ended.status)
        assert not found, "\n".join([*found, ended.words])
        assert "Traceback" not in ended.words

    def foreign_put(self, key: str, body: bytes) -> None:
        self.world.put(key, body)
        self.model.foreign_put(key, body)

    @rule(key=keys, body=contents)
    def edit_source(self, key: str, body: bytes) -> None:
        self.world.write(KEYS[key], body)
        self.model.foreign_write(KEYS[key], body)

    @rule(key=keys)
    def remove_source(self, key: str) -> None:
        self.world.remove(KEYS[key])
        self.model.foreign_remove(KEYS[key])

    @rule(key=keys, body=contents)
    def edit_object(self, key: str, body: bytes) -> None:
        self.foreign_put(key, body)
        self.note()

    @rule(key=keys)
    def delete_object(self, key: str) -> None:
        if key in self.world.look().objects:
            self.world.delete(key)
            self.model.foreign_delete(key)
            self.note()

    @rule(number=numbers, column=st.sampled_from(("s3_key", "note")))
    def edit_row(self, number: int, column: str) -> None:
        if number not in self.model.rows:
            return
        self.world.change_row(number, column, "theirs")
        key, note = self.model.rows[number]
        self.model.rows[number] = ("theirs", note) if column == "s3_key" else (key, "theirs")

    @rule(number=numbers)
    def delete_row(self, number: int) -> None:
        self.world.delete_row(number)
        self.model.rows.pop(number, None)

    @rule(kill_at=maybe)
    def scan(self, kill_at: int) -> None:
        self.run("plan", kill_at)
        self.scanned |= not kill_at

    @rule()
    def migrate(self) -> None:
        self.run("migrate", 0)
        self.scanned = True

    @rule(kill_at=kills)
    def migrate_killed(self, kill_at: int) -> None:
        self.run("migrate", kill_at)

    @precondition(lambda self: self.scanned)
    @rule(kill_at=maybe)
    def verify(self, kill_at: int) -> None:
        self.run("verify", kill_at)

    @precondition(lambda self: self.scanned)
    @rule(kill_at=maybe)
    def rollback(self, kill_at: int) -> None:
        self.run("rollback --yes", kill_at)

    @precondition(lambda self: self.scanned)
    @rule(kill_at=maybe)
    def verify_and_clean_up(self, kill_at: int) -> None:
        self.run("verify", 0)
        self.run("cleanup --yes", kill_at)

    @precondition(lambda self: self.scanned)
    @rule()
    def check_audit(self) -> None:
        self.run("report --check-audit", 0)

    @precondition(lambda self: self.scanned)
    @rule(rolled_back=st.booleans())
    def retry(self, rolled_back: bool) -> None:
        self.run("retry --rolled-back" if rolled_back else "retry", 0)

    def note(self) -> None:
        if self.model.verifying:
            self.model._note_truths(self.world.look())

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _memory() -> str | None:
    """Ledgers are synced to disk again and again: in memory that costs nothing, and kills are as hard."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def hold(server: S3Server, count: int, number: int | None) -> None:
    """Runs `count` sequences; the same ones each time where `number` is None."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_") or name == "PATH"}
    with Commands(environment) as commands:
        parts = {"commands": commands, "server": server, "s3": s3_client(server.endpoint)}
        machine = type("Sequences", (Sequences,), parts)
        run_state_machine_as_test(
            machine if number is None else seed(number)(machine),
            settings=settings(
                max_examples=count,
                stateful_step_count=14,
                derandomize=number is None,
                database=None,
                deadline=None,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
                report_multiple_bugs=False,
            ),
        )


@pytest.mark.timeout(600)
def test_sequences(moto_server: S3Server) -> None:
    hold(moto_server, 20, None)


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(PARTS))
def test_many_sequences(moto_server: S3Server, part: int) -> None:
    number = fault_seed()
    print(f"FAULT_SEED={number}")
    hold(moto_server, int(os.environ.get("MODEL_SEQUENCES") or 2000) // PARTS, number + part)
