"""Queries as operators write them, and what rows bring along for their update."""

import json
from collections.abc import Iterator

import pytest

from migrator.core.records import Row
from tests.sources.scanning import whole
from tests.sources.tables import KINDS, execute, new_database, table


@pytest.fixture(params=KINDS, scope="module")
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database of each kind with a few rows, which no test changes."""
    odd = '"Odd Table" ("Image Id" INTEGER, "order" VARCHAR(20), "Path%s" VARCHAR(20), "a`b" INTEGER)'
    if request.param == "mysql":
        odd = odd.replace("`", "``").replace('"', "`")
    with new_database(request.param, tmp_path_factory.mktemp("rows")) as address:
        execute(
            address,
            "CREATE TABLE images (id INTEGER PRIMARY KEY, location VARCHAR(60), lot INTEGER)",
            *(f"INSERT INTO images VALUES ({n}, 'https://h/{n}.jpg', {n % 2})" for n in range(1, 5)),
            "CREATE VIEW seen_images AS SELECT id, location FROM images WHERE lot = 1",
            "CREATE TABLE lots (id INTEGER PRIMARY KEY, title VARCHAR(20))",
            "INSERT INTO lots VALUES (0, 'even'), (1, 'odd')",
            f"CREATE TABLE {odd}".replace("%", "%%" if request.param != "sqlite" else "%"),
            f"INSERT INTO {odd.partition(' (')[0]} VALUES (7, 'first', 'p.jpg', 3)",
        )
        yield address


QUERIES = {
    "plain": ("SELECT id, location FROM images", [1, 2, 3, 4]),
    "semicolon": ("SELECT id, location FROM images ; \n", [1, 2, 3, 4]),
    "comment at the end": ("SELECT id, location FROM images -- all; of them", [1, 2, 3, 4]),
    "semicolon and comments": ("/* a; */ SELECT id, location FROM images; -- done;\n/* really */", [1, 2, 3, 4]),
    "percent": ("SELECT id, location FROM images WHERE location LIKE 'https://%' AND id % 2 = 0", [2, 4]),
    "semicolon in a text": ("SELECT id, location FROM images WHERE location <> ';' ;", [1, 2, 3, 4]),
    "marks in a text": ("SELECT id, location FROM images WHERE location <> '? :id %s %(x)s {id}'", [1, 2, 3, 4]),
    "view": ("SELECT * FROM seen_images", [1, 3]),
    "join": ("SELECT i.id, i.location, l.title FROM images i JOIN lots l ON l.id = i.lot", [1, 2, 3, 4]),
    "with": ("WITH evens AS (SELECT * FROM images WHERE lot = 0) SELECT id, location FROM evens", [2, 4]),
    "union": (
        "SELECT id, location FROM images WHERE id = 1 UNION SELECT id, location FROM images WHERE lot = 0",
        [1, 2, 4],
    ),
    "order and limit": ("SELECT id, location FROM images ORDER BY id DESC LIMIT 2", [3, 4]),
    "group": ("SELECT lot AS id, max(location) AS location FROM images GROUP BY lot", [0, 1]),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_of_every_form(url: str, name: str) -> None:
    query, ids = QUERIES[name]
    scanned = whole(table(url, query, location="{location}", key="{id}.jpg"))
    assert scanned.keys == [f"{number}.jpg" for number in ids]
    assert not scanned.problems
    assert sorted(whole(table(url, query, location="{location}", key="{id}.jpg", primary_key=())).keys) == scanned.keys


def test_a_cast_of_postgresql(url: str) -> None:
    if not url.startswith("postgresql"):
        pytest.skip("only PostgreSQL casts by two colons")
    query = "SELECT id::text AS id, location FROM images WHERE location ~ '^https?://' AND '{\"a\":1}'::jsonb ? 'a'"
    assert whole(table(url, query, location="{location}", key="{id}")).keys == ["1", "2", "3", "4"]
    assert whole(table(url, "SELECT id, $tag$;'--$tag$ AS location FROM images;")).keys == [";'--"] * 4


def test_comments_and_escapes_of_mysql(url: str) -> None:
    if not url.startswith("mysql"):
        pytest.skip("only MySQL has them")
    query = "SELECT id, 'it\\'s; # no comment' AS location FROM images WHERE id = 3--1; # the end;"
    assert whole(table(url, query)).keys == ["it's; # no comment"]


def test_names_of_columns_are_quoted(url: str) -> None:
    quote = "`" if url.startswith("mysql") else '"'
    scanned = whole(
        table(
            url,
            f"SELECT * FROM {quote}Odd Table{quote}",
            primary_key=("Image Id", "order", "Path%s", "a`b"),
            location="s3://old/{order}",
        )
    )
    assert scanned.keys == ["first"]


def test_a_row_brings_what_its_update_wants(url: str) -> None:
    update = {
        "table": "images",
        "set": {"lot": "{stem}", "location": "{destination.bucket}/{key}", "absent": "{id}-{part}"},
    }
    scanned = whole(
        table(
            url,
            "SELECT id, location, lot FROM images WHERE id = 3",
            location="{location}",
            match=r"(?P<part>\d+)",
            key="{part}/{name}",
            carry=["lot"],
            update=update,
        )
    )
    (item,) = scanned.items
    assert item.row == Row(
        primary_key="[3]",
        seen=json.dumps({"id": 3, "location": "https://h/3.jpg", "lot": 1}, separators=(",", ":")),
        fields={"stem": "3", "id": "3", "part": "3"},
    )
    assert item.fields == {"lot": "1"}
    assert item.here is None


def test_without_update_there_is_no_record(url: str) -> None:
    assert {item.row for item in whole(table(url, "SELECT * FROM images", location="{location}")).items} == {None}


def test_several_rows_of_one_object_are_one_item_with_rows_of_their_own(url: str) -> None:
    update = {"table": "images", "set": {"location": "{key}"}}
    items = whole(table(url, "SELECT id, 'one.jpg' AS location FROM images", update=update)).items
    assert {(item.location, item.key) for item in items} == {("s3://old/one.jpg", "one.jpg")}
    assert [item.row.primary_key for item in items if item.row] == ["[1]", "[2]", "[3]", "[4]"]


def test_an_object_in_the_destination_bucket_tells_where_it_stands(url: str) -> None:
    query = "SELECT id, 'a b/c.jpg' AS location FROM images WHERE id = 1"
    (item,) = whole(table(url, query, here=["old"], prefix="p/")).items
    assert (item.here, item.key) == ("a b/c.jpg", "p/a b/c.jpg")
    (item,) = whole(table(url, query, here=["other"])).items
    assert item.here is None


def test_rules_leave_rows_out(url: str) -> None:
    query = "SELECT id, location FROM images"
    scanned = whole(table(url, query, location="{location}", include=("1.jpg", "2.jpg"), exclude=("2.jpg",)))
    assert (scanned.keys, scanned.skipped) == (["1.jpg"], 3)
    scanned = whole(table(url, query, location="{location}", match="[34]", on_no_match="skip"))
    assert (scanned.keys, scanned.skipped) == (["3.jpg", "4.jpg"], 2)
