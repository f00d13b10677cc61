"""The source `table`: the rows of any SELECT, in pages by their primary key, or as one stream where there is none."""

import difflib
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection

from migrator.clients.database import Database
from migrator.core.config import TableSource
from migrator.core.errors import Fatal, Invalid, PreflightError
from migrator.core.keys import PATH_NAMES, STORED_NAMES, Naming, compile_template
from migrator.core.model import Fault, Page, Problem
from migrator.core.row_values import read_key, spelled_key
from migrator.sources.page import Result
from migrator.sources.table_query import Query
from migrator.sources.table_rows import RowMaker

PAGE_ROWS = 5_000
"""Rows that one statement reads."""
SLOW_PAGE = 0.5
"""Seconds after which a page is taken for one that the database worked through all the rest of the query for."""

_Raw = Sequence[Any]


class TableScan:
    """Lists the locations of a `table` source; `stands_here` tells whether a bucket is the destination's."""

    lists_destination = False

    def __init__(
        self,
        config: TableSource,
        naming: Naming,
        database: Database,
        *,
        stands_here: Callable[[str], bool],
    ) -> None:
        self.name = config.name
        self._config = config
        self._database = database
        self._query = Query(config.query, database)
        self._naming = naming
        self._stands_here = stands_here

    def scan(self, cursor: str | None) -> Iterator[Page]:
        """The rows after `cursor` in the order of their keys. Without a key there is no cursor: all rows, again."""
        try:
            columns = self.columns()
            rows = RowMaker(self._config, self._naming, columns, stands_here=self._stands_here)
            if self._config.primary_key:
                yield from self._by_key(rows, cursor)
            else:
                yield from self._streamed(rows)
        except (Fatal, Invalid) as error:
            raise self._unusable(error) from None
        finally:
            self._database.close()

    def columns(self) -> tuple[str, ...]:
        """The columns of the query, checked against every name that the source uses. Reads no row."""
        try:
            with self._database.reading() as connection:
                cursor = _cursor(connection, self._query.look)
                columns = tuple(str(column[0]) for column in cursor.description)
        except (Fatal, Invalid) as error:
            raise self._unusable(error) from None
        check_columns(self._config, columns)
        check_names(self._config, columns, self._naming.carry)
        return columns

    def _unusable(self, error: Fatal | Invalid) -> PreflightError:
        return PreflightError(
            error.message, error.hint or f'correct the query of the source "{self.name}", or its rights'
        )

    def _by_key(self, rows: RowMaker, cursor: str | None) -> Iterator[Page]:
        key = self._config.primary_key
        after = read_key(cursor) if cursor else None
        if after is not None and len(after) != len(key):
            after = None  # the cursor of another primary_key
        problems = () if after is not None else self._keyless()
        previous: Sequence[_Raw] = ()
        comparison = ">="
        while True:
            # What equals the last key is read again: other rows may have the same one, or one that the database takes
            # for the same (a collation that does not tell letters apart).
            begun = time.monotonic()
            page = self._page(rows.read, after, comparison)
            slow = time.monotonic() - begun > SLOW_PAGE
            full = len(page) == PAGE_ROWS
            new = _unseen(page, previous)
            last = spelled_key(page[-1][: len(key)]) if page else ""
            if full and after is not None and (not new or last == spelled_key(after)):
                if comparison == ">":
                    raise PreflightError(
                        f'source "{self.name}": the rows after {last} are not told apart by their primary_key',
                        "name columns that hold integers, text or UUIDs",
                    )
                yield from self._alike(rows, after)
                comparison, previous = ">", ()
                continue
            if page or problems:
                yield _made(rows, new, last or spelled_key(after or ()), problems)
            if not full:
                return
            after, previous, comparison, problems = tuple(page[-1][: len(key)]), page, ">=", ()
            if slow and self._may_stream:
                yield from self._in_order(rows, after, previous)
                return

    @property
    def _may_stream(self) -> bool:
        """While somebody reads from SQLite, nobody writes: not even the rows of this very source."""
        return self._database.dialect != "sqlite"

    def _in_order(self, rows: RowMaker, after: Sequence[object], previous: Sequence[_Raw]) -> Iterator[Page]:
        """The rest as one statement, where the query lets no page begin at its first row: such as a join by no index.

        Each page would cost as much as all of them. The cursor is saved as ever, for a scan that goes on.
        """
        key = self._config.primary_key
        statement = self._query.rest(rows.read, key)
        for page in self._stream(statement, self._query.parameters(after, ">=")):
            yield _made(rows, _unseen(page, previous), spelled_key(page[-1][: len(key)]))
            previous = ()

    def _page(self, columns: Sequence[str], after: Sequence[object] | None, comparison: str) -> list[_Raw]:
        statement = self._query.page(columns, self._config.primary_key, comparison if after is not None else "")
        parameters = self._query.parameters(after, comparison) if after is not None else ()
        with self._database.reading() as connection:
            return list(_cursor(connection, statement, (*parameters, PAGE_ROWS)).fetchall())

    def _alike(self, rows: RowMaker, key: Sequence[object]) -> Iterator[Page]:
        """More rows than a page holds have one key: all of them, as a stream, after which the cursor stays the same."""
        statement = self._query.same(rows.read, self._config.primary_key)
        for page in self._stream(statement, tuple(key)):
            yield _made(rows, page, spelled_key(key))

    def _streamed(self, rows: RowMaker) -> Iterator[Page]:
        for page in self._stream(self._query.everything(rows.read), ()):
            yield _made(rows, page, "")

    def _stream(self, statement: str, parameters: tuple[object, ...]) -> Iterator[Sequence[_Raw]]:
        """Rows of one statement through a cursor that the server holds."""
        with self._database.reading() as connection:
            # Not the driver's own cursor here: SQLAlchemy has taken the first rows from it already.
            result = connection.execution_options(stream_results=True).exec_driver_sql(statement, parameters)
            try:
                while page := list(result.fetchmany(PAGE_ROWS)):
                    yield page
            finally:
                result.close()

    def _keyless(self) -> tuple[Problem, ...]:
        key = self._config.primary_key
        with self._database.reading() as connection:
            (count,) = _cursor(connection, self._query.without_key(key)).fetchone()
        if not count:
            return ()
        what = "row has" if count == 1 else "rows have"
        message = f"{count} {what} no value in the primary key: left alone, because nothing tells them apart"
        return (Problem(f"source {self.name}", f"{' or '.join(key)} is NULL", Fault.INVALID, message),)


def _cursor(connection: Connection, statement: str, parameters: tuple[object, ...] = ()) -> Any:
    """The driver's own cursor: its rows are plain tuples, and cost half of SQLAlchemy's."""
    return connection.exec_driver_sql(statement, parameters).cursor


def _unseen(page: Sequence[_Raw], previous: Sequence[_Raw]) -> Sequence[_Raw]:
    """`page` without the rows at its start that stood in the page before."""
    if not page or page[0] not in previous:
        return page
    seen = 1
    while seen < len(page) and page[seen] in previous:
        seen += 1
    return page[seen:]


def _made(rows: RowMaker, raw: Sequence[_Raw], cursor: str, problems: Sequence[Problem] = ()) -> Page:
    items, flaws, skipped = [], list(problems), 0
    for row in raw:
        result: Result = rows.result(row)
        if result is None:
            skipped += 1
        elif isinstance(result, Problem):
            flaws.append(result)
        else:
            items.append(result)
    return Page(tuple(items), tuple(flaws), cursor, skipped)


def check_columns(config: TableSource, columns: Sequence[str]) -> None:
    """Raises PreflightError for columns that stand twice and for a primary key that is not among them."""
    # SQLite calls the second of two `id` columns of a subquery `id:1`.
    twice = [name for name in columns if columns.count(name) > 1 or re.sub(r":\d+$", "", name) in set(columns) - {name}]
    if twice:
        name = re.sub(r":\d+$", "", twice[0])
        raise PreflightError(
            f'source "{config.name}": the column {name} stands twice in the query',
            f"name each once, such as SELECT a.{name}, b.{name} AS {name}_2",
        )
    for name in config.primary_key:
        if name not in columns:
            raise PreflightError(
                f'source "{config.name}": the query has no column {name} for primary_key', _known(name, columns)
            )


def check_names(config: TableSource, columns: Sequence[str], carry: Collection[str]) -> None:
    """Raises PreflightError for the first name in a template that nothing gives a value to."""
    groups = tuple(re.compile(config.match).groupindex)
    names = (*columns, *PATH_NAMES, *groups)
    wanted = [("location", config.location, columns), ("key", config.key, names)]
    if config.update:
        wanted += [
            (f"update.set.{column}", text, (*names, *STORED_NAMES)) for column, text in config.update.set.items()
        ]
    for where, text, known in wanted:
        for name in compile_template(text).names:
            if name not in known and not (where.startswith("update.") and name.startswith("variant.")):
                raise _stranger(config, where, name, known)
    for name in carry:
        if name not in names:
            raise _stranger(config, "metadata or tags", name, names)


def _stranger(config: TableSource, where: str, name: str, known: Sequence[str]) -> PreflightError:
    return PreflightError(
        f'source "{config.name}": {where} uses {{{name}}}, which nothing here is called', _known(name, known)
    )


def _known(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.lower(), {one.lower(): one for one in known}, n=1)
    nearest = next((one for one in known if near and one.lower() == near[0]), "")
    return f"known: {', '.join(known)}" + (f"; nearest: {nearest}" if nearest else "")
