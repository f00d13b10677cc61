"""The model: what each command may do to the world, and what it has to have done when it was not killed.

Written from what is promised (docs/explanation/guarantees.md) and shares no code with the tool. Somebody else's deeds
come in as `foreign_*`; what stands after a command is held against what stood before it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.model.commands import KILLED
from tests.model.world import KEYS, ROWS, Seen, Version

Row = tuple[str | None, str]

NOT_READY = 3
"""Exit status of a migration whose last rollback was killed, and of a verification before anything stands."""


@dataclass(slots=True)
class Model:
    """What is remembered between commands: whose is what.

    ours       versions that the tool put: (key, version id), with the source's bytes at that time
    theirs     the bucket as it would be had the tool never run
    rows       the table as it would be had the tool never run
    images     what a row pointed to before the tool updated it
    covered    what somebody else had under a key before it was overwritten
    sources    files as they would be had the tool never run
    trashed    files that a cleanup took away
    edited     files that were touched after the beginning: no scan need know them as they are
    doubtful   a rollback was killed, and has not ended since
    """

    on_conflict: str
    versioned: bool
    rows: dict[int, Row] = field(default_factory=lambda: dict.fromkeys(ROWS, (None, "as it was")))
    theirs: dict[str, bytes] = field(default_factory=dict)
    ours: dict[tuple[str, str], bytes] = field(default_factory=dict)
    covered: dict[str, bytes] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    images: dict[int, str | None] = field(default_factory=dict)
    sources: dict[str, bytes] = field(default_factory=dict)
    trashed: dict[str, bytes] = field(default_factory=dict)
    edited: set[str] = field(default_factory=set)
    doubtful: bool = False
    truths: dict[str, set[str]] = field(default_factory=dict)
    """While a killed verification is open: what it may have found."""
    verifying: bool = False

    def foreign_write(self, path: str, body: bytes) -> None:
        """Somebody else writes a source."""
        self.sources[path] = body
        self.edited.add(path)

    def foreign_remove(self, path: str) -> None:
        """Somebody else removes a source; what a cleanup took away may still come back to its place."""
        self.sources.pop(path, None)
        if path in self.trashed:
            self.sources[path] = self.trashed[path]
        self.edited.add(path)

    def foreign_put(self, key: str, body: bytes) -> None:
        """Somebody else puts an object."""
        self.theirs[key] = body
        # What they put back themselves is there again; where versions are kept, it is another one.
        if self.versioned or self.covered.get(key) != body:
            self.covered.pop(key, None)
        self._forget(key)

    def foreign_delete(self, key: str) -> None:
        """Somebody else deletes what stands under a key: theirs, or ours."""
        if self.is_ours(key):
            self._forget(key)
            if self.versioned and key in self.covered:
                self.theirs.pop(key, None)  # a delete marker hides what was covered too
        else:
            self.theirs.pop(key, None)

    def is_ours(self, key: str) -> bool:
        """Whether what stands under the key was put by the tool."""
        return any(name == key for name, _ in self.ours)

    def _forget(self, key: str) -> None:
        self.ours = {name: body for name, body in self.ours.items() if name[0] != key}

    def differences(self, command: str, before: Seen, after: Seen, status: int) -> list[str]:
        """Everything that `command` was not allowed to do, or has left undone."""
        found = [*self._untouched(before, after), *self._ledger_agrees(after)]
        if command not in ("cleanup", "rollback") and (before.files, before.trash) != (after.files, after.trash):
            found.append(f"sources changed: {before.files}, {before.trash} -> {after.files}, {after.trash}")
        if status not in (KILLED, 0, 1, NOT_READY):
            return [*found, f"{command} ended with {status}"]
        match command:
            case "migrate":
                found += self._migrated(before, after, status)
            case "rollback":
                found += self._returned(before, after)
                found += self._rolled_back(before, after, status)
            case "cleanup" if status == NOT_READY:
                found += self._refused(before, after)
            case "cleanup":
                found += _changed(before.versions, after.versions) + _rows_changed(before, after)
                found += self._cleaned(before, after, status)
            case _:
                found += _changed(before.versions, after.versions) + _rows_changed(before, after)
        if command == "verify":
            found += self._verified(after, status)
        if command.startswith("retry") and status != KILLED:
            found += _retried(command, before, after)
        if self.verifying:
            self._note_truths(after)
        return found

    def _untouched(self, before: Seen, after: Seen) -> Iterator[str]:
        kept = {(each.key, each.id) for each in after.versions}
        for each in before.versions:
            foreign = (each.key, each.id) not in self.ours and not each.key.startswith("_migrator/")
            if self.versioned and foreign and (each.key, each.id) not in kept:
                yield f"a version that is not ours is gone: {each}"
        for number, (_, note) in before.rows.items():
            if number not in after.rows or after.rows[number][1] != note:
                yield f"row {number} was touched beyond its key: {after.rows.get(number)}"

    def _ledger_agrees(self, after: Seen) -> Iterator[str]:
        if after.ledger.miscounted:
            yield f"tallies disagree with rows: {after.ledger.miscounted}"

    def _migrated(self, before: Seen, after: Seen, status: int) -> Iterator[str]:
        if status == NOT_READY:
            yield from self._refused(before, after)
            return
        yield from self._puts(before, after)
        yield from self._updates(before, after)
        self._note_stored(before, after)
        if status != KILLED:
            yield from self._outcomes(before, after)
            yield from self._recorded(before, after)
            yield from self._status(after, status)
            if left := [key for key in after.reserved if "canary" in key]:
                yield f"canaries are left: {left}"

    def _refused(self, before: Seen, after: Seen) -> Iterator[str]:
        """Nothing builds on a rollback that was killed."""
        if not self.doubtful:
            yield "refused, though no rollback was killed"
        yield from _changed(before.versions, after.versions)
        yield from _rows_changed(before, after)
        if (before.files, before.trash) != (after.files, after.trash):
            yield "sources changed"

    def _cleaned(self, before: Seen, after: Seen, status: int) -> Iterator[str]:
        """A source goes only to the trash, and only when its object was verified, still stands, and is done with."""
        keys = {path: key for key, path in KEYS.items()}
        for path, body in before.files.items():
            key = keys[path]
            if path in after.files:
                if after.files[path] != body:
                    yield f"cleanup changed {path}"
                as_found = path not in self.edited and self.is_ours(key)
                if status != KILLED and as_found and self._may_go(before, key):
                    yield f"cleanup left {path}: {before.ledger.verified} {before.ledger.items} {before.ledger.records}"
                continue
            if after.trash.get(path) != body:
                yield f"{path} is gone and not in the trash: {after.trash}"
            if not self._may_go(before, key):
                yield f"cleanup took {path}: {before.objects.get(key)!r} {before.ledger}"
            self.trashed[path] = body
        if after.files.keys() - before.files.keys() or before.trash.keys() - after.trash.keys():
            yield f"cleanup brought {after.files} or lost {before.trash}"

    def _may_go(self, before: Seen, key: str) -> bool:
        state = before.ledger.items.get(key, ("", ""))
        if state[0] != "stored" and state != ("skipped", "identical"):
            return False
        done = key.startswith("files/") or before.ledger.records.get(int(key[5:])) == ("recorded", "")
        proven = before.ledger.verified.get(key) == "match"
        return done and proven and before.objects.get(key) == before.files[KEYS[key]]

    def _returned(self, before: Seen, after: Seen) -> Iterator[str]:
        """Sources come back to their places, over nothing that appeared there since."""
        for path, body in before.files.items():
            if after.files.get(path) != body:
                yield f"rollback changed {path}"
        for path in after.files.keys() - before.files.keys():
            if after.files[path] != self.trashed.pop(path, None):
                yield f"rollback brought {path}, which is not what was taken away"
        for path in self.trashed:
            if after.trash.get(path) != self.trashed[path]:
                yield f"{path} is neither in its place nor in the trash"

    def _puts(self, before: Seen, after: Seen) -> Iterator[str]:
        """Whatever is new is ours, once, of the source's bytes, over nothing of anybody else's without a way back."""
        old = {(each.key, each.id, each.body) for each in before.versions}
        named = [each for each in after.versions if not each.key.startswith("_migrator/")]
        fresh = [each for each in named if (each.key, each.id, each.body) not in old]
        for each in fresh:
            key, was = each.key, before.objects.get(each.key)
            if key not in KEYS:
                yield f"nobody asked for {each}"
                continue
            if each.body != before.files.get(KEYS[key]):
                yield f"{each} is not its source, {before.files.get(KEYS[key])!r}"
            if was is not None and not self.is_ours(key):
                if self.on_conflict != "overwrite" or was == each.body:
                    yield f"{each} is put over somebody's {was!r}"
                self.covered[key] = was
                if not self.versioned and was not in after.reserved.values():
                    yield f"no way back to {was!r} under {key}: {after.reserved}"
            if not self.versioned:
                self._forget(key)
            self.ours[key, each.id] = each.body or b""
        keys = [each.key for each in fresh]
        yield from (f"{key} was put {keys.count(key)} times" for key in sorted(set(keys)) if keys.count(key) > 1)
        for key in before.objects.keys() - after.objects.keys():
            yield f"{key} is gone"

    def _updates(self, before: Seen, after: Seen) -> Iterator[str]:
        """Rows point only to what stands."""
        for number, row in after.rows.items():
            if row == before.rows.get(number):
                continue
            key = f"rows/{number}"
            if row[0] != key:
                yield f"row {number} was set to {row[0]}"
            self.images[number] = before.rows[number][0]
            if key not in after.objects:
                yield f"row {number} points to {key}, which does not stand"
            elif after.objects[key] != after.files.get(KEYS[key]) and not self.is_ours(key):
                yield f"row {number} points to somebody else's object"

    def _outcomes(self, before: Seen, after: Seen) -> Iterator[str]:
        """Each item's state follows from what stood under its key and from its source."""
        for key in KEYS:
            state = after.ledger.items.get(key)
            was = before.ledger.items.get(key)
            if state is None:
                if self._listed(before, key):
                    yield f"{key} was not found by the scan"
                continue
            if was is not None and was[0] in ("stored", "skipped", "failed", "rolled-back"):
                if state != was:
                    yield f"{key} was settled as {was}, and is {state}"
                continue
            allowed = self._allowed(before, key)
            if state not in allowed:
                yield f"{key} is {state}, not {allowed}"

    def _note_stored(self, before: Seen, after: Seen) -> None:
        """What stands under the keys that were settled now, also by a run that was killed after it."""
        for key, state in after.ledger.items.items():
            if state == before.ledger.items.get(key):
                continue
            if state[0] == "stored":
                self.stored[key] = after.objects.get(key, b"no object")
            elif state == ("skipped", "identical"):
                self.stored[key] = before.objects[key]

    def _listed(self, before: Seen, key: str) -> bool:
        """Whether a scan has to have found the source of `key` by now."""
        begun = before.ledger.scans.get(key.partition("/")[0], (False, False))
        work = any(state in ("planned", "intended") for state, _ in before.ledger.items.values())
        scanned = begun == (False, False) or (all(done for _, done in before.ledger.scans.values()) and not work)
        exists = KEYS[key] in before.files if key.startswith("files/") else int(key[5:]) in before.rows
        return scanned and exists

    def _allowed(self, before: Seen, key: str) -> list[tuple[str, str]]:
        source, standing = before.files.get(KEYS[key]), before.objects.get(key)
        if source is None:
            # A killed run may have put it before the source went.
            return [("failed", "gone"), *([("stored", "")] if self.is_ours(key) else [])]
        if standing is None or self.is_ours(key):
            return [("stored", "")]
        if standing == source:
            return [("skipped", "identical")]
        return [
            {"fail": ("failed", "conflict"), "skip": ("skipped", "exists"), "overwrite": ("stored", "")}[
                self.on_conflict
            ]
        ]

    def _recorded(self, before: Seen, after: Seen) -> Iterator[str]:
        for number, state in after.ledger.records.items():
            key = f"rows/{number}"
            item = after.ledger.items[key]
            arrived = item[0] == "stored" or item == ("skipped", "identical")
            was = before.ledger.records.get(number, ("planned", ""))
            if was[0] in ("recorded", "failed", "rolled-back"):
                if was != state:
                    yield f"the record of row {number} was {was}, and is {state}"
            elif not arrived:
                waits = ("failed", "conflict") if item == ("skipped", "exists") else ("planned", "")
                if state != waits and not (item[0] == "rolled-back" and state[0] == "rolled-back"):
                    yield f"the record of row {number} is {state}, its item {item}"
            elif number not in before.rows:
                if state != ("failed", "conflict"):
                    yield f"the record of row {number} is {state}, and the row is gone"
            elif was[0] == "intended" and state == ("failed", "conflict"):
                pass  # somebody changed the row after its update was begun
            elif state != ("recorded", "") or after.rows[number][0] != key:
                yield f"the record of row {number} is {state}, the row {after.rows[number]}"

    def _status(self, after: Seen, status: int) -> Iterator[str]:
        states = [*after.ledger.items.values(), *after.ledger.records.values()]
        failed = any(state == "failed" for state, _ in states) or bool(after.ledger.problems)
        if status != int(failed):
            yield f"migrate ended with {status}: {after.ledger}"

    def _rolled_back(self, before: Seen, after: Seen, status: int) -> Iterator[str]:
        self._expect_backups(before)
        left, perhaps = self._left(before)
        taken = self.trashed.keys() & before.files.keys()
        yield from self._removals(before, after)
        yield from self._put_back(before, after)
        self.doubtful = status == KILLED
        if self.doubtful:
            return
        if taken:
            if status != 1:
                yield f"rollback ended with {status}, though {taken} are taken by others"
            return
        found = set(after.ledger.left)
        if status != int(bool(found)) or not left <= found <= left | perhaps:
            yield f"rollback ended with {status} and left {found} alone, not {left} and perhaps {perhaps}"
        if found:
            return
        if after.objects != self.theirs:
            yield f"after the rollback the bucket holds {after.objects}, before {self.theirs}"
        if after.files != self.sources or after.trash:
            yield f"after the rollback sources are {after.files}, {after.trash}, before {self.sources}"
        if after.reserved:
            yield f"after the rollback there is {after.reserved}"
        if after.rows != self.rows:
            yield f"after the rollback rows are {after.rows}, before {self.rows}"
        states = {state for state, _ in after.ledger.items.values()}
        if states & {"stored", "intended"}:
            yield f"after the rollback items are {after.ledger.items}"
        if states_of_rows := {state for state, _ in after.ledger.records.values()} & {"recorded", "intended"}:
            yield f"after the rollback records are {states_of_rows}"

    def _removals(self, before: Seen, after: Seen) -> Iterator[str]:
        """Only ours goes, and only what was covered comes back."""
        for key in before.objects.keys() | after.objects.keys():
            was, now = before.objects.get(key), after.objects.get(key)
            if was == now and _latest(before, key) == _latest(after, key):
                continue
            if was is not None and not self.is_ours(key):
                yield f"rollback changed what is not ours: {key}, {was!r} -> {now!r}"
            if now is not None and now != self.covered.get(key):
                yield f"rollback brought {now!r} to {key}, which had {self.covered.get(key)!r}"
            self._forget(key)
            if now is not None:
                self.covered.pop(key)

    def _put_back(self, before: Seen, after: Seen) -> Iterator[str]:
        for number, row in after.rows.items():
            if row != before.rows[number] and (before.rows[number][0] != f"rows/{number}" or row != self.rows[number]):
                yield f"rollback set row {number} from {before.rows[number]} to {row}, not {self.rows[number]}"

    def _expect_backups(self, before: Seen) -> None:
        """Where nothing stands any more, whoever deleted it, what was backed up comes back."""
        for name, body in sorted(before.reserved.items()):
            _, is_backup, rest = name.partition("_migrator/backup/")
            key = "/".join(rest.split("/")[2:])
            if is_backup and key not in before.objects:
                self.theirs[key] = self.covered[key] = body

    def _left(self, before: Seen) -> tuple[set[str], set[str]]:
        """Keys of objects and primary keys of rows that a rollback has to leave alone, and those that it may.

        A kill may have come before the update of a row, or after it: then both are right.
        """
        left: set[str] = set()
        perhaps: set[str] = set()
        for number, (state, _) in before.ledger.records.items():
            row = before.rows.get(number)
            if state in ("recorded", "intended") and (row is None or row[0] not in self._known(number)):
                (left if state == "recorded" else perhaps).add(f"[{number}]")
        for key in [key for key, (state, _) in before.ledger.items.items() if state == "stored"]:
            row_key = f"[{key.removeprefix('rows/')}]"
            if self._is_foreign(before, key) or (row_key in left and self._undoable(key)):
                left.add(key)
            elif row_key in perhaps:
                perhaps.add(key)
        return left, perhaps

    def _known(self, number: int) -> set[str | None]:
        """What the row points to where nobody else has changed it: by the tool, or before the tool."""
        return {f"rows/{number}", self.images.get(number)}

    def _undoable(self, key: str) -> bool:
        """Whether something is to be undone under the key, if only a backup that may go."""
        return self.is_ours(key) or key in self.covered

    def _is_foreign(self, before: Seen, key: str) -> bool:
        """Whether somebody has put something else over ours since, or a marker over all versions."""
        standing = before.objects.get(key)
        if standing is None:
            return self.versioned and key in self.covered
        return not self.is_ours(key) and standing != self.covered.get(key)

    def _verified(self, after: Seen, status: int) -> Iterator[str]:
        if status == KILLED:
            self.verifying = True
            return
        truth = self._truth(after)
        if not truth:
            if status != NOT_READY:
                yield f"verify ended with {status}, and nothing stands that it could look at"
            return
        wrong = {key: result for key, result in after.ledger.verified.items() if result != "match"}
        if status != int(bool(wrong)):
            yield f"verify ended with {status} and found {wrong}"
        for key, result in truth.items():
            allowed = {result} | self.truths.get(key, set())
            found = after.ledger.verified.get(key)
            if found not in allowed and not (self.verifying and found is None):
                yield f"verify says {found} of {key}, which is {allowed}"
        self.verifying = False
        self.truths = {}

    def _truth(self, seen: Seen) -> dict[str, str]:
        found = {}
        for key, state in seen.ledger.items.items():
            if state[0] != "stored" and state != ("skipped", "identical"):
                continue
            standing = seen.objects.get(key)
            found[key] = "missing" if standing is None else "match" if standing == self.stored.get(key) else "differ"
        return found

    def _note_truths(self, seen: Seen) -> None:
        for key, result in self._truth(seen).items():
            self.truths.setdefault(key, set()).add(result)


def _latest(seen: Seen, key: str) -> str | None:
    return next((each.id for each in seen.versions if each.key == key and each.latest), None)


def _changed(before: tuple[Version, ...], after: tuple[Version, ...]) -> list[str]:
    return [f"the bucket changed: {set(before) ^ set(after)}"] if set(before) != set(after) else []


def _rows_changed(before: Seen, after: Seen) -> list[str]:
    return [f"rows changed: {before.rows} -> {after.rows}"] if before.rows != after.rows else []


def _retried(command: str, before: Seen, after: Seen) -> Iterator[str]:
    gone = "rolled-back" if command == "retry --rolled-back" else "failed"
    for key, (state, fault) in before.ledger.items.items():
        rows_gone = before.ledger.records.get(int(key[5:]), ("", ""))[0] if key.startswith("rows/") else ""
        stood_before = command == "retry --rolled-back" and fault == "identical" and rows_gone == "rolled-back"
        expected = "planned" if state == gone or stood_before else state
        if after.ledger.items[key][0] != expected:
            yield f"after {command} {key} is {after.ledger.items[key]}, not {expected}"
