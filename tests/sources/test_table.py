"""The source `table` on SQLite, PostgreSQL and MariaDB: every row once, whatever its key, however often resumed."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import NotSupportedError

from migrator.core.errors import PreflightError
from migrator.core.model import Fault
from migrator.sources import table as table_module
from tests.sources.scanning import Scanned, whole
from tests.sources.tables import KINDS, execute, new_database, resumed, table

ROWS = 4_000
QUERY = "SELECT * FROM images"


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    with new_database(request.param, tmp_path) as address:
        yield address


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> int:
    """Pages so small that a scan has many."""
    monkeypatch.setattr(table_module, "PAGE_ROWS", 280)
    return 280


def mark(url: str) -> str:
    return "?" if url.startswith("sqlite") else "%s"


def backend_of(url: str) -> str:
    return url.partition(":")[0].partition("+")[0]


def fill(url: str, columns: str, rows: list[tuple[Any, ...]], name: str = "images") -> None:
    marks = ", ".join(mark(url) for _ in rows[0])
    execute(url, f"CREATE TABLE {name} ({columns})", f"INSERT INTO {name} VALUES ({marks})", rows=rows)


def _text(random_: random.Random) -> str:
    return "".join(random_.choices("aAbBzZéÉß _-%'\"\\/😀日", k=12))


def _key_types() -> dict[str, tuple[dict[str, str], Callable[[random.Random], Any]]]:
    """By name: the SQL type by kind of database, and what makes a value."""
    every = "sqlite", "postgresql", "mysql"
    return {
        "integer": (dict.fromkeys(every, "BIGINT"), lambda r: r.randrange(-(2**63), 2**63)),
        "text": (
            dict(zip(every, ("TEXT", "TEXT", "VARCHAR(40)"), strict=True)),
            _text,
        ),
        "text without case": (
            {"sqlite": "TEXT COLLATE NOCASE", "mysql": "VARCHAR(40) COLLATE utf8mb4_general_ci"},
            lambda r: "".join(r.choices("abcdefgABCDEFG", k=14)),
        ),
        "uuid": (
            {"sqlite": "TEXT", "postgresql": "UUID", "mysql": "UUID"},
            lambda r: str(UUID(int=r.getrandbits(128), version=4)),
        ),
        "decimal": (
            {"postgresql": "NUMERIC(30, 10)", "mysql": "DECIMAL(30, 10)"},
            lambda r: Decimal(r.randrange(-(10**20), 10**20)).scaleb(-10),
        ),
        "timestamp": (
            {"postgresql": "TIMESTAMPTZ", "mysql": "DATETIME(6)"},
            lambda r: datetime(2001, 1, 1, tzinfo=UTC) + timedelta(microseconds=r.randrange(10**15)),
        ),
        "real": ({"sqlite": "REAL", "postgresql": "REAL", "mysql": "DOUBLE"}, lambda r: r.random()),
        "bytes": (
            {"sqlite": "BLOB", "postgresql": "BYTEA", "mysql": "VARBINARY(16)"},
            lambda r: r.randbytes(16),
        ),
    }


@pytest.mark.parametrize("kind", _key_types())
def test_every_row_once_by_a_key_of_every_type(url: str, kind: str, small_pages: int) -> None:
    types, make = _key_types()[kind]
    backend = backend_of(url)
    if backend not in types:
        pytest.skip(f"{backend} has no such type")
    chance = random.Random(7)
    keys = {(key.lower() if kind == "text without case" else key): key for key in (make(chance) for _ in range(ROWS))}
    fill(url, f"id {types[backend]}, location VARCHAR(40)", [(key, f"{n}.jpg") for n, key in enumerate(keys.values())])
    scanned = whole(table(url, QUERY))
    assert sorted(scanned.keys) == sorted(f"{n}.jpg" for n in range(len(keys)))
    assert not scanned.problems
    assert len(scanned.pages) > ROWS / small_pages - 1
    again = resumed(url, QUERY)
    assert set(again.keys) == set(scanned.keys)
    assert len(again.keys) < len(keys) + len(again.pages) + 50  # the last row of a page once more, and no other


def test_every_row_once_by_a_composite_key(url: str, small_pages: int) -> None:
    rows = [(f"lot {lot}", number, f"{lot}/{number}.jpg") for lot in range(40) for number in range(100)]
    random.Random(3).shuffle(rows)
    fill(url, "lot VARCHAR(20), number INTEGER, location VARCHAR(40), PRIMARY KEY (lot, number)", rows)
    for key in (("lot", "number"), ("number", "lot")):
        scanned = whole(table(url, QUERY, primary_key=key))
        assert sorted(scanned.keys) == sorted(row[2] for row in rows)
        assert {*resumed(url, QUERY, primary_key=key).keys} == {*scanned.keys}


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """What databases are asked from here on."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield asked
    event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("key", [("id",), ("lot", "id")])
def test_a_query_that_is_slow_to_page_is_read_as_one_stream_that_can_be_resumed(
    url: str, small_pages: int, monkeypatch: pytest.MonkeyPatch, statements: list[str], key: tuple[str, ...]
) -> None:
    monkeypatch.setattr(table_module, "SLOW_PAGE", -1)
    rows = [(n, f"lot {n // 500}", f"{n}.jpg") for n in range(ROWS)]
    random.Random(5).shuffle(rows)
    fill(url, "id INTEGER, lot VARCHAR(20), location VARCHAR(40)", rows)
    statements.clear()
    scanned = whole(table(url, QUERY, primary_key=key))
    reads = sum("ORDER BY" in statement for statement in statements)
    assert sorted(scanned.keys) == sorted(row[2] for row in rows)
    assert len(scanned.pages) >= ROWS // small_pages
    if url.startswith("sqlite"):
        assert reads > ROWS / small_pages  # it lets nobody write meanwhile: pages, however slow
    else:
        assert reads == 2
    cursor = scanned.pages[5].cursor
    rest = Scanned(tuple(table(url, QUERY, primary_key=key).scan(cursor)))
    seen = Scanned(scanned.pages[:6]).keys
    assert {*seen, *rest.keys} == {row[2] for row in rows}
    assert len(rest.keys) < ROWS - len(seen) + 2 * small_pages


def test_rows_that_come_and_go_while_the_scan_is_on(url: str, small_pages: int) -> None:
    fill(url, "id INTEGER PRIMARY KEY, location VARCHAR(40)", [(2 * n, f"{2 * n}.jpg") for n in range(3_000)])
    pages = table(url, QUERY).scan(None)
    first = list(islice(pages, 2))
    last = 2 * (2 * small_pages - 2)
    execute(url, f"DELETE FROM images WHERE id BETWEEN {last - 20} AND {last + 20}")
    execute(url, "INSERT INTO images VALUES (1, 'late.jpg')", "INSERT INTO images VALUES (5999, 'new.jpg')")
    scanned = Scanned((*first, *pages))
    assert len(scanned.keys) == len(set(scanned.keys))
    assert "new.jpg" in scanned.keys
    assert "late.jpg" not in scanned.keys
    kept = {f"{2 * n}.jpg" for n in range(3_000) if not last - 20 <= 2 * n <= last + 20}
    assert kept <= set(scanned.keys)


def test_a_key_that_is_not_unique_loses_no_row_and_ends(url: str, small_pages: int) -> None:
    rows = [(n // 3, f"{n}.jpg") for n in range(3_000)] + [(5_000, f"many {n}.jpg") for n in range(2_000)]
    rows += [(6_000, "last.jpg")]
    fill(url, "id INTEGER, location VARCHAR(40)", rows)
    for scanned in (whole(table(url, QUERY)), resumed(url, QUERY)):
        assert set(scanned.keys) >= {row[1] for row in rows[:3_000]}
    assert set(whole(table(url, QUERY)).keys) == {row[1] for row in rows}


def test_letters_that_a_collation_takes_for_the_same_lose_no_row(url: str, small_pages: int) -> None:
    if url.startswith("postgresql"):
        try:
            execute(url, "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
        except NotSupportedError:
            pytest.skip("this PostgreSQL is built without ICU")
    kind = {"sqlite": "TEXT COLLATE NOCASE", "postgresql": "TEXT COLLATE loose"}.get(
        url.partition(":")[0], "VARCHAR(9)"
    )
    rows = [(letter * 3, f"{letter}{n}.jpg") for n in range(400) for letter in "aAbBcC"]
    fill(url, f"id {kind}, location VARCHAR(40)", rows)
    assert set(whole(table(url, QUERY)).keys) == {row[1] for row in rows}


def test_without_a_key_the_rows_come_as_one_stream_from_the_beginning(url: str, small_pages: int) -> None:
    fill(url, "id INTEGER, location VARCHAR(40)", [(n % 7, f"{n}.jpg") for n in range(5_000)] + [(1, "")])
    scanned = whole(table(url, QUERY, primary_key=()))
    assert sorted(scanned.keys) == sorted(f"{n}.jpg" for n in range(5_000))
    assert len(scanned.pages) > 7
    assert [problem.position for problem in scanned.problems] == ["row 5001"]
    cursor = scanned.pages[2].cursor
    assert len(Scanned(tuple(table(url, QUERY, primary_key=()).scan(cursor))).keys) == 5_000


def test_nulls_and_empty_locations_are_problems_with_their_key(url: str) -> None:
    rows = [(1, None, "x"), (2, "", "x"), (3, " ", "x"), (4, "d.jpg", None), (5, "e.jpg", "x"), (None, "f.jpg", "x")]
    fill(url, "id INTEGER, location VARCHAR(40), folder VARCHAR(9)", [*rows, (None, "g.jpg", "x")])
    scanned = whole(table(url, QUERY, key="{folder}/{name}"))
    assert scanned.keys == ["x/e.jpg"]
    assert {problem.position: problem.message for problem in scanned.problems} == {
        "id is NULL": "2 rows have no value in the primary key: left alone, because nothing tells them apart",
        "id=1": "this row names no object: location is NULL",
        "id=2": "this row names no object: location is empty",
        "id=3": "this row names no object: location is empty",
        "id=4": "{folder} has no value here",
    }
    assert {problem.place for problem in scanned.problems} == {"source rows"}


def test_odd_text_in_s3_keys_stands_as_it_is(url: str) -> None:
    texts = [
        "a b.jpg",
        " lead.jpg",
        "trail.jpg ",
        "100%.jpg",
        "%41.jpg",
        "q?x=1#f.jpg",
        "a+b&c.jpg",
        "日本/é.jpg",
        "a//b.jpg",
    ]
    texts += ["tab\there.jpg", 'it\'s "quoted"\\.jpg']
    fill(url, "id INTEGER, location VARCHAR(40)", list(enumerate(texts)))
    scanned = whole(table(url, QUERY))
    assert not scanned.problems
    assert scanned.locations == [f"s3://old/{text}" for text in texts]
    assert scanned.keys == texts


def test_locations_of_rows_may_be_urls_and_files(url: str, tmp_path: Path) -> None:
    texts = [
        "https://h.example/a%20b.jpg?sig=long-and-secret",
        "photos/c d.jpg",
        "../out.jpg",
        "ftp://h/x",
        "s3://old/k",
    ]
    texts += ["http://127.0.0.1/x.jpg", "s3://old", "s3:///k"]
    fill(url, "id INTEGER, location VARCHAR(90)", list(enumerate(texts)))
    scanned = whole(table(url, QUERY, location="{location}", root=tmp_path, key="{bucket}+{host}+{path}"))
    assert scanned.locations == ["https://h.example/a%20b.jpg?***", f"file://{tmp_path}/photos/c%20d.jpg", "s3://old/k"]
    assert scanned.keys == ["+h.example+a b.jpg", "++photos/c d.jpg", "old++k"]
    told = {problem.position: (problem.fault, problem.message) for problem in scanned.problems}
    assert told["id=2"] == (Fault.FORBIDDEN, "'../out.jpg' leads out of root")
    assert told["id=3"][1] == "the scheme ftp: is not allowed in a table, only http, https and s3"
    assert told["id=5"][0] is Fault.FORBIDDEN
    assert told["id=6"][1] == "'s3://old' names a bucket and no object in it"
    assert told["id=7"][1] == "'' is no name of a bucket"


def test_a_relative_location_without_root_says_what_to_set(url: str) -> None:
    fill(url, "id INTEGER, location VARCHAR(90)", [(1, "a.jpg")])
    (problem,) = whole(table(url, QUERY, location="{location}")).problems
    assert problem.message.startswith("a.jpg is relative: set root")


def test_columns_become_text(url: str) -> None:
    if url.startswith("postgresql"):
        types = "id UUID, flag BOOLEAN, price NUMERIC(20, 2), day DATE, at TIMESTAMPTZ, raw BYTEA, note JSONB"
        row: tuple[Any, ...] = (str(UUID(int=5)), True, Decimal("1E+3"), date(2024, 2, 3))
        row += (datetime(2024, 2, 3, 4, 5, tzinfo=UTC), b"caf\xc3\xa9", '{"a": [1, null]}')
        execute(url, "ALTER DATABASE " + url.rpartition("/")[2] + " SET TimeZone = 'UTC'")
        expected = f"{UUID(int=5)} true 1000.00 2024-02-03 2024-02-03T04:05:00+00:00 café " + '{"a":[1,null]}'
    else:
        types = (
            "id VARCHAR(40), flag INTEGER, price DECIMAL(20, 2), day VARCHAR(20), at VARCHAR(40), raw BLOB, note TEXT"
        )
        row = ("k", 1, 12, "2024-02-03", "x", b"caf\xc3\xa9", "n")
        expected = "k 1 12 2024-02-03 x café n" if url.startswith("sqlite") else "k 1 12.00 2024-02-03 x café n"
    fill(url, types, [row])
    names = ("id", "flag", "price", "day", "at", "raw", "note")
    scanned = whole(table(url, QUERY, location="s3://old/x", key=" ".join(f"{{{name}}}" for name in names)))
    assert scanned.keys == [expected]
    assert not scanned.problems


def test_bytes_that_are_no_text_are_a_problem(url: str) -> None:
    kind = "BYTEA" if url.startswith("postgresql") else "BLOB"
    fill(url, f"id INTEGER, location {kind}", [(1, b"\xff\xfe"), (2, b"ok.jpg")])
    scanned = whole(table(url, QUERY))
    assert scanned.keys == ["ok.jpg"]
    assert [(p.position, p.message) for p in scanned.problems] == [
        ("id=1", "the column location holds bytes that are no text")
    ]


def test_no_database_no_table_no_column_is_said_before_anything_moves(url: str) -> None:
    fill(url, "id INTEGER, location VARCHAR(90)", [(1, "a.jpg")])
    for query, settings, words in (
        ("SELECT * FROM nowhere", {}, ["nowhere"]),
        ("SELECT id, nothing FROM images", {}, ["nothing"]),
        ("SELEC id FROM images", {}, ["syntax"]),
        ("DELETE FROM images", {}, ["syntax"]),
        (QUERY, {"primary_key": ("id", "lot")}, ["no column lot", "known: id, location"]),
        (QUERY, {"location": "{locatoin}"}, ["{locatoin}", "known: id, location", "nearest: location"]),
        (QUERY, {"key": "{lot}/{name}"}, ["key uses {lot}", "known: id, location, path, dir"]),
        (QUERY, {"carry": ["alt"]}, ["metadata or tags uses {alt}"]),
        (
            QUERY,
            {"update": {"table": "images", "set": {"location": "{keyy}"}}},
            ["update.set.location", "nearest: key"],
        ),
        ("SELECT 1 AS id, 2 AS location; SELECT 2", {}, ["more than one statement"]),
        ("SELECT a.id, b.id, a.location FROM images a JOIN images b ON a.id = b.id", {}, ["id", "uplicate|twice"]),
    ):
        with pytest.raises(PreflightError) as raised:
            whole(table(url, query, **settings))
        for word in words:
            assert any(part in str(raised.value) for part in word.split("|")), raised.value
    assert execute(url, "SELECT count(*) FROM images") == [(1,)]
