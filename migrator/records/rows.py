"""The rows of one source: what each needs, and the update of many in one transaction. Blocks; made for a thread."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection

from migrator.clients.database import Database
from migrator.clients.database_errors import Deadlock
from migrator.core.config import TableSource
from migrator.core.errors import Invalid
from migrator.core.model import Failed, Fault, Side
from migrator.core.records import Recorded, RecordOutcome, RecordTask, RowChange
from migrator.core.row_values import read_key, read_values, spelled
from migrator.records.table import Key, Table, Values, find_table, key_of, seen_now
from migrator.records.values import NewValues, Unfit

DEADLOCKS = 6
"""Times that a transaction is tried which the database gives up for another one."""
DEADLOCK_PAUSE = 0.2
"""Longest pause, in seconds, before the second try; doubled for each further one."""

T = TypeVar("T", RecordTask, RowChange)
R = TypeVar("R")


class SourceRows:
    """Rows that the `update` of one source is about. `prepare` before anything else."""

    def __init__(self, source: TableSource, database: Database, new_values: NewValues) -> None:
        assert source.update is not None
        self._source = source
        self._table_name = source.update.table
        self._database = database
        self._new_values = new_values
        self._table: Table | None = None

    def prepare(self) -> None:
        """Looks at the table. Raises PreflightError when it is not as the configuration says, or may not be updated."""
        self._table = find_table(self._database, self._source)
        self._table.check_rights()

    def close(self) -> None:
        """Gives connections back. Idempotent."""
        self._database.close()

    def inspect(self, tasks: Sequence[RecordTask]) -> list[RowChange | RecordOutcome]:
        """See the port."""
        return self._each(tasks, self._inspect)

    def apply(self, changes: Sequence[RowChange]) -> list[RecordOutcome]:
        """See the port. A row that the database refuses is found by halving; the others are updated."""
        return self._each(changes, self._apply_patiently)

    def check(self, changes: Sequence[RowChange]) -> list[RecordOutcome | None]:
        """See `RowsBack`."""
        return self._each(changes, self._check)

    def _each(self, parts: Sequence[T], work: Callable[[Sequence[T]], list[R]]) -> list[R | Failed]:
        try:
            return list(work(parts))
        except Invalid as error:
            if len(parts) == 1:
                return [Failed(Fault.INVALID, f"{self._place(parts[0])}: {error}", Side.DATABASE)]
        middle = len(parts) // 2
        return self._each(parts[:middle], work) + self._each(parts[middle:], work)

    def _inspect(self, tasks: Sequence[RecordTask]) -> list[RowChange | RecordOutcome]:
        table = self._ready_table()
        keys = [read_key(task.row.primary_key) for task in tasks]
        found: list[RowChange | RecordOutcome] = []
        with self._database.reading() as connection:
            standing = table.rows(connection, keys)
            wanted = self._wanted(connection, tasks)
            taken: set[Key] = set()
            for task, key in zip(tasks, map(key_of, keys), strict=True):
                found.append(self._needed(task, standing.get(key, []), wanted[task.id], again=key in taken))
                taken.add(key)
            changes = [outcome.task for outcome in found if isinstance(outcome, RowChange)]
            changed = self._changed_since_scan(connection, changes)
        return [changed.get(task.id, outcome) for task, outcome in zip(tasks, found, strict=True)]

    def _wanted(self, connection: Connection, tasks: Sequence[RecordTask]) -> dict[int, Values | Failed]:
        """The new values of each row, by the number of its task."""
        table = self._ready_table()
        wanted: dict[int, Values | Failed] = {}
        for task in tasks:
            try:
                wanted[task.id] = self._new_values.fitting(task, table.columns)
            except Unfit as error:
                wanted[task.id] = Failed(Fault.INVALID, f"{self._place(task)}: {error}", Side.DATABASE)
        fitting = {number: values for number, values in wanted.items() if not isinstance(values, Failed)}
        return wanted | dict(zip(fitting, table.spelled(connection, list(fitting.values())), strict=True))

    def _needed(
        self, task: RecordTask, rows: Sequence[Values], values: Values | Failed, *, again: bool
    ) -> RowChange | RecordOutcome:
        if len(rows) != 1:
            return self._conflict(task, self._not_one(len(rows)))
        if again:
            return self._conflict(task, "another object of this source has the same row; it was left to that one")
        if isinstance(values, Failed):
            return values
        if self._holds(rows[0], values):
            return Recorded(adopted=True)
        now = self._spelled(rows[0])
        if task.before is not None and task.before != now:
            return self._conflict(task, self._who_changed(task.before, now, "since its update was begun"))
        return RowChange(task, now, self._spelled(values))

    def _changed_since_scan(self, connection: Connection, tasks: Sequence[RecordTask]) -> dict[int, Failed]:
        """What the operator's query says of these rows now, against what it said when they were scanned."""
        if not tasks:
            return {}
        seen = {task.id: read_values(task.row.seen) for task in tasks}
        columns = sorted({name for values in seen.values() for name in values})
        keys = [read_key(task.row.primary_key) for task in tasks]
        standing = seen_now(connection, self._database, self._source, columns, keys)
        changed: dict[int, Failed] = {}
        for task, key in zip(tasks, keys, strict=True):
            names = seen[task.id].keys()
            now = [
                spelled({name: value for name, value in zip(columns, row, strict=True) if name in names})
                for row in standing.get(key_of(key), ())
            ]
            if not now:
                changed[task.id] = self._conflict(task, "the query no longer finds it: somebody changed or deleted it")
            elif task.row.seen not in now:
                changed[task.id] = self._conflict(task, self._who_changed(task.row.seen, now[0], "since the scan"))
        return changed

    def _apply_patiently(self, changes: Sequence[RowChange]) -> list[RecordOutcome]:
        for attempt in range(DEADLOCKS - 1):
            try:
                return self._apply(changes)
            except Deadlock:
                time.sleep(random.uniform(0, DEADLOCK_PAUSE * 2**attempt))
        return self._apply(changes)

    def _apply(self, changes: Sequence[RowChange]) -> list[RecordOutcome]:
        """Compares each row with its before-image while nobody else can change it, and updates it in the same breath.

        The comparison is made here and not by the database: what counts as equal there depends on types, collations
        and zones, and some types have no equality at all.
        """
        table = self._ready_table()
        keys = [read_key(change.task.row.primary_key) for change in changes]
        outcomes: list[RecordOutcome] = []
        rows: list[tuple[Values, Values]] = []
        with self._database.writing() as connection:
            self._refuse_what_does_not_fit(connection)
            standing = table.rows(connection, keys, lock=True)
            for change, key in zip(changes, keys, strict=True):
                new = self._values(change.after)
                outcome = self._comparison(change, standing.get(key_of(key), []), new)
                outcomes.append(outcome or Recorded())
                if outcome is None:
                    rows.append((new, key))
            if rows and table.update(connection, rows) != len(rows):
                self._find_left(connection, changes, keys, outcomes)
        return outcomes

    def _check(self, changes: Sequence[RowChange]) -> list[RecordOutcome | None]:
        keys = [read_key(change.task.row.primary_key) for change in changes]
        with self._database.reading() as connection:
            standing = self._ready_table().rows(connection, keys)
        return [
            self._comparison(change, standing.get(key_of(key), []), self._values(change.after), "since it was updated")
            for change, key in zip(changes, keys, strict=True)
        ]

    def _refuse_what_does_not_fit(self, connection: Connection) -> None:
        """MySQL may be set to cut what is too long, without a word."""
        if self._database.dialect == "mysql":
            connection.exec_driver_sql("SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',STRICT_ALL_TABLES')")

    def _comparison(
        self, change: RowChange, rows: Sequence[Values], new: Values, when: str = "while it was being updated"
    ) -> RecordOutcome | None:
        """What is wrong with the row; None when it is to be updated."""
        if len(rows) != 1:
            return self._conflict(change.task, self._not_one(len(rows)))
        now = self._spelled(rows[0])
        if now == change.before:
            return None
        if self._holds(rows[0], new):
            return Recorded(adopted=True)
        return self._conflict(change.task, self._who_changed(change.before, now, when))

    def _find_left(
        self,
        connection: Connection,
        changes: Sequence[RowChange],
        keys: Sequence[Values],
        outcomes: list[RecordOutcome],
    ) -> None:
        """Some rows were locked and yet not updated: a trigger or a rule of the database kept them as they were."""
        standing = self._ready_table().rows(connection, keys)
        for number, (change, key, outcome) in enumerate(zip(changes, keys, outcomes, strict=True)):
            rows = standing.get(key_of(key), [])
            kept = len(rows) == 1 and self._spelled(rows[0]) == change.before
            if isinstance(outcome, Recorded) and not outcome.adopted and kept:
                text = "the database left it as it was: see the table's triggers, rules and row policies"
                outcomes[number] = self._conflict(change.task, text)

    def _holds(self, row: Values, new: Values) -> bool:
        columns = self._ready_table().columns
        pairs = zip(columns, row, new, strict=True)
        # A before-image may hold NULL: a row that a killed rollback has put back already.
        return all(column.same(now, value) or (now is None and value is None) for column, now, value in pairs)

    def _spelled(self, values: Values) -> str:
        names = (column.name for column in self._ready_table().columns)
        return spelled(dict(zip(names, values, strict=True)))

    def _values(self, image: str) -> Values:
        values = read_values(image)
        columns = [column.name for column in self._ready_table().columns]
        if sorted(columns) != sorted(values):
            raise Invalid(
                f"the ledger keeps its {', '.join(sorted(values))}, and update.set names {', '.join(sorted(columns))};"
                " put update.set back as it was"
            )
        return tuple(values[name] for name in columns)

    def _ready_table(self) -> Table:
        assert self._table is not None, "prepare comes first"
        return self._table

    def _conflict(self, task: RecordTask, text: str) -> Failed:
        return Failed(Fault.CONFLICT, f"{self._place(task)}: {text}", Side.DATABASE)

    def _place(self, part: RecordTask | RowChange) -> str:
        task = part.task if isinstance(part, RowChange) else part
        values: tuple[Any, ...] = read_key(task.row.primary_key)
        where = ", ".join(f"{name}={value}" for name, value in zip(self._source.primary_key, values, strict=True))
        return f"row {where} of {self._table_name}"

    def _who_changed(self, before: str, now: str, when: str) -> str:
        one, other = read_values(before), read_values(now)
        names = [name for name in one if one[name] != other.get(name)] or list(one)
        return f"somebody changed {', '.join(names)} {when}"

    def _not_one(self, rows: int) -> str:
        if not rows:
            return "it is no longer there"
        return f"the table has {rows} such rows; primary_key must tell them apart"
